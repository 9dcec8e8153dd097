"""FunctionGraph's log lines, made from records when somebody reads them (runtimes, section 1.6).

    2024-05-16T08:01:29Z Start invoke request '<request id>', version: latest
    2024-05-16T08:01:35Z Finish invoke request '<request id>', duration: 708.558ms, billing duration: 709ms,
        memory used: 44.223MB, billing memory: 256MB                       (one line)

Time is UTC without milliseconds. The invoke lines have the form of the API reference (rest-api, section 2.2), which
ends with the billing memory; processor time and storage are not measured and so not told.
"""

from collections.abc import Sequence

from fgd.clock import iso_utc
from fgd.store.api import InvocationRecord, LogLine, StartRecord
from fgd.units import LOG_TAIL_BYTES, MIB

#: (moment, text) of a line; several of one record are in order.
type TimedLine = tuple[float, str]


def line_text(line: LogLine) -> str:
    """A logger's line with time, request id and level; what was printed, as it is."""
    if not line.level:
        return line.text
    request = f"{line.request_id} " if line.request_id else ""
    return f"{iso_utc(line.time_s)} {request}{line.level} {line.text}"


def invocation_lines(record: InvocationRecord) -> tuple[TimedLine, TimedLine]:
    """The Start and the Finish line of an invocation."""
    start_s = record.time_s + (record.frontend_us + record.queue_us) / 1e6
    finish_s = start_s + (record.dispatch_us + record.runtime_us) / 1e6
    return (
        (start_s, f"{iso_utc(start_s)} Start invoke request '{record.request_id}', version: {record.version}"),
        (
            finish_s,
            f"{iso_utc(finish_s)} Finish invoke request '{record.request_id}',"
            f" duration: {record.runtime_us / 1000:.3f}ms, billing duration: {-(-record.runtime_us // 1000)}ms,"
            f" memory used: {record.memory_bytes / MIB:.3f}MB, billing memory: {record.memory_mib}MB",
        ),
    )


def start_lines(record: StartRecord) -> list[TimedLine]:
    """Start and Finish of loading the code, and of the initializer where there is one."""
    lines = _phase("load", record.load_request_id, record, record.time_s + record.instance_us / 1e6, record.code_us)
    if record.init_request_id:
        lines += _phase("initialize", record.init_request_id, record, lines[-1][0], record.init_us)
    return lines


def _phase(name: str, request_id: str, record: StartRecord, start_s: float, length_us: int) -> list[TimedLine]:
    finish_s = start_s + length_us / 1e6
    return [
        (start_s, f"{iso_utc(start_s)} Start {name} request '{request_id}', version: {record.version}"),
        (
            finish_s,
            f"{iso_utc(finish_s)} Finish {name} request '{request_id}', duration: {length_us / 1000:.3f}ms,"
            f" memory used: {record.memory_bytes / MIB:.3f}MB.",
        ),
    ]


def render_tail(record: InvocationRecord, lines: Sequence[bytes | LogLine]) -> bytes:
    """The end of an invocation's log: Start line, as much of the end of its output as fits, Finish line.

    Args:
        lines: what the function printed, in order, with or without line ends.

    Returns:
        At most 2,000 bytes of UTF-8, lines ended by a newline each.
    """
    (_, start), (_, finish) = invocation_lines(record)
    first, last = f"{start}\n".encode(), f"{finish}\n".encode()
    room = LOG_TAIL_BYTES - len(first) - len(last)
    kept: list[bytes] = []
    for line in reversed(lines):
        raw = line if isinstance(line, bytes) else line_text(line).encode()
        if not raw.endswith(b"\n"):
            raw += b"\n"
        if len(raw) > room:
            # The rest of this line, from the next whole character on.
            kept.append(raw[len(raw) - room :].decode("utf-8", "ignore").encode() if room > 1 else b"")
            break
        kept.append(raw)
        room -= len(raw)
    return b"".join((first, *reversed(kept), last))
