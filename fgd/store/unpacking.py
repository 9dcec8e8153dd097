"""Runs `fgd/store/unpack.py` in a process of its own, without the daemon's environment and within budgets."""

import subprocess
from pathlib import Path

import msgspec
import trio

from fgd.store import unpack


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says: how much there was, or why not."""

    files: int = 0
    bytes: int = 0
    error: str = ""
    errno: int = 0


async def unpack_apart(
    python: str, work: Path, *, max_bytes: int, max_files: int, cpu_s: float, wall_s: float
) -> Answer:  # fmt: skip
    """Unpacks `archive.zip` of a folder into its folder `tree`.

    Args:
        python: the interpreter.
        work: the folder.
        max_bytes: unpacked, all together.
        max_files: files and folders.
        cpu_s: of the process.
        wall_s: after which it is killed.
    """
    order = {
        "archive": str(work / "archive.zip"),
        "target": str(work / "tree"),
        "max_bytes": max_bytes,
        "max_files": max_files,
        "cpu_s": cpu_s,
    }
    with trio.move_on_after(wall_s):
        done = await trio.run_process(
            [python, "-I", "-S", unpack.__file__, msgspec.json.encode(order).decode()],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            check=False,
            env={},
            cwd="/",
        )
        try:
            return msgspec.json.decode(done.stdout, type=Answer)
        except msgspec.DecodeError:
            return Answer(error=f"unpacking it ended with status {done.returncode}")
    return Answer(error=f"unpacking takes more than {wall_s:g} s")
