"""Networks of functions as the API, the official SDK and Terraform speak of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.config import parse_config
from fgd.control.facets.network import NetworkFacet
from fgd.control.networks import Networks
from fgd.errors import Forbidden, SubnetNotActive
from fgd.gateway.entry import Entry
from fgd.model import Function
from fgd.network import public_network
from tests.api.harness import Api, running_api

VPC = {"vpc_id": "lab", "subnet_id": "lab"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    tables: dict[str, Any] = {
        name: {"subnet": f"10.{60 + number}.0.0/24"} for number, name in enumerate(("a", "b", "c", "d", "e"))
    }
    tables["lab"] = {"subnet": "10.70.0.0/24", "hosts": {"db.corp.internal": "10.70.0.10"}}
    tables["open"] = {"subnet": "10.71.0.0/24", "public": True}
    with running_api(tmp_path_factory.mktemp("state"), parse_config({"networks": tables})) as running:
        yield running


def test_a_network_is_shown_as_it_was_set_and_taken_away_by_an_empty_object(api: Api) -> None:
    created = api.function("vpc", func_vpc=VPC)

    assert ("lab", "lab", "10.70.0.0/24") == tuple(created["func_vpc"][key] for key in ("vpc_id", "subnet_id", "cidr"))
    assert "lab" == created["func_vpc_id"]
    # What Terraform sends with every update leaves it alone.
    _, updated = api.v2("PUT", api.of("vpc") + "/config", {"peering_cidr": "", "description": "x"})
    assert "lab" == updated["func_vpc"]["vpc_id"]
    _, updated = api.v2("PUT", api.of("vpc") + "/config", {"func_vpc": {"vpc_id": "", "subnet_id": ""}})
    assert (None, None) == (updated["func_vpc"], updated["func_vpc_id"])


def test_unset_fields_are_null(api: Api) -> None:
    created = api.function("plain")

    for field in ("func_vpc", "func_vpc_id", "network_controller", "domain_names", "peering_cidr"):
        assert created[field] is None, field


def test_the_controller_is_replaced_whole(api: Api) -> None:
    access = [{"vpc_id": "lab", "vpc_name": "lab"}]
    both = {"disable_public_network": True, "trigger_access_vpcs": access}
    path = api.of("controlled") + "/config"

    assert both == api.function("controlled", network_controller=both)["network_controller"]
    _, updated = api.v2("PUT", path, {"network_controller": {"trigger_access_vpcs": access}})
    assert both | {"disable_public_network": False} == updated["network_controller"]
    _, updated = api.v2("PUT", path, {"network_controller": {}})
    assert updated["network_controller"] is None


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"func_vpc": "lab"}, 400, "FSS.0400", "func_vpc"),
        ({"func_vpc": {"vpc_id": "other", "subnet_id": "other"}}, 400, "FSS.1036", "func_vpc.vpc_id"),
        ({"func_vpc": {"vpc_id": ["lab"]}}, 400, "FSS.1036", "func_vpc.vpc_id"),
        ({"func_vpc": {"vpc_id": "lab", "vpc_name": "a"}}, 400, "FSS.1036", "func_vpc.vpc_name"),
        ({"func_vpc": {"subnet_id": "lab"}}, 400, "FSS.1036", "func_vpc.vpc_id"),
        ({"func_vpc": {"vpc_id": "lab", "subnet_id": "a"}}, 400, "FSS.1037", "func_vpc.subnet_id"),
        ({"func_vpc": {**VPC, "security_groups": ["sg"]}}, 501, "FSS.0501", "func_vpc.security_groups"),
        ({"network_controller": []}, 400, "FSS.0400", "network_controller"),
        ({"network_controller": {"disable_public_network": "yes"}}, 400, "FSS.0400", "network_controller.disable"),
        ({"network_controller": {"trigger_access_vpcs": "lab"}}, 400, "FSS.0400", "network_controller.trigger"),
        ({"network_controller": {"trigger_access_vpcs": [{}]}}, 400, "FSS.1036", "network_controller.trigger"),
        (
            {"func_vpc": {"vpc_id": "open"}, "network_controller": {"disable_public_network": True}},
            400, "FSS.0400", "network_controller.disable_public_network",
        ),
        ({"domain_names": '["corp.internal"]'}, 400, "FSS.0400", "domain_names"),
        ({"func_vpc": VPC, "domain_names": '["other"]'}, 400, "FSS.0400", "domain_names"),
        ({"func_vpc": VPC, "domain_names": "corp"}, 400, "FSS.0400", "domain_names"),
        ({"func_vpc": VPC, "domain_names": "[" * 3000}, 400, "FSS.0400", "domain_names"),
        ({"func_vpc": VPC, "domain_names": '[{"id": "x"}]'}, 400, "FSS.0400", "domain_names"),
        ({"peering_cidr": "192.168.0.0/16;" * 6}, 400, "FSS.0400", "peering_cidr"),
        ({"peering_cidr": "192.168.0.1/16"}, 400, "FSS.0400", "peering_cidr"),
        ({"peering_cidr": "10.213.4.0/24"}, 400, "FSS.0400", "peering_cidr"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_made(
    api: Api, fields: dict[str, object], status: int, code: str, field: str
) -> None:
    body = {"func_name": "never", "handler": "index.handler", "runtime": "Python3.12", **INLINE, **fields}
    found, answer = api.v2("POST", "/functions", body)

    assert (status, code) == (found, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field)
    assert 404 == api.v2("GET", api.of("never") + "/config")[0]


INLINE = {"timeout": 3, "memory_size": 128, "code_type": "inline", "func_code": {"file": "eCA9IDEK"}}


def test_private_domains_and_peerings_are_kept_as_they_came(api: Api) -> None:
    domains = json.dumps([{"id": "z", "domain_name": "corp.internal."}])
    created = api.function("domains", func_vpc=VPC, domain_names=domains, peering_cidr="192.168.0.0/16;172.16.0.0/12")

    assert (domains, "192.168.0.0/16;172.16.0.0/12") == (created["domain_names"], created["peering_cidr"])


def test_the_functions_of_a_project_are_on_four_networks_at_most(api: Api) -> None:
    for name in ("vpc", "domains"):  # of other tests, if they ran
        api.v2("DELETE", api.of(name))
    for name in ("a", "b", "c", "d"):
        api.function(f"on-{name}", func_vpc={"vpc_id": name})
    status, answer = api.v2("POST", "/functions", {"func_name": "fifth", "func_vpc": {"vpc_id": "e"}, **MINIMAL})

    assert (403, "FSS.1048") == (status, answer["error_code"])
    api.function("second-on-a", func_vpc={"vpc_id": "a"})
    for name in ("on-a", "on-b", "on-c", "on-d", "second-on-a"):
        api.v2("DELETE", api.of(name))


MINIMAL = {"runtime": "Python3.12", "handler": "index.handler", **INLINE}


def test_networks_are_listed_with_the_details_for_administrators_alone(api: Api) -> None:
    _, answer, _ = api.send("GET", "/fgd/v1/networks")
    _, full, _ = api.send("GET", "/fgd/v1/networks", headers={"X-Fgd-Peer": "uid:0"})

    assert {"none", "public", "lab"} <= {one["name"] for one in answer["networks"]}
    assert all(set(one) == {"name", "default", "hosts", "public"} for one in answer["networks"])
    assert ["public"] == [one["name"] for one in full["networks"] if one["default"]]
    assert ["10.70.0.0/24"] == [one["subnet"] for one in full["networks"] if one["name"] == "lab"]


def test_the_official_sdk_sets_and_reads_networks(api: Api) -> None:
    credentials = BasicCredentials(api.keys["access_key"], api.keys["secret_key"], api.keys["project_id"])
    client = (
        sdk.FunctionGraphClient.new_builder()
        .with_credentials(credentials)
        .with_endpoint(f"http://127.0.0.1:{api.port}")
        .build()
    )
    body = sdk.CreateFunctionRequestBody(
        func_name="by-sdk", package="default", runtime="Python3.12", timeout=3, handler="index.handler",
        memory_size=128, code_type="inline", func_code=sdk.FuncCode(file=MINIMAL["func_code"]["file"]),  # type: ignore[index]
        func_vpc=sdk.FuncVpc(vpc_id="lab", subnet_id="lab"), domain_names='["corp.internal"]',
        network_controller=sdk.NetworkControlConfig(
            disable_public_network=True, trigger_access_vpcs=[sdk.VpcConfig(vpc_id="lab", vpc_name="lab")]
        ),
    )  # fmt: skip
    made = client.create_function(sdk.CreateFunctionRequest(body=body))
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=made.func_urn))

    assert ("lab", "lab") == (shown.func_vpc.vpc_id, shown.func_vpc.subnet_id)
    assert shown.network_controller.disable_public_network is True
    assert ["lab"] == [one.vpc_id for one in shown.network_controller.trigger_access_vpcs]
    client.delete_function(sdk.DeleteFunctionRequest(function_urn=made.func_urn.removesuffix(":latest")))


def a_function(**fields: Any) -> Function:
    values: dict[str, Any] = {
        "func_id": "f", "project_id": "p", "package": "default", "name": "f", "runtime": "Python3.12",
        "handler": "index.handler", "timeout_s": 3, "memory_mib": 128, "code_type": "zip", "code_digest": "0" * 128,
        "code_size_bytes": 1, "created_s": 0.0, "last_modified_s": 0.0,
    }  # fmt: skip
    return Function(**(values | fields))


def test_a_host_without_nft_takes_no_function_for_a_named_network() -> None:
    named = parse_config({"networks": {"lab": {"subnet": "10.70.0.0/24"}}}).networks
    own = public_network("10.213.0.0/16", 16)
    facet = NetworkFacet(Networks("none", named, own, "no nft"), lambda: (), own.subnet)

    facet.check(a_function())
    with pytest.raises(SubnetNotActive, match=r"func_vpc: .*no nft"):
        facet.check(a_function(vpc="lab"))


def test_which_network_a_function_is_on() -> None:
    networks = Networks("public")

    assert ["public", "none", "lab", "gone"] == [
        networks.of(one)
        for one in (
            a_function(), a_function(public_off=True), a_function(vpc="lab", public_off=True), a_function(vpc="gone")
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("door", "fields", "has"),
    [("agency", {}, False), ("agency", {"xrole": "a"}, True), ("always", {}, True), ("never", {"xrole": "a"}, False)],
)
def test_who_has_a_door(door: str, fields: dict[str, str], has: bool) -> None:
    assert has is Networks("none", door=door).has_door(a_function(**fields))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.70.0.9", True), ("::ffff:10.70.0.9", True), ("i-7@lab", True), ("10.71.0.9", False), ("i-7@public", False),
        ("10.70.0.9@none", False), ("::1", False), ("", False), ("10.70.0", False),
    ],
)  # fmt: skip
def test_who_belongs_to_a_network(address: str, allowed: bool) -> None:
    named = parse_config({"networks": {"lab": {"subnet": "10.70.0.0/24"}}}).networks
    entry = Entry({name: network.subnet for name, network in named.items()})
    function = a_function(entry_networks=("lab", "gone"))
    try:
        entry.check(function, address)
        found = True
    except Forbidden as error:
        assert "can be invoked only from these networks: lab, gone" in str(error)
        found = False

    assert allowed is found
