"""Outcomes survive kill -9: none is lost, and a function gets each once."""

import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import trio

from tests.invoke.delivery_harness import Mail, posting
from tests.invoke.delivery_victim import AIMS, origin
from tests.store.disks import tmpfs

_REPOSITORY = Path(__file__).parents[2]


def run_and_kill(state_dir: Path, lines: int) -> list[list[str]]:
    """Lets the victim say so many lines, then kills it; gives the words of all that it said."""
    command = [sys.executable, "-m", "tests.invoke.delivery_victim", str(state_dir)]
    victim = subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE)
    assert victim.stdout is not None
    said = [victim.stdout.readline() for _ in range(lines)]
    victim.send_signal(signal.SIGKILL)
    said += victim.stdout.read().splitlines(keepends=True)
    victim.wait()
    victim.stdout.close()
    return [line.decode().split() for line in said if line.endswith(b"\n")]


@pytest.mark.slow
def test_outcomes_of_all_acknowledged_events_arrive_through_two_functions(tmp_path: Path) -> None:
    choose = random.Random(11)
    said = [words for _ in range(4) for words in run_and_kill(tmp_path, choose.randrange(20, 500))]
    acknowledged = {words[1] for words in said if words[0] == "A"}
    #: Of each first event, the events that it became.
    arrived: defaultdict[str, set[str]] = defaultdict(set)
    for _, second, first in (words for words in said if words[0] == "B"):
        arrived[first].add(second)

    async def finish() -> list[tuple[str, str]]:
        mail = Mail()
        async with posting(tmp_path, mail, aims=AIMS) as post:
            for _ in range(3):  # events of f1, then of f2, then their outcomes
                await post.empty()
        return [origin(delivery) for delivery in mail.got]

    for second, first in trio.run(finish):
        arrived[first].add(second)

    assert acknowledged
    assert set() == acknowledged - arrived.keys()
    assert {1} == {len(events) for events in arrived.values()}, "handed on twice"


@pytest.mark.host
def test_on_a_full_disk_outcomes_that_arrived_make_room(tmp_path: Path) -> None:
    """Another program fills the disk while deliveries are under way; what arrived can be written down all the same."""
    mail = Mail()
    go = trio.Event()
    mail.answer = lambda delivery: go.wait()

    async def main(folder: Path) -> None:
        async with posting(folder, mail) as post:
            await post.harness.enqueue("f1", 3)
            await post.harness.until(lambda: len(mail.got) == 3)
            ballast = folder / "ballast"
            with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            go.set()
            await post.empty()
            assert [] == await post.states()

    with tmpfs(tmp_path / "small", "2m") as folder:
        trio.run(main, folder)
