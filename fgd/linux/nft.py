"""The program `nft`, by which rules get into the kernel: a script is carried out whole or not at all (nft(8))."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
_TIMEOUT_S: Final = 20.0
_FAMILY: Final = "inet"


def find_nft() -> str | None:
    """Where the program is; None when the host does not have it."""
    return shutil.which("nft", path=_PATH)


class Nft:
    """Runs it. Needs CAP_NET_ADMIN.

    Every method raises OSError with what the program complained of.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def load(self, script: str) -> None:
        """Carries out a script."""
        self._run(["--file", "-"], script)

    def check(self, script: str) -> None:
        """Whether the kernel would take a script; nothing is changed."""
        self._run(["--check", "--file", "-"], script)

    def tables(self) -> list[str]:
        """Names of all tables of the family inet."""
        answer = json.loads(self._run(["--json", "list", "tables", _FAMILY], ""))
        return [item["table"]["name"] for item in answer["nftables"] if "table" in item]

    def elements(self, table: str, name: str) -> list[str]:
        """The elements of a set of texts; empty when there is no such table or set."""
        try:
            answer = json.loads(self._run(["--json", "list", "set", _FAMILY, table, name], ""))
        except OSError:
            return []
        return [str(one) for item in answer["nftables"] if "set" in item for one in item["set"].get("elem", [])]

    def policy(self, family: str, table: str, chain: str) -> str:
        """What a chain of somebody else's does with packets that no rule of it takes: "accept", "drop", or "" when
        there is no such chain."""
        try:
            answer = json.loads(self._run(["--json", "list", "chain", family, table, chain], ""))
        except OSError:
            return ""
        return next((str(item["chain"].get("policy", "")) for item in answer["nftables"] if "chain" in item), "")

    def _run(self, arguments: Sequence[str], script: str) -> str:
        try:
            done = subprocess.run(
                [self._program, *arguments], input=script, capture_output=True, text=True, timeout=_TIMEOUT_S,
                env={"PATH": _PATH, "LANG": "C.UTF-8"}, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise OSError(f"nft: no answer within {_TIMEOUT_S:g} s") from None
        if done.returncode:
            line = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
            raise OSError(f"nft: {line.removeprefix('/dev/stdin:')[:300]}")
        return done.stdout
