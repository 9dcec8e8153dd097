"""Networks of the settings: what is read, what is refused, and the rules that come of it."""

import shutil
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from fgd.config import Config, ConfigError, parse_config
from fgd.linux.nft import Nft, find_nft
from fgd.network import parse_networks, public_network, ranges
from fgd.sandbox import network_survey
from fgd.sandbox.network_plan import NetworkPlan, own_files
from fgd.sandbox.network_survey import host_resolvers, survey

LAB: dict[str, Any] = {
    "subnet": "10.60.0.0/24", "bridge": "br-lab", "routes": ["172.20.0.0/16"], "resolvers": ["10.60.0.53"],
    "hosts": {"db.corp.internal": "10.60.0.10"},
}  # fmt: skip


def test_a_table_is_a_network_whose_instances_have_the_upper_half() -> None:
    lab = parse_config({"networks": {"lab": dict(LAB)}}).networks["lab"]

    assert IPv4Network("10.60.0.128/25") == lab.instances
    assert (("db.corp.internal", IPv4Address("10.60.0.10")),) == lab.hosts
    assert lab.knows("corp.internal") and lab.knows("db.corp.internal")
    assert not lab.knows("internal.corp") and not lab.knows("b.corp.internal")
    assert (True, False) == (lab.nat, lab.public)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"networks": []}, "networks: must be tables"),
        ({"networks": {"lab": 7}}, "networks.lab: must be a table"),
        ({"networks": {"none": LAB}}, "networks.none: the name"),
        ({"networks": {"Lab": LAB}}, "networks.Lab: the name"),
        ({"networks": {"lab": {}}}, "networks.lab.subnet: is needed"),
        ({"networks": {"lab": {**LAB, "subnet": "10.60.0.1/24"}}}, "networks.lab.subnet: must be an IPv4 range"),
        ({"networks": {"lab": {**LAB, "subnet": "127.5.0.0/24"}}}, "networks.lab.subnet: must be a usable"),
        ({"networks": {"lab": {**LAB, "subnet": "fd00::/64"}}}, "networks.lab.subnet: must be an IPv4 range"),
        ({"networks": {"lab": {**LAB, "subnet": "10.60.0.0/30"}}}, "networks.lab.subnet: must be a usable"),
        ({"networks": {"lab": {**LAB, "instances": "10.61.0.0/25"}}}, "networks.lab.instances: must be a part"),
        ({"networks": {"lab": {**LAB, "bridge": "fgd0"}}}, "networks.lab.bridge: must be"),
        ({"networks": {"lab": {**LAB, "bridge": 'a"; drop'}}}, "networks.lab.bridge: must be"),
        ({"networks": {"lab": {**LAB, "routes": "0.0.0.0/0"}}}, "networks.lab.routes: must be a list"),
        ({"networks": {"lab": {**LAB, "routes": ["0.0.0.0/0"]}}}, "networks.lab.routes: must not be everything"),
        ({"networks": {"lab": {**LAB, "routes": ["169.254.169.254/32"]}}}, "networks.lab.routes: 169.254.169.254/32"),
        ({"networks": {"lab": {**LAB, "hosts": {"a b": "10.60.0.1"}}}}, "networks.lab.hosts: 'a b'"),
        ({"networks": {"lab": {**LAB, "hosts": {"localhost": "10.60.0.1"}}}}, "networks.lab.hosts: 'localhost'"),
        ({"networks": {"lab": {**LAB, "hosts": {"db": "10.60"}}}}, "networks.lab.hosts.db: must be an IPv4 address"),
        ({"networks": {"lab": {**LAB, "resolvers": ["127.0.0.53"]}}}, "networks.lab.resolvers: 127.0.0.53"),
        ({"networks": {"lab": {**LAB, "nat": 1}}}, "networks.lab.nat: must be true or false"),
        ({"networks": {"lab": {**LAB, "gateway": "10.60.0.1"}}}, "networks.lab.gateway: no such setting"),
        ({"networks": {"a": LAB, "b": {"subnet": "10.60.0.0/16"}}}, "networks.b.subnet: 10.60.0.0/16 overlaps"),
        ({"networks": {"lab": {"subnet": "10.213.5.0/24"}}}, "networks.lab.subnet: 10.213.5.0/24 overlaps"),
        ({"public_subnet": "10.213.0.0/24"}, "public_subnet: must have an address for each of 2048"),
        ({"public_blocks": ["10/8"]}, "public_blocks: must be an IPv4 range"),
        ({"public_blocks": "10.0.0.0/8"}, "public_blocks: must be a list"),
        ({"resolvers": ["169.254.169.253"]}, "resolvers: 169.254.169.253"),
        ({"network": "lab"}, "network: must be one of"),
        ({"api_inside": "yes"}, "api_inside: must be one of"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(settings)

    assert str(raised.value).startswith(words)


def plan(**fields: Any) -> NetworkPlan:
    networks = (public_network("10.213.0.0/16", 64), *parse_networks({"lab": {**LAB, **fields}}).values())
    return NetworkPlan(find_nft() or "", "dtest", networks, ranges("public_blocks", ["10.0.0.0/8", "10.1.0.0/16"]))


def chain(rules: str, name: str) -> list[str]:
    """The rules of one chain."""
    body = rules.partition(f"chain {name} {{\n")[2].partition("  }\n")[0]
    return [line.strip() for line in body.splitlines()]


def test_the_rules_let_a_named_network_reach_its_own_and_nothing_else() -> None:
    assert [
        "ip saddr != 10.60.0.128/25 drop",
        "ip daddr { 10.60.0.53/32 } meta l4proto { tcp, udp } th dport 53 accept",
        "ip daddr { 10.60.0.0/24, 172.20.0.0/16 } accept",
        "reject with icmp type admin-prohibited",
    ] == chain(plan().rules(), "net_01")


def test_the_public_network_reaches_no_blocked_range_and_no_other_network() -> None:
    assert [
        "ip saddr != 10.213.0.0/16 drop",
        "ip daddr { 10.0.0.0/8 } reject with icmp type admin-prohibited",
        "accept",
    ] == chain(plan().rules(), "net_00")


def test_what_is_refused_whatever_the_settings_say_comes_first() -> None:
    received = chain(plan(public=True).rules(), "received")
    first_jump = next(number for number, rule in enumerate(received) if "jump" in rule)

    assert any("fib saddr . iif oif missing drop" in rule for rule in received[:first_jump])
    assert any("fib daddr type != unicast reject" in rule for rule in received[:first_jump])
    assert any("127.0.0.0/8, 169.254.0.0/16" in rule for rule in received[:first_jump])
    assert "drop" == received[-1]


def test_without_nat_the_address_of_an_instance_stays() -> None:
    assert "ip saddr 10.60.0.128/25" in " ".join(chain(plan().rules(), "translated"))
    assert "ip saddr 10.60.0.128/25" not in " ".join(chain(plan(nat=False).rules(), "translated"))


def test_names_of_interfaces_fit_into_the_kernels_limit() -> None:
    assert 15 >= len(plan().prefix + "98" + "9999")


def test_private_names_and_name_servers_are_files_of_the_network() -> None:
    files = own_files(plan().networks[1])

    assert files["hosts"].endswith("10.60.0.10 db.corp.internal\n")
    assert "nameserver 10.60.0.53\n" == files["resolv.conf"]


@pytest.mark.skipif(shutil.which("nft") is None, reason="the host has no nft")
def test_nft_takes_the_rules() -> None:
    if find_nft() is None:  # found by PATH only
        pytest.skip("nft is in no folder that the launcher looks in")
    try:
        Nft(find_nft() or "").check(plan(public=True).rules())
    except OSError as error:
        if "Operation not permitted" in str(error):
            pytest.skip("needs CAP_NET_ADMIN")
        raise


def test_the_hosts_own_stub_is_no_name_server_for_others(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\nnameserver ::1\noptions edns0\n")
    real.write_text("# by hand\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\nnameserver 9.9.9.9\n")

    assert (IPv4Address("192.168.1.1"), IPv4Address("9.9.9.9")) == host_resolvers([str(stub), str(real)])
    assert () == host_resolvers([str(stub), str(tmp_path / "missing")])


def test_without_nft_there_is_no_network_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_survey, "find_nft", lambda: None)
    found = survey(Config(), "dtest")

    assert (None, "none") == (found.plan, found.default)
    assert "nftables" in found.lack
    assert "" == survey(Config(network="none"), "dtest").lack
