"""Networks of functions with real hosts around the node: what is reached, what is not, from where one is invoked."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.netlab import LAN, METADATA, NODE, NODE_LAN, PRIVATE, WORLD, NetLab, Probes, lab_daemon

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ip", "nft", "nsenter"))), reason="needs ip, nft and nsenter"
)
#: The kernel says no, but only so often a second; after that it says nothing.
REFUSALS = {"OSError 113", "TimeoutError None"}
NO_ROUTE = "OSError 101"
REFUSED = "ConnectionRefusedError 111"


@pytest.fixture(scope="module")
def lab() -> Iterator[NetLab]:
    with NetLab() as made:
        yield made


@pytest.fixture(scope="module", params=["zygote", "nsjail"])
def probes(lab: NetLab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probes]:
    folder = tmp_path_factory.mktemp("net")
    with lab_daemon(folder, lab, provider=request.param) as daemon:
        made = Probes(daemon)
        made.urn("out")
        made.urn("lab", func_vpc={"vpc_id": "lab", "subnet_id": "lab"})
        made.urn("shut", network_controller={"disable_public_network": True})
        yield made
        made.client.close()

    assert [] == lab.traces()


def test_the_public_network_leads_out_behind_the_address_of_the_host(probes: Probes) -> None:
    assert "world " + NODE == probes.get("out", f"http://{WORLD}/")


def test_names_are_asked_of_the_resolvers_of_the_settings(probes: Probes) -> None:
    assert "world " + NODE == probes.get("out", "http://www.example.com/")


def test_a_named_network_leads_to_its_machines_by_their_private_names(probes: Probes) -> None:
    assert "lan " + NODE_LAN == probes.get("lab", "http://db.corp.internal/")


def test_the_public_network_reaches_neither_the_host_nor_metadata_nor_what_is_private(
    probes: Probes, lab: NetLab
) -> None:
    port = probes.daemon.port
    targets = [
        (NODE, 80),
        (NODE, port),
        (NODE_LAN, port),
        (METADATA, 80),
        (PRIVATE, 80),
        (LAN, 80),
        ("10.213.200.1", 80),
    ]
    found = probes.tried("out", *targets)

    assert all(lab.get("node", host) for host in (NODE, METADATA, PRIVATE, LAN)), "the node itself reaches them"
    assert len(targets) == len(found)
    assert set(found.values()) <= REFUSALS
    assert {f"127.0.0.1:{port}": REFUSED} == probes.tried("out", ("127.0.0.1", port))


def test_a_named_network_reaches_nothing_but_its_own(probes: Probes) -> None:
    port = probes.daemon.port
    outside = [(WORLD, 80), (METADATA, 80), (PRIVATE, 80), (NODE, port), ("10.61.0.1", 80)]

    assert {f"{host}:{number}": NO_ROUTE for host, number in outside} == probes.tried("lab", *outside)
    assert probes.tried("lab", (NODE_LAN, port))[f"{NODE_LAN}:{port}"] in REFUSALS


def test_without_a_network_nothing_is_reached(probes: Probes) -> None:
    targets = [(WORLD, 80), (LAN, 80), (NODE, 80), (METADATA, 80)]

    assert {f"{host}:{port}": NO_ROUTE for host, port in targets} == probes.tried("shut", *targets)
    assert ["lo"] == probes.ask("shut", do="see")["interfaces"]


@pytest.mark.parametrize(("first", "second"), [("out", "out-2"), ("lab", "lab-2"), ("out", "lab-2"), ("lab", "out-2")])
def test_no_instance_reaches_another(probes: Probes, first: str, second: str) -> None:
    probes.urn("out-2")
    probes.urn("lab-2", func_vpc={"vpc_id": "lab", "subnet_id": "lab"})
    # An instance that was idle for long has been replaced, so each is asked anew.
    asked = {name: probes.ask(name, do="listen") for name in (first, second)}
    theirs = asked[second]["address"]
    answer = probes.tried(first, (theirs, 9000))[f"{theirs}:9000"]

    assert ["connected", "connected"] == [one["itself"] for one in asked.values()]
    assert asked[first]["address"] != theirs
    assert answer in {*REFUSALS, NO_ROUTE}


def test_nobody_opens_a_connection_to_an_instance(probes: Probes, lab: NetLab) -> None:
    for name, place in (("in-out", "world"), ("in-lab", "lan")):
        probes.urn(name, **({"func_vpc": {"vpc_id": "lab", "subnet_id": "lab"}} if place == "lan" else {}))
        address = probes.ask(name, do="listen")["address"]

        assert "" == lab.get(place, address, 9000)
        assert "" == lab.get("node", address, 9000)


def test_packets_with_another_source_do_not_leave(probes: Probes, lab: NetLab) -> None:
    probes.ask("out", do="spoof", source="10.213.77.7", to=[WORLD, 9999])
    probes.ask("out", do="spoof", source="203.0.113.77", to=[WORLD, 9999])
    probes.ask("out", do="spoof", source="", to=[WORLD, 9999])
    heard = lab.get("node", WORLD, path="heard").split()

    assert {NODE} == set(heard), "only the honest ones came, with the host's address"


def test_a_sandbox_sees_its_own_network_and_no_other(probes: Probes) -> None:
    seen = {name: probes.ask(name, do="see") for name in ("out", "lab", "shut")}

    assert [["lo", "eth0"], ["lo", "eth0"], ["lo"]] == [seen[name]["interfaces"] for name in ("out", "lab", "shut")]
    assert f"{LAN} db.corp.internal\n" in seen["lab"]["hosts"]
    assert "corp" not in seen["out"]["hosts"] + seen["shut"]["hosts"]
    assert [f"nameserver {WORLD}\n", "", ""] == [seen[name]["resolvers"] for name in ("out", "lab", "shut")]
    assert [[], [], []] == [one["others"] for one in seen.values()]
    assert {"lo"} == {line.split()[-1] for one in seen.values() for line in one["ipv6"].splitlines()}


def test_some_functions_can_be_invoked_from_their_network_only(probes: Probes, lab: NetLab) -> None:
    access = {"trigger_access_vpcs": [{"vpc_id": "lab", "vpc_name": "lab"}]}
    urn = probes.urn("entry", network_controller=access, xrole="agency", func_vpc={"vpc_id": "lab", "subnet_id": "lab"})
    path = f"/v2/{probes.keys.project_id}/fgs/functions/{urn}/invocations"
    port, token = probes.daemon.port, probes.keys.token
    status, text = lab.request("world", NODE, port, path, token)

    assert (403, "FSS.0403") == (status, json.loads(text)["error_code"])
    assert "only from these networks: lab; not from 203.0.113.1" in text
    assert 403 == lab.request("world", NODE, port, path + "-async", token)[0]
    assert 200 == lab.request("lan", NODE_LAN, port, path, token)[0]
    assert 200 == probes.client.invoke(urn, {"do": "see"}).status, "an administrator of this host may"


def test_an_instance_with_an_agency_has_a_door_to_the_api(probes: Probes) -> None:
    probes.urn("agent", xrole="agency")
    probes.urn("agent-shut", xrole="agency", network_controller={"disable_public_network": True})
    target = f"/v2/{probes.keys.project_id}/fgs/functions/{probes.urn('shut')}/invocations"
    for name in ("agent", "agent-shut"):
        endpoint = probes.ask(name, do="see")["endpoint"]
        headers = {"X-Auth-Token": probes.keys.token, "Content-Type": "application/json"}

        assert '{"status":"ok"}' == probes.get(name, endpoint + "/healthz").replace(" ", "")
        answer = probes.get(name, endpoint + target, headers=headers, data='{"do": "see"}')
        assert ["lo"] == json.loads(answer)["interfaces"]
    assert "" == probes.ask("out", do="see")["endpoint"]
    assert {"127.100.0.1:8320": REFUSED} == probes.tried("out", ("127.100.0.1", 8320))


def test_a_door_counts_as_the_network_that_its_function_is_on(probes: Probes) -> None:
    urn = probes.urn("entry")
    probes.urn("agent", xrole="agency")
    probes.urn("agent-lab", xrole="agency", func_vpc={"vpc_id": "lab", "subnet_id": "lab"})
    url = f"http://127.100.0.1:8320/v2/{probes.keys.project_id}/fgs/functions/{urn}/invocations"
    headers = {"X-Auth-Token": probes.keys.token, "Content-Type": "application/json"}
    allowed = probes.get("agent-lab", url, headers=headers, data='{"do": "see"}')

    assert "eth0" in json.loads(allowed)["interfaces"]
    assert "status 403" == probes.get("agent", url, headers=headers, data='{"do": "see"}')


def test_a_change_of_the_network_replaces_the_instances(probes: Probes) -> None:
    urn = probes.urn("mover")
    answer = probes.client.configure(
        urn, func_name="mover", runtime="Python3.12", timeout=30, handler="index.handler", memory_size=128,
        func_vpc={"vpc_id": "lab", "subnet_id": "lab"},
    )  # fmt: skip

    assert 200 == answer.status, answer.text
    assert {f"{LAN}:80": "connected", f"{WORLD}:80": NO_ROUTE} == probes.tried("mover", (LAN, 80), (WORLD, 80))


def test_one_instance_has_only_so_many_connections_by_its_door(probes: Probes) -> None:
    probes.urn("agent", xrole="agency")
    flood = {"do": "flood", "door": ["127.100.0.1", 8320], "count": 40}

    assert 32 == probes.ask("agent", **flood)["answered"]
    assert 32 == probes.ask("agent", **flood)["answered"], "the places of closed ones are free again"


def test_networks_are_chosen_by_the_command(probes: Probes) -> None:
    probes.urn("by-command")

    def shown(*words: str) -> Any:
        return json.loads(probes.daemon.cli(*words, "--json").stdout)

    def network() -> tuple[str | None, bool]:
        found = shown("functions", "show", "by-command")
        return found["func_vpc_id"], bool((found["network_controller"] or {}).get("disable_public_network"))

    listed = {one["name"]: one for one in shown("networks")["networks"]}
    assert ["none", "public", "lab", "own"] == list(listed)
    assert (True, "br-lab") == (listed["public"]["default"], listed["lab"]["bridge"])
    assert "10.60.0.0/24" in probes.daemon.cli("networks").stdout
    for word, want in (("lab", ("lab", False)), ("none", (None, True)), ("public", (None, False))):
        shown("functions", "update", "by-command", "--network", word)
        assert want == network()
    shown("functions", "update", "by-command", "--only-from", "lab,own", "--network", "none")
    assert (None, True) == network()
    assert "lab, own" in probes.daemon.cli("functions", "show", "by-command").stdout
    shown("functions", "update", "by-command", "--only-from", "")
    assert "lab" not in probes.daemon.cli("functions", "show", "by-command").stdout
    refused = probes.daemon.cli("functions", "update", "by-command", "--network", "other", check=False)
    assert (2, True) == (refused.returncode, "possible: none, public, lab, own" in refused.stderr)
