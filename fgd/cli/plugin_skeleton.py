"""The files that `fgd plugins new` writes: a trigger type that follows a text file, with its test.

`string.Template` texts. `$name` is the plugin's name, `$module` its module, `$code` the type's code, `$kind` the class.
"""

from typing import Final

PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=75"]
build-backend = "setuptools.build_meta"

[project]
name = "fgd-$name"
version = "0.1.0"
description = "A trigger type for fgd: $code"
readme = "README.md"
requires-python = ">=3.12"
dependencies = ["fgd"]

# The name on the left is what `fgd plugins` shows; the module on the right has the hooks.
[project.entry-points.fgd]
$name = "$module"

[tool.setuptools]
py-modules = ["$module"]
"""

MODULE: Final = '''\
"""A trigger type for fgd: each line that is added to a text file is an event."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio
from fgd.plugin import BadEvent, BadTriggerConfig, FunctionOff, Place, TriggerType, hookimpl

#: A look at the file takes at most so much of it; what has no line end within this counts as one line.
CHUNK_BYTES = 1024 * 1024


class ${kind}Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `event_data` may hold. The types are checked, and shown to users with the descriptions."""

    path: Annotated[str, msgspec.Meta(min_length=2, max_length=4096, description="Absolute path of the file.")]
    every_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600, description="Seconds between two looks at it.")] = 1.0


class $kind(TriggerType[${kind}Settings]):
    """Each line that is added to a text file."""

    code = "$code"
    settings = ${kind}Settings

    @classmethod
    def check(cls, settings: ${kind}Settings, place: Place) -> None:
        """Rules that types cannot express. Pure: looks at nothing but the settings."""
        if not settings.path.startswith("/"):
            raise BadTriggerConfig("path", f"must begin with /, not be {settings.path!r}")

    @classmethod
    def identity(cls, settings: ${kind}Settings) -> str:
        """Two triggers of one function may not follow the same file."""
        return settings.path

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until it is cancelled. Raising means: start again after a while."""
        path = Path(self.config.path)
        offset = int(self.door.recall() or b"0")
        # Files have no asynchronous interface, so another thread waits for the disk. Whatever blocks belongs into one.
        found = await trio.to_thread.run_sync(read_lines, path, offset)
        task_status.started()
        self.door.note(f"follows {path}")
        while True:
            lines, after = found
            for line in lines:
                await self.hand_over({"path": str(path), "line": line, "time": self.door.now_s()})
            if after != offset:
                # Only now: after a crash some lines come twice, and none is lost.
                offset = after
                await self.door.remember(b"%d" % offset)
            if not lines:
                await trio.sleep(self.config.every_s)
            found = await trio.to_thread.run_sync(read_lines, path, offset)

    async def hand_over(self, event: dict[str, Any]) -> None:
        """Returns when the event is on fgd's disk, or can never be."""
        while True:
            try:
                await self.door.enqueue(event)
            except FunctionOff as error:
                self.door.note(f"waits: {error}")
                await trio.sleep(self.config.every_s)
            except BadEvent as error:
                self.door.count("refused")
                self.door.note(f"refused: {error}")
                return
            else:
                return


def read_lines(path: Path, offset: int) -> tuple[list[str], int]:
    """Whole lines that begin at `offset`, without their ends, and the offset behind them.

    A file that has become shorter is read from its beginning.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if offset > file.seek(0, 2):
            offset = 0
        file.seek(offset)
        chunk = file.read(CHUNK_BYTES)
    whole = chunk if len(chunk) == CHUNK_BYTES and b"\\n" not in chunk else chunk[: chunk.rfind(b"\\n") + 1]
    return whole.decode("utf-8", "replace").splitlines(), offset + len(whole)


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[Any]]]:
    return [$kind]
'''

TEST: Final = '''\
"""Runs without a daemon: fgd.testing.trigger has a door that records what comes through it."""

import tempfile
import unittest
from pathlib import Path

from fgd.testing.trigger import BadTriggerConfig, RecordingDoor, TriggerRig

import $module


class ${kind}Test(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "lines.txt")

    def test_whole_lines_become_events(self) -> None:
        self.file.write_text("one\\ntwo\\nunfinished")
        # Threads need the real clock; what only sleeps runs in virtual time, where a day takes no time.
        rig = TriggerRig($module.$kind, {"path": str(self.file), "every_s": 0.1}, real_time=True)
        events = rig.run(events=2, seconds=10)

        self.assertEqual(["one", "two"], [event["line"] for event in events])

    def test_it_goes_on_behind_what_it_remembers(self) -> None:
        self.file.write_text("one\\ntwo\\nthree\\n")
        door = RecordingDoor(memory=b"8")
        rig = TriggerRig($module.$kind, {"path": str(self.file), "every_s": 0.1}, door=door, real_time=True)
        events = rig.run(events=1, seconds=10)

        self.assertEqual(["three"], [event["line"] for event in events])

    def test_a_line_over_the_limit_is_counted_and_left_out(self) -> None:
        self.file.write_text("x" * 300_000 + "\\nshort\\n")
        rig = TriggerRig($module.$kind, {"path": str(self.file), "every_s": 0.1}, real_time=True)
        events = rig.run(events=1, seconds=10)

        self.assertEqual(["short"], [event["line"] for event in events])
        self.assertEqual(1, rig.door.figures["refused"])

    def test_a_path_must_be_absolute(self) -> None:
        with self.assertRaises(BadTriggerConfig) as refused:
            TriggerRig($module.$kind, {"path": "lines.txt"})

        self.assertIn("event_data.path: must begin with /", str(refused.exception))


if __name__ == "__main__":
    unittest.main()
'''

README: Final = """\
# fgd-$name

A plugin for fgd: the trigger type `$code`. Each line that is added to a text file is an event:

    {"path": "/var/spool/lines.txt", "line": "hello", "time": 1767225600.0}

Test it with the Python that fgd has:

    /opt/fgd/venv/bin/python -m unittest

Install it into fgd's environment, then start the daemon again:

    /opt/fgd/venv/bin/pip install .
    systemctl restart fgd
    fgd plugins show $name

Then functions can have it:

    fgd triggers types $code
    fgd triggers create FUNCTION $code --set path=/var/spool/lines.txt
"""
