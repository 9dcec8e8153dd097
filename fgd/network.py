"""Networks of functions as the settings name them: which addresses instances have, and what they may reach.

Three kinds: `none` (loopback alone), `public` (out through the host), and those of `[networks.NAME]` tables.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

NONE: Final = "none"
PUBLIC: Final = "public"
#: Interfaces of fgd's own begin with this, whatever daemon made them.
INTERFACES: Final = "fgd"
#: Never reached, whatever the settings say: this network, loopback, link-local and metadata, multicast, reserved.
NEVER: Final = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
NAMED_MAX: Final = 98
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_NAME_RULE = "must be 1 to 31 lower-case letters, digits and hyphens and begin with a letter"
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*")
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_EVERYTHING = IPv4Network("0.0.0.0/0")


class BadNetwork(Exception):
    """A network that cannot be; begins with the setting's name."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network. `instances` holds the addresses of instances and is a part of `subnet`."""

    name: str
    subnet: IPv4Network
    instances: IPv4Network
    #: Interface of the host on which the subnet's other machines are; "" for wherever the host's routes lead.
    bridge: str = ""
    #: What can be reached besides the subnet.
    routes: tuple[IPv4Network, ...] = ()
    #: Private names, each with its address.
    hosts: tuple[tuple[str, IPv4Address], ...] = ()
    resolvers: tuple[IPv4Address, ...] = ()
    #: Whether packets leave with an address of the host's.
    nat: bool = True
    #: Whether it reaches what the public network reaches.
    public: bool = False

    @property
    def hosts_text(self) -> str:
        """Lines for /etc/hosts."""
        return "".join(f"{address} {name}\n" for name, address in self.hosts)

    def knows(self, domain: str) -> bool:
        """Whether a private name is this domain or lies below it."""
        return any(name == domain or name.endswith("." + domain) for name, _ in self.hosts)


def public_network(subnet: str, sandboxes_max: int) -> Network:
    """The network behind the host's own addresses.

    Raises:
        BadNetwork: no subnet, or one with too few addresses.
    """
    found = _subnet("public_subnet", subnet)
    if found.num_addresses < sandboxes_max + 2:
        raise BadNetwork(f"public_subnet: must have an address for each of {sandboxes_max} sandboxes, not {found}")
    return Network(PUBLIC, found, found, public=True)


def parse_networks(tables: Mapping[str, object]) -> dict[str, Network]:
    """The tables below `networks`, checked each for itself and against one another.

    Raises:
        BadNetwork: unknown name, wrong type, overlapping addresses.
    """
    if len(tables) > NAMED_MAX:
        raise BadNetwork(f"networks: must be at most {NAMED_MAX}, not {len(tables)}")
    found = {name: _parse(name, table) for name, table in tables.items()}
    check_apart(found.values())
    return found


def check_apart(networks: Iterable[Network]) -> None:
    """No two networks share an address.

    Raises:
        BadNetwork: two do.
    """
    seen: list[Network] = []
    for network in networks:
        for other in seen:
            if network.subnet.overlaps(other.subnet):
                raise BadNetwork(
                    f"networks.{network.name}.subnet: {network.subnet} overlaps with {other.subnet} of {other.name}"
                )
        seen.append(network)


def addresses(setting: str, values: object) -> tuple[IPv4Address, ...]:
    """A list of IPv4 addresses."""
    found = tuple(_address(setting, value) for value in _list(setting, values))
    for address in found:
        if any(address in never for never in NEVER):
            raise BadNetwork(f"{setting}: {address} is loopback, link-local or no host's address, and never reached")
    return found


def ranges(setting: str, values: object) -> tuple[IPv4Network, ...]:
    """A list of IPv4 ranges such as "10.0.0.0/8"."""
    return tuple(_range(setting, value) for value in _list(setting, values))


_FIELDS = ("subnet", "instances", "bridge", "routes", "hosts", "resolvers", "nat", "public")


