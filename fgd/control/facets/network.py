"""Networks of a function: `func_vpc`, `network_controller`, `domain_names`, `peering_cidr` (user guide, section 3.4).

A VPC of the cloud is a network of fgd's settings, named by `vpc_id`; its one subnet has the same name.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network
from typing import Final

from fgd.control.features import says_nothing
from fgd.control.networks import Networks
from fgd.control.rules import flag, shown, text_of
from fgd.errors import BadParameter, NotBuilt, SubnetNotActive, SubnetNotFound, TooManySubnets, VpcNotFound
from fgd.model import Function

#: User guide 3.4: "up to four different subnets" for all functions of a project.
SUBNETS_MAX: Final = 4
PEERINGS_MAX: Final = 5
_DOMAINS_MAX_CHARS: Final = 4096


class NetworkFacet:
    """See `fgd.control.facet.Facet`."""

    wire: tuple[str, ...] = ("func_vpc", "func_vpc_id", "network_controller", "domain_names", "peering_cidr")
    seen_by_instances: tuple[str, ...] = ("vpc", "public_off")

    def __init__(self, networks: Networks, versions: Callable[[], Iterable[Function]], own: IPv4Network) -> None:
        """
        Args:
            networks: of this node.
            versions: all versions of all functions.
            own: the addresses that fgd itself gives out, which no peering may overlap.
        """
        self._networks = networks
        self._versions = versions
        self._own = own

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        values: dict[str, object] = {}
        if body.get("func_vpc") is not None:
            values["vpc"] = self._vpc(body["func_vpc"])
        if body.get("network_controller") is not None:
            values.update(self._controller(body["network_controller"]))
        if body.get("domain_names") is not None:
            values["domain_names"] = text_of("domain_names", body["domain_names"])
        if body.get("peering_cidr") is not None:
            values["peering_cidr"] = self._peerings(text_of("peering_cidr", body["peering_cidr"]))
        return values

    def check(self, function: Function) -> None:
        network = self._networks.named.get(function.vpc)
        if network is not None and self._networks.lack:
            raise SubnetNotActive(f"func_vpc: this host cannot have networks now: {self._networks.lack}")
        if function.public_off and network is not None and network.public:
            raise BadParameter(
                f"network_controller.disable_public_network: the network {network.name} itself reaches the public one;"
                " choose another, or send false"
            )
        for domain in _domains(function.domain_names):
            if network is None:
                raise BadParameter("domain_names: are names of a network; send func_vpc too")
            if not network.knows(domain):
                raise BadParameter(f"domain_names: the network {network.name} has no name {shown(domain)} or below it")
        if function.vpc:
            self._check_count(function)

    def show(self, function: Function) -> Mapping[str, object]:
        controller = None
        if function.public_off or function.entry_networks:
            controller = {
                "disable_public_network": function.public_off,
                "trigger_access_vpcs": [{"vpc_id": name, "vpc_name": name} for name in function.entry_networks],
            }
        return {
            "func_vpc": self._shown_vpc(function.vpc),
            "func_vpc_id": function.vpc or None,
            "network_controller": controller,
            "domain_names": function.domain_names or None,
            "peering_cidr": function.peering_cidr or None,
        }

    def _vpc(self, value: object) -> str:
        if not isinstance(value, dict):
            raise BadParameter(f"func_vpc: must be an object, not {shown(value)}")
        if says_nothing(value):
            return ""
        if not says_nothing(value.get("security_groups")):
            raise NotBuilt("func_vpc.security_groups: fgd has no security groups; leave them out")
        name = self._named("func_vpc", value)
        subnet = value.get("subnet_id") or value.get("subnet_name") or name
        if subnet != name:
            raise SubnetNotFound(f"func_vpc.subnet_id: the one subnet of {name} is called {name}, not {shown(subnet)}")
        return name

    def _named(self, field: str, value: Mapping[str, object]) -> str:
        """The network of an object with vpc_id, vpc_name or both."""
        name = ""
        for key in ("vpc_id", "vpc_name"):
            word = value.get(key)
            if word in (None, ""):
                continue
            if not isinstance(word, str) or word not in self._networks.named:
                possible = ", ".join(self._networks.named) or "none, as the settings name no networks"
                raise VpcNotFound(f"{field}.{key}: no network {shown(word)} on this node; possible: {possible}")
            if name and word != name:
                raise VpcNotFound(f"{field}.vpc_name: is another network than vpc_id {name}")
            name = word
        if not name:
            raise VpcNotFound(f"{field}.vpc_id: must name a network of this node")
        return name

    def _controller(self, value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise BadParameter(f"network_controller: must be an object, not {shown(value)}")
        off = value.get("disable_public_network")
        access = value.get("trigger_access_vpcs")
        if access is not None and (not isinstance(access, list) or not all(isinstance(one, dict) for one in access)):
            raise BadParameter("network_controller.trigger_access_vpcs: must be a list of objects with vpc_id")
        names = [self._named("network_controller.trigger_access_vpcs", one) for one in access or []]
        return {
            "public_off": off is not None and flag("network_controller.disable_public_network", off),
            "entry_networks": tuple(dict.fromkeys(names)),
        }

    def _peerings(self, text: str) -> str:
        parts = [part.strip() for part in text.split(";") if part.strip()]
        if len(parts) > PEERINGS_MAX:
            raise BadParameter(f"peering_cidr: must be at most {PEERINGS_MAX} ranges, separated by ;, not {len(parts)}")
        for part in parts:
            try:
                peering = IPv4Network(part)
            except ValueError:
                raise BadParameter(f"peering_cidr: {shown(part)} is no IPv4 range such as 192.168.0.0/16") from None
            if peering.overlaps(self._own):
                raise BadParameter(f"peering_cidr: {part} overlaps with {self._own}, which fgd uses itself")
        return ";".join(parts)

    def _check_count(self, function: Function) -> None:
        used = {
            other.vpc
            for other in self._versions()
            if other.project_id == function.project_id
            and (other.func_id, other.version) != (function.func_id, function.version)
        }
        used.discard("")
        if function.vpc not in used and len(used) >= SUBNETS_MAX:
            names = ", ".join(sorted(used))
            raise TooManySubnets(
                f"func_vpc: the functions of a project may be on {SUBNETS_MAX} networks together, and are on {names}"
            )

    def _shown_vpc(self, name: str) -> dict[str, object] | None:
        if not name:
            return None
        network = self._networks.named.get(name)
        return {
            "vpc_id": name,
            "vpc_name": name,
            "subnet_id": name,
            "subnet_name": name,
            "cidr": str(network.subnet) if network is not None else None,
            "gateway": None,
            "security_groups": [],
        }


def _domains(text: str) -> list[str]:
    """The names in `domain_names`: a JSON list of objects with `domain_name`, as Terraform writes it, or of texts.

    Raises:
        BadParameter: something else.
    """
    if not text:
        return []
    rule = 'domain_names: must be a JSON list such as "[{\\"domain_name\\": \\"corp.internal\\"}]"'
    if len(text) > _DOMAINS_MAX_CHARS:
        raise BadParameter(f"domain_names: must be at most {_DOMAINS_MAX_CHARS} characters, not {len(text)}")
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        raise BadParameter(f"{rule}, not {shown(text)}") from None
    if not isinstance(items, list):
        raise BadParameter(f"{rule}, not {shown(text)}")
    found = [item.get("domain_name") if isinstance(item, dict) else item for item in items]
    if not all(isinstance(name, str) and name.strip(".") for name in found):
        raise BadParameter(f"{rule}, not {shown(text)}")
    return [str(name).strip(".").lower() for name in found]
