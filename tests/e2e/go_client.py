"""Builds and runs tests/go_client: what the Go library makes of fgd's answers, step by step."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fgd.testing.client import HarnessError

_SOURCE: Final = Path(__file__).parents[1] / "go_client"
_BUILD_S: Final = 600.0
_RUN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the library: its Go type, and the status and error code of the answer in it (0 and "" if none)."""

    type: str
    status: int
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """What each step saw, by its name."""

    lines: Mapping[str, Mapping[str, Any]]

    def seen(self, name: str) -> Any:
        """What the library read, as its own structs say it; the step must have succeeded."""
        line = self.lines[name]
        assert line["ok"], f"{name}: {line['seen']['text']}"
        return line["seen"]

    def refused(self, name: str) -> Refusal:
        """The error of a step that must not have succeeded."""
        line = self.lines[name]
        assert not line["ok"], f"{name} succeeded: {line['seen']}"
        body = line["seen"]["body"] or {}
        return Refusal(
            line["seen"]["type"], line["seen"]["status"], body.get("error_code", ""), body.get("error_msg", "")
        )


def build(folder: Path) -> Path:
    """The program, built into a folder; Go's own caches make it quick from the second time on.

    Raises:
        HarnessError: no Go, or it does not build, as when its modules are neither here nor to be fetched.
    """
    go = shutil.which("go")
    if go is None:
        raise HarnessError("there is no Go to build the client with; get it: tools/test-servers.sh")
    program = folder / "go_client"
    # What go.mod and go.sum do not name is not used, no other Go than this one is fetched, and no C compiler is needed.
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    done = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(program), "."],
        cwd=_SOURCE, env=environment, capture_output=True, text=True, timeout=_BUILD_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise HarnessError(f"the Go client does not build (tools/test-servers.sh fetches its modules):\n{done.stderr}")
    return program


def run(program: Path, secrets: Mapping[str, str], **flags: str) -> Steps:
    """Runs it to its end.

    Args:
        secrets: variables of its environment.
        flags: the others of its settings.

    Raises:
        HarnessError: it ended with an error; failing steps are none.
    """
    words = [word for name, value in flags.items() for word in (f"-{name.replace('_', '-')}", value)]
    done = subprocess.run(
        [program, *words], env=dict(secrets), capture_output=True, text=True, timeout=_RUN_S, stdin=subprocess.DEVNULL
    )
    if done.returncode or done.stderr:
        raise HarnessError(f"the Go client ended with {done.returncode}:\n{done.stderr}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    steps = {line["step"]: line for line in lines}
    if len(steps) < len(lines):
        raise HarnessError("two steps of the Go client have the same name")
    return Steps(steps)