def _parse(name: str, table: object) -> Network:
    at = f"networks.{name}"
    if name in (NONE, PUBLIC) or not _NAME.fullmatch(name):
        raise BadNetwork(f"{at}: the name {_NAME_RULE}, and be neither {NONE} nor {PUBLIC}")
    if not isinstance(table, dict):
        raise BadNetwork(f"{at}: must be a table with at least subnet")
    for key in table:
        if key not in _FIELDS:
            raise BadNetwork(f"{at}.{key}: no such setting; possible are {', '.join(_FIELDS)}")
    if "subnet" not in table:
        raise BadNetwork(f"{at}.subnet: is needed, such as 10.60.0.0/24")
    subnet = _subnet(f"{at}.subnet", table["subnet"])
    # Without other word the upper half is the instances'; the lower one has machines and the bridge's own address.
    instances = list(subnet.subnets(1))[1]
    if "instances" in table:
        instances = _range(f"{at}.instances", table["instances"])
        if not instances.subnet_of(subnet) or instances.prefixlen > 30:
            raise BadNetwork(f"{at}.instances: must be a part of {subnet} with at least 4 addresses, not {instances}")
    bridge = _text(f"{at}.bridge", table.get("bridge", ""))
    if bridge and (not _BRIDGE.fullmatch(bridge) or bridge in (".", "..") or bridge.startswith(INTERFACES)):
        raise BadNetwork(
            f"{at}.bridge: must be 1 to 15 letters, digits and ._- and not begin with {INTERFACES}, not {bridge!r}"
        )
    routes = ranges(f"{at}.routes", table.get("routes", []))
    for route in routes:
        if route == _EVERYTHING:
            raise BadNetwork(f"{at}.routes: must not be everything; for that there is public = true")
        if any(route.subnet_of(never) for never in NEVER):
            raise BadNetwork(f"{at}.routes: {route} is loopback, link-local or no host's, and never reached")
    return Network(
        name=name,
        subnet=subnet,
        instances=instances,
        bridge=bridge,
        routes=routes,
        hosts=_hosts(f"{at}.hosts", table.get("hosts", {})),
        resolvers=addresses(f"{at}.resolvers", table.get("resolvers", [])),
        nat=_flag(f"{at}.nat", table.get("nat", True)),
        public=_flag(f"{at}.public", table.get("public", False)),
    )


def _hosts(setting: str, table: object) -> tuple[tuple[str, IPv4Address], ...]:
    if not isinstance(table, dict):
        raise BadNetwork(f'{setting}: must be a table of names and addresses, such as {{ db = "10.60.0.10" }}')
    for name in table:
        if len(name) > 253 or not _HOST_NAME.fullmatch(name) or name.lower() == "localhost":
            raise BadNetwork(f"{setting}: {name!r} is no host name; other than localhost, letters, digits, - and .")
    return tuple((name.lower(), _address(f"{setting}.{name}", value)) for name, value in table.items())


def _subnet(setting: str, value: object) -> IPv4Network:
    subnet = _range(setting, value)
    if not 8 <= subnet.prefixlen <= 28 or any(subnet.overlaps(never) for never in NEVER):
        raise BadNetwork(f"{setting}: must be a usable IPv4 range of /8 to /28, such as 10.60.0.0/24, not {subnet}")
    return subnet


def _range(setting: str, value: object) -> IPv4Network:
    try:
        return IPv4Network(_text(setting, value))
    except ValueError as error:
        raise BadNetwork(f"{setting}: must be an IPv4 range such as 10.0.0.0/8: {error}") from None


def _address(setting: str, value: object) -> IPv4Address:
    try:
        return IPv4Address(_text(setting, value))
    except ValueError as error:
        raise BadNetwork(f"{setting}: must be an IPv4 address: {error}") from None


def _list(setting: str, values: object) -> list[object]:
    if not isinstance(values, list | tuple):
        raise BadNetwork(f"{setting}: must be a list of texts, not {type(values).__name__}")
    return list(values)


def _text(setting: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadNetwork(f"{setting}: must be a text, not {type(value).__name__}")
    return value


def _flag(setting: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadNetwork(f"{setting}: must be true or false, not {type(value).__name__}")
    return value
