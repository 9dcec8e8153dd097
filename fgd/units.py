"""Sizes and rules that the whole of fgd counts with. Units are in the names."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

#: Largest event and largest result of a synchronous invocation (6 MB).
SYNC_PAYLOAD_MAX_BYTES: Final = 6 * MIB
#: Largest event of an asynchronous invocation.
ASYNC_PAYLOAD_MAX_BYTES: Final = 256 * KIB
#: Memory sizes a function may have (user guide, section 3.2).
MEMORY_SIZES_MIB: Final = (
    128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 8192, 10240,
)  # fmt: skip
#: Bytes of log that the answer of an invocation carries at most (API reference: the last 2,000 bytes).
LOG_TAIL_BYTES: Final = 2000


def cpu_mcpu(memory_mib: int) -> int:
    """Millicores that belong to a memory size: 300 at 128 MB, growing in proportion (runtimes.md 1.3)."""
    return memory_mib * 100 // 128 + 200
