"""Ranges of uids of daemons that run side by side."""

import itertools
import subprocess
import sys

from fgd.testing.uids import BLOCK, UidRange

HELD_ELSEWHERE = """
import sys
from fgd.testing.uids import UidRange
held = [UidRange(200) for _ in range(20)]
print(*(one.first for one in held), flush=True)
sys.stdin.read()
"""


def test_nobody_gets_a_uid_that_another_process_has() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD_ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        theirs = [int(word) for word in other.stdout.readline().split()]
        ours = [UidRange(200) for _ in range(40)]
        spans = sorted((first, first + 200 * BLOCK) for first in [*theirs, *(one.first for one in ours)])
        other.stdin.close()

    assert 60 == len(spans)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert all(begin % BLOCK == 0 for begin, _ in spans)


def test_what_was_let_go_can_be_had_again() -> None:
    for _ in range(100):  # more than there is room for at once
        held = UidRange(2050)
        del held
