"""The filter every process of a function runs under, from one list: as BPF for the kernel, as kafel text for nsjail.

Theory of operation: the program is a binary search over ranges of call numbers, so a call costs about eight
comparisons; from Linux 5.11 on the kernel works out beforehand which numbers are allowed whatever their arguments, and
for them does not run the program at all. Arguments are compared by their low 32 bits only, because that is all the
kernel itself reads of an `int`: a comparison of 64 bits can be passed by with garbage above (CVE-2019-7303). Pointers
are never looked into. Source: Documentation/userspace-api/seccomp_filter.rst.
"""

import errno
import struct
from dataclasses import dataclass
from typing import Final

from fgd.sandbox.syscalls import CHECKED, FIRST_UNKNOWN, MISSING, PRETENDED, numbers, plain_numbers

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: x32 calls come with the architecture of x86_64 and this bit in the number.
_X32_BIT = 0x40000000
_ALL_BITS = 0xFFFFFFFF

_LD_W_ABS, _AND_K, _JA, _JEQ_K, _JGE_K, _RET_K = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16


@dataclass(frozen=True, slots=True)
class Is:
    """The low (or `high`) half of argument number `index`, masked, is one of `values` (none of them, if `negated`).

    `name` is what kafel calls the argument.
    """

    index: int
    name: str
    values: tuple[int, ...]
    mask: int = _ALL_BITS
    negated: bool = False
    high: bool = False


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """The call is allowed when all conditions of one of the `cases` hold; else it fails with `error`."""

    cases: tuple[tuple[Is, ...], ...]
    error: int = errno.EPERM


# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (NEWTIME cannot be given to clone).
_NAMESPACE_FLAGS: Final = 0x7E020000

# Terminal settings (without TIOCSTI and TIOCLINUX, which type into a terminal), descriptor flags, counts of waiting
# bytes, pseudo terminals, and reading the network interfaces.
_IOCTLS: Final = (
    0x5401, 0x5402, 0x5403, 0x5404, 0x540B, 0x540F, 0x5410, 0x5411, 0x5413, 0x5414, 0x541B, 0x5421, 0x5429,
    0x5441, 0x5450, 0x5451, 0x5452, 0x8910, 0x8912, 0x8913, 0x8915, 0x8919, 0x891B, 0x8921, 0x8927, 0x8933,
    0x40045431, 0x80045430, 0x802C542A,
)  # fmt: skip

# PDEATHSIG, DUMPABLE, NAME, seccomp and capability reading, TIMERSLACK, CHILD_SUBREAPER, NO_NEW_PRIVS, THP_DISABLE,
# PR_SET_VMA (names of mappings). Not: PR_SET_SECCOMP, PR_SET_MM, PR_SET_SECUREBITS, PR_SET_KEEPCAPS, PR_CAPBSET_DROP.
_PRCTLS: Final = (1, 2, 3, 4, 7, 15, 16, 21, 23, 25, 27, 29, 30, 36, 37, 38, 39, 41, 42, 0x53564D41)

_SOL_SOCKET, _SOL_TCP = 1, 6
# SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and _EBPF put programs into the kernel.
_SOCKET_PROGRAMS: Final = (26, 50, 51, 52)
_TCP_ULP = 31
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16

# With a limit of 1 the kernel gives no core to the program in core_pattern, which runs as root on the host; with 0 it
# would. So nobody lowers it. Reading it stays allowed: the pointer to the new value is null then.
_RLIMIT_CORE = 4

ARGUMENT_RULES: Final = {
    "clone": ArgumentRule(((Is(0, "clone_flags", (0,), mask=_NAMESPACE_FLAGS),),)),
    "ioctl": ArgumentRule(((Is(1, "cmd", _IOCTLS),),), errno.ENOTTY),
    "prctl": ArgumentRule(((Is(0, "option", _PRCTLS),),)),
    # Stream and datagram of TCP and UDP only, so that no protocol's module is loaded; route netlink tells the
    # addresses of the interfaces.
    "socket": ArgumentRule(
        (
            (Is(0, "family", (_UNIX,)),),
            (
                Is(0, "family", (_INET, _INET6)),
                Is(1, "type", (1, 2), mask=0xF),
                Is(2, "protocol", (0, 6, 17)),
            ),
            (Is(0, "family", (_NETLINK,)), Is(2, "protocol", (0,))),
        ),
        errno.EAFNOSUPPORT,
    ),
    "setsockopt": ArgumentRule(
        (
            (Is(1, "level", (_SOL_SOCKET, _SOL_TCP), negated=True),),
            (Is(1, "level", (_SOL_SOCKET,)), Is(2, "optname", _SOCKET_PROGRAMS, negated=True)),
            (Is(1, "level", (_SOL_TCP,)), Is(2, "optname", (_TCP_ULP,), negated=True)),
        )
    ),
    "setrlimit": ArgumentRule(((Is(0, "resource", (_RLIMIT_CORE,), negated=True),),)),
    "prlimit64": ArgumentRule(
        (
            (Is(1, "resource", (_RLIMIT_CORE,), negated=True),),
            (Is(2, "new_rlim", (0,)), Is(2, "new_rlim", (0,), high=True)),
        )
    ),
    # Not F_SETLEASE and F_NOTIFY, which tell what others do with files that all share.
    "fcntl": ArgumentRule(((Is(1, "cmd", (1024, 1026), negated=True),),)),
    # Ordinary files, pipes and sockets.
    "mknod": ArgumentRule(((Is(1, "mode", (0, 0x1000, 0x8000, 0xC000), mask=0xF000),),)),
    "mknodat": ArgumentRule(((Is(2, "mode", (0, 0x1000, 0x8000, 0xC000), mask=0xF000),),)),
}


