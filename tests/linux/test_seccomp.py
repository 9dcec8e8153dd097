"""The filter as a program: run here by a small interpreter, so that every number and argument can be tried."""

import errno
import struct

import pytest

from fgd.sandbox import syscalls
from fgd.sandbox.seccomp import compile_bpf, kafel, reachable_numbers

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003
ALLOW = 0x7FFF0000
MACHINES = sorted(ARCH)


def run(program: bytes, number: int, *args: int, arch: int = ARCH["x86_64"]) -> int:
    """What the kernel would do: the value that the program returns for a call."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *args, *[0] * (6 - len(args)))
    lines = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        code, jt, jf, k = lines[position]
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                position += k
            case 0x15:
                position += jt if accumulator == k else jf
            case 0x35:
                position += jt if accumulator >= k else jf
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"not in the instruction set of seccomp: {code:#x}")


def refused(number: int) -> int:
    return 0x50000 | number


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_gets_the_verdict_of_the_list(machine: str) -> None:
    program = compile_bpf(machine)
    plain = set(syscalls.plain_numbers(machine).values())
    checked = set(syscalls.numbers(syscalls.CHECKED, machine).values())
    pretended = set(syscalls.numbers(syscalls.PRETENDED, machine).values())
    for number in range(syscalls.FIRST_UNKNOWN):
        if number in checked:
            continue
        expected = (
            ALLOW
            if number in plain
            else refused(0)
            if number in pretended
            else refused(errno.ENOSYS if number == 435 else errno.EPERM)
        )
        assert expected == run(program, number, arch=ARCH[machine]), number


@pytest.mark.parametrize("machine", MACHINES)
def test_at_most_250_numbers_are_reachable(machine: str) -> None:
    assert reachable_numbers(machine) <= 250


def test_the_program_fits_into_the_kernels_limit() -> None:
    assert len(compile_bpf()) // 8 <= 4096


def test_calls_of_other_architectures_are_refused() -> None:
    program = compile_bpf()
    for number in range(512):
        assert refused(errno.EPERM) == run(program, number, arch=I386)
        assert refused(errno.EPERM) == run(program, 0x40000000 + number)


def test_calls_newer_than_the_list_look_as_if_they_did_not_exist() -> None:
    assert refused(errno.ENOSYS) == run(compile_bpf(), 470)


@pytest.mark.parametrize("flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_with_a_namespace_flag_is_refused(flag: int) -> None:
    assert refused(errno.EPERM) == run(compile_bpf(), 56, flag | 17)


def test_clone_of_threads_and_processes_is_allowed() -> None:
    program = compile_bpf()

    assert ALLOW == run(program, 56, 17)
    assert ALLOW == run(program, 56, 0x3D0F00)


@pytest.mark.parametrize("garbage", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_typing_into_a_terminal_is_refused_whatever_is_above_32_bits(garbage: int) -> None:
    program = compile_bpf()
    for command in (0x5412, 0x541C):
        assert refused(errno.ENOTTY) == run(program, 16, 0, garbage | command)


def test_ordinary_terminal_and_descriptor_questions_are_allowed() -> None:
    program = compile_bpf()
    for command in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451):
        assert ALLOW == run(program, 16, 0, command)


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "allowed"),
    [
        (1, 1, 0, True),
        (1, 0x80805, 0, True),
        (2, 1 | 0x80800, 6, True),
        (10, 2, 17, True),
        (2, 1, 0, True),
        (16, 3, 0, True),
        (2, 3, 1, False),
        (2, 1, 132, False),
        (2, 5, 132, False),
        (2, 6, 33, False),
        (2, 1, 262, False),
        (16, 3, 12, False),
        (17, 3, 0, False),
        (38, 5, 0, False),
        (40, 1, 0, False),
        (29, 3, 1, False),
        (30, 5, 0, False),
    ],
)
def test_sockets_are_of_few_families(family: int, kind: int, protocol: int, allowed: bool) -> None:
    verdict = run(compile_bpf(), 41, family, kind, protocol)

    assert (ALLOW if allowed else refused(errno.EAFNOSUPPORT)) == verdict


@pytest.mark.parametrize(
    ("level", "option", "allowed"),
    [(1, 2, True), (6, 1, True), (0, 1, True), (1, 26, False), (1, 50, False), (1, 51, False), (1, 52, False),
     (6, 31, False), (41, 31, True), (41, 26, True)],
)  # fmt: skip
def test_no_programs_into_sockets(level: int, option: int, allowed: bool) -> None:
    verdict = run(compile_bpf(), 54, 3, level, option)

    assert (ALLOW if allowed else refused(errno.EPERM)) == verdict


@pytest.mark.parametrize(
    ("option", "allowed"), [(15, True), (38, True), (1, True), (22, False), (35, False), (28, False), (24, False)]
)
def test_prctl_cannot_change_filters_memory_layout_or_capabilities(option: int, allowed: bool) -> None:
    assert (ALLOW if allowed else refused(errno.EPERM)) == run(compile_bpf(), 157, option)


@pytest.mark.parametrize(
    ("mode", "allowed"), [(0o10644, True), (0o644, True), (0o140644, True), (0o20644, False), (0o60644, False)]
)
def test_no_device_nodes(mode: int, allowed: bool) -> None:
    program = compile_bpf()
    expected = ALLOW if allowed else refused(errno.EPERM)

    assert expected == run(program, 133, 0, mode)
    assert expected == run(program, 259, 0, 0, mode)


def test_the_core_limit_can_be_read_but_not_set() -> None:
    program = compile_bpf()

    assert run(program, 302, 0, 4, 0, 0x7FFF00001000) == ALLOW
    assert run(program, 302, 0, 7, 0x7FFF00001000, 0) == ALLOW
    for pointer in (0x1000, 0x100000000, 0x7FFF00000000):
        assert run(program, 302, 0, 4, pointer, 0) == refused(errno.EPERM)
    assert run(program, 160, 4, 0x1000) == refused(errno.EPERM)
    assert run(program, 160, 7, 0x1000) == ALLOW


@pytest.mark.parametrize(("command", "allowed"), [(1, True), (4, True), (1030, True), (1024, False), (1026, False)])
def test_what_others_do_with_shared_files_cannot_be_watched(command: int, allowed: bool) -> None:
    program = compile_bpf()

    assert run(program, 72, 3, command) == (ALLOW if allowed else refused(errno.EPERM))
    for number in (253, 254, 294, 300, 301):
        assert run(program, number) == refused(errno.EPERM)


def test_kafel_names_the_same_numbers() -> None:
    text = kafel()

    allowed = text.partition("ALLOW {")[2].partition("ERRNO")[0]
    assert all(f"SYSCALL[{number}]" in allowed for number in syscalls.plain_numbers("x86_64").values())
    assert len(syscalls.plain_numbers("x86_64")) == allowed.count("SYSCALL[")


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        compile_bpf("riscv64")
