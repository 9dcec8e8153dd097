"""What an author's code sees and may do, on every provider: rights, system calls, processes, network, the neighbour."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.host.attacker import PROVIDERS, Attacker, attack, look
from tests.host.sandboxes import FIRST_ID, Sandboxes

pytestmark = pytest.mark.parametrize("provider", PROVIDERS)

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
NO_RIGHTS = "0" * 16


def test_all_seven_namespaces_differ_from_the_hosts_and_the_neighbours(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(attacker: Attacker) -> Any:
        return await attacker.call("identity.namespaces")

    first, second = attack(sandbox_host, provider, main, count=2)

    host = {kind: str(Path("/proc/self/ns", kind).readlink()) for kind in NAMESPACES}
    for kind in NAMESPACES:
        assert len({first[kind], second[kind], host[kind]}) == 3, kind


def test_every_thread_is_without_rights_and_filtered(sandbox_host: Sandboxes, provider: str) -> None:
    threads = look(sandbox_host, provider, "identity.threads")

    assert len(threads) == 4
    for thread in threads:
        assert thread == {
            "Uid": "1003 1003 1003 1003", "Gid": "1003 1003 1003 1003", "Groups": "",
            "CapInh": NO_RIGHTS, "CapPrm": NO_RIGHTS, "CapEff": NO_RIGHTS, "CapBnd": NO_RIGHTS, "CapAmb": NO_RIGHTS,
            "NoNewPrivs": "1", "Seccomp": "2",
        }  # fmt: skip


def test_new_threads_and_programs_stay_filtered(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.in_new_threads_and_programs")

    assert found["thread"] == "EPERM"
    lines = (
        ("CapEff", NO_RIGHTS),
        ("CapBnd", NO_RIGHTS),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Seccomp_filters", "1"),
    )
    assert [tuple(line.split(":\t")) for line in found["program"].splitlines()] == list(lines)


def test_dangerous_calls_are_refused(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.forbidden")

    assert len(found) > 60
    assert {name: result for name, result in found.items() if result != "EPERM"} == {}


def test_no_new_namespaces_by_clone(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.clone_namespaces")

    assert found.pop("clone3") == "ENOSYS"
    assert set(found.values()) == {"EPERM"}


def test_calls_of_other_architectures_do_not_pass(sandbox_host: Sandboxes, provider: str) -> None:
    """x32 fails; i386 fails, or the kernel ends the process that tries (nsjail's filter does)."""
    found = look(sandbox_host, provider, "calls.other_architectures")

    assert found["x32"] < 0
    if found["i386"] is None:
        assert os.WIFSIGNALED(found["i386_status"])
    else:
        assert found["i386"] < 0


def test_only_ordinary_sockets_can_be_had(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.sockets")

    allowed = {kind for kind, result in found.items() if result == "allowed"}
    assert allowed == {"tcp", "udp6", "unix", "seqpacket", "route"}


def test_no_programs_for_the_kernel_and_no_second_filter(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.kernel_programs")

    assert set(found.values()) == {"EPERM"}


def test_a_crash_cannot_reach_the_hosts_core_handler(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.core_limit")

    assert found.pop("limit") == "(1, 1)"
    assert "allowed" not in found.values()


def test_there_is_no_terminal_to_type_into(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "calls.terminal")

    assert found.pop("session_leader") == "True"
    assert set(found.values()) <= {"ENOENT", "ENXIO", "ENOTTY", "EBADF"}


def test_no_process_of_the_host_can_be_seen_or_signalled(sandbox_host: Sandboxes, provider: str) -> None:
    place = look(sandbox_host, provider, "identity.place")
    signals = look(sandbox_host, provider, "calls.processes")

    assert place["pid"] == 1
    assert place["pids"] == [1]
    assert place["parent"] == 0
    assert set(signals.values()) == {"ESRCH"}


def test_ids_on_the_host_are_the_sandboxs_own(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(attacker: Attacker) -> Any:
        return (await attacker.call("identity.place"))["uid_map"]

    first, second = attack(sandbox_host, provider, main, count=2)

    blocks = set()
    for inside, outside, count in (map(int, first), map(int, second)):
        assert outside >= FIRST_ID
        assert inside + count <= 65536
        blocks.add((outside - inside) // 65536)
    assert len(blocks) == 2


def test_the_place_tells_nothing_of_the_host(sandbox_host: Sandboxes, provider: str) -> None:
    place = look(sandbox_host, provider, "identity.place")

    assert place["cwd"] == "/opt/function"
    assert place["hostname"] == "function"
    assert place["own_input"]
    assert {line.rpartition(":")[2] for line in place["cgroup"] if "name=" not in line} == {"/"}
    assert not {"USER", "SUDO_USER", "SSH_CONNECTION", "FGD_TOKEN"} & set(place["environment"])


def test_functions_are_the_first_to_go_when_the_host_is_out_of_memory(sandbox_host: Sandboxes, provider: str) -> None:
    assert look(sandbox_host, provider, "identity.place")["oom_score_adj"] == "1000"


def test_no_descriptor_but_input_output_and_the_channel(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "identity.descriptors")

    assert found.pop("0") == "/dev/null"
    output = found.pop("1")
    assert output.startswith("pipe:")
    assert found.pop("2") == output
    assert len(found) <= 2
    assert all(target.startswith("socket:") for target in found.values())


def test_the_network_is_loopback_alone(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "network.interfaces")

    assert found == {"names": ["lo"], "routes": [], "tcp": 0, "unix": []}
    assert look(sandbox_host, provider, "network.own_loopback") == "hello"
    assert look(sandbox_host, provider, "network.look_up") == "gaierror"


def test_the_hosts_sockets_cannot_be_reached(sandbox_host: Sandboxes, provider: str, tmp_path: Path) -> None:
    name = f"fgd-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
    ):
        abstract.bind("\0" + name)
        abstract.listen()
        path = str(tmp_path / "s")
        named.bind(path)
        named.listen()

        found = look(sandbox_host, provider, "network.reach", tcp_port=tcp.getsockname()[1], abstract=name, path=path)

    assert "allowed" not in found.values()
    assert found["loopback"] == found["abstract"] == "ECONNREFUSED"
    assert found["world"] == "ENETUNREACH"


def test_neighbours_share_no_names_files_or_memory(sandbox_host: Sandboxes, provider: str) -> None:
    """Two at the same time: what the first leaves, the second must not find."""
    results: list[Any] = []

    async def main(attacker: Attacker) -> None:
        if not results:
            results.append(await attacker.call("identity.leave_traces"))
            await attacker.call("network.listen_abstract", name="neighbour")
        else:
            results.append(await attacker.call("identity.find_traces"))
            results.append(await attacker.call("network.reach_abstract", name="neighbour"))

    attack(sandbox_host, provider, main, count=2)

    left, found, reached = results
    assert left["shm"] >= 0 and left["sem"] >= 0
    assert found == {"tmp": [], "shm_files": [], "shm": "ENOENT", "sem": "ENOENT"}
    assert reached == "ECONNREFUSED"