def reachable_numbers(machine: str) -> int:
    """How many call numbers get as far as the kernel's own code, with some arguments at least."""
    return len(plain_numbers(machine)) + len(numbers(CHECKED, machine))


type _Program = list[tuple[int, int, int, int]]


def _errno(number: int) -> _Program:
    return [(_RET_K, 0, 0, _RET_ERRNO | number)]


_ALLOW: Final[_Program] = [(_RET_K, 0, 0, _RET_ALLOW)]


def _condition(condition: Is) -> _Program:
    """Falls through to what follows when it holds; else jumps past it, which the caller patches (offset 255)."""
    program: _Program = [(_LD_W_ABS, 0, 0, _OFFSET_ARGS + 8 * condition.index + 4 * condition.high)]
    if condition.mask != _ALL_BITS:
        program.append((_AND_K, 0, 0, condition.mask))
    count = len(condition.values)
    for position, value in enumerate(condition.values):
        left = count - position - 1
        if condition.negated:
            program.append((_JEQ_K, left, 0, value))
        else:
            # Over the remaining comparisons and the JA at the end.
            program.append((_JEQ_K, left + 1, 0, value))
    if condition.negated:
        # Reached by a match through `left` = distance to the JA; without a match, skip it.
        program[-1] = (_JEQ_K, 0, 1, condition.values[-1])
    program.append((_JA, 0, 0, _ALL_BITS))
    return program


def _argument_check(rule: ArgumentRule) -> _Program:
    program: _Program = []
    for case in rule.cases:
        block: _Program = [line for condition in case for line in _condition(condition)] + _ALLOW
        for position, (code, jt, jf, k) in enumerate(block):
            if code == _JA and k == _ALL_BITS:
                block[position] = (code, jt, jf, len(block) - position - 1)
        program += block
    return program + _errno(rule.error)


def _search(ranges: list[tuple[int, _Program]]) -> _Program:
    """Binary search: the accumulator holds the number; each range goes from its start to the next one's."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    pivot = ranges[middle][0]
    if len(low) <= 255:
        return [(_JGE_K, len(low), 0, pivot), *low, *high]
    # Conditional jumps reach 255 lines; a plain jump reaches any.
    return [(_JGE_K, 0, 1, pivot), (_JA, 0, 0, len(low)), *low, *high]


def _ranges(machine: str) -> list[tuple[int, _Program]]:
    actions: dict[int, _Program] = dict.fromkeys(plain_numbers(machine).values(), _ALLOW)
    for name, number in numbers(CHECKED, machine).items():
        actions[number] = _argument_check(ARGUMENT_RULES[name])
    actions |= dict.fromkeys(numbers(PRETENDED, machine).values(), _errno(0))
    actions |= dict.fromkeys(numbers(MISSING, machine).values(), _errno(errno.ENOSYS))
    refused, unknown = _errno(errno.EPERM), _errno(errno.ENOSYS)
    ranges: list[tuple[int, _Program]] = []
    for number in range(FIRST_UNKNOWN + 1):
        action = unknown if number == FIRST_UNKNOWN else actions.get(number, refused)
        if not ranges or ranges[-1][1] != action:
            ranges.append((number, action))
    return [*ranges, (_X32_BIT, refused)]


def compile_bpf(machine: str = "x86_64") -> bytes:
    """An array of `struct sock_filter` (8 bytes each) for PR_SET_SECCOMP; at most 4,096 of them.

    Raises:
        ValueError: a machine we have no numbers for.
    """
    program: _Program = [
        (_LD_W_ABS, 0, 0, _OFFSET_ARCH),
        (_JEQ_K, 1, 0, _ARCH.get(machine, 0)),
        *_errno(errno.EPERM),
        (_LD_W_ABS, 0, 0, _OFFSET_NR),
        *_search(_ranges(machine)),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in program)


def _kafel_condition(condition: Is) -> str:
    mask = condition.mask << 32 if condition.high else condition.mask
    left = condition.name if mask == _ALL_BITS else f"({condition.name} & {mask:#x})"
    if condition.negated:
        return "(" + " && ".join(f"{left} != {value:#x}" for value in condition.values) + ")"
    return "(" + " || ".join(f"{left} == {value:#x}" for value in condition.values) + ")"


def kafel(machine: str = "x86_64") -> str:
    """The same filter as a kafel policy. Calls newer than the list get EPERM here, as kafel knows no ranges."""
    checked = numbers(CHECKED, machine)
    allowed = [f"SYSCALL[{number}]" for number in plain_numbers(machine).values()]
    refusals: dict[int, list[str]] = {}
    for name in checked:
        rule = ARGUMENT_RULES[name]
        cases = (" && ".join(_kafel_condition(condition) for condition in case) for case in rule.cases)
        allowed.append(f"{name} {{ {' || '.join(f'({case})' for case in cases)} }}")
        if rule.error != errno.EPERM:
            refusals.setdefault(rule.error, []).append(name)
    refusals.setdefault(errno.ENOSYS, []).extend(f"SYSCALL[{n}]" for n in numbers(MISSING, machine).values())
    refusals.setdefault(0, []).extend(f"SYSCALL[{n}]" for n in numbers(PRETENDED, machine).values())
    lines = [f"ALLOW {{ {', '.join(allowed)} }}"]
    lines += [f"ERRNO({error}) {{ {', '.join(names)} }}" for error, names in refusals.items()]
    return f"POLICY fgd {{ {', '.join(lines)} }} USE fgd DEFAULT ERRNO({errno.EPERM})"
