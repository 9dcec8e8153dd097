"""What commands print, and how they end.

Exit codes: 0 it worked; 1 the function failed (invoke) or something is wrong (doctor); 2 the command was wrong;
3 the API refused; 4 the daemon cannot be reached.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

EXIT_FUNCTION: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_UNREACHABLE: Final = 4


class UsageError(Exception):
    """The command line or a file it names cannot be; says what to do instead."""


class Refused(Exception):
    """The daemon answered with an error. `status` is HTTP's, `code` such as FSS.1051."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({code}, HTTP {status})" if code else f"{message} (HTTP {status})")
        self.status = status
        self.code = code
        self.message = message


class Unreachable(Exception):
    """There is no daemon at the admin socket, or this user may not use it."""


def print_json(value: Any) -> None:
    """One JSON document on standard output, for programs and people alike."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> None:
    """Columns padded to their widest cell; numbers to the right. `empty` is printed when there is no row."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not lines:
        if empty:
            print(empty)
        return
    right = [all(_is_number(line[index]) for line in lines) for index in range(len(head))]
    widths = [max(len(line[index]) for line in [list(head), *lines]) for index in range(len(head))]
    for line in [list(head), *lines]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).lstrip("-").isdigit() or cell == ""


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """One `name  value` line each, empty values left out."""
    shown = [(name, value) for name, value in fields if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name.ljust(width)}  {value}")


def note(message: str) -> None:
    """A remark that is no part of the output."""
    print(message, file=sys.stderr)


def human_bytes(count: float) -> str:
    """`12.3 MiB` and the like."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def human_us(microseconds: float) -> str:
    """Microseconds, shown as ms with two decimals."""
    return f"{microseconds / 1000:.2f} ms"
