"""Which networks this host can have, found out by root at the start; nothing is changed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Final

from fgd.config import Config
from fgd.linux.nft import Nft, find_nft
from fgd.network import NEVER, NONE, PUBLIC, Network, addresses, public_network, ranges
from fgd.sandbox.network_plan import NetworkPlan

#: The second is what systemd-resolved asks, where the first names only its own address on the loopback.
_RESOLVERS: Final = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found. `plan`: for the launcher, None where nothing but `none` is wanted or possible. `default`: network
    of functions that name none. `lack`: why not more; "" when there is nothing to say. `public`: None when not wanted.
    """

    plan: NetworkPlan | None
    default: str
    public: Network | None = None
    lack: str = ""


def survey(config: Config, name: str) -> Survey:
    """Tries the rules on the kernel without loading them; not at all where the settings want no networks.

    Args:
        config: the settings.
        name: of the daemon, as its cgroups have it.
    """
    networks = list(config.networks.values())
    public = None
    if config.network != NONE:
        servers = addresses("resolvers", config.resolvers) or host_resolvers()
        public = replace(public_network(config.public_subnet, config.sandboxes_max), resolvers=servers)
        networks.insert(0, public)
    if not networks:
        return Survey(None, NONE)
    program = find_nft()
    if program is None:
        return Survey(None, NONE, public, "the program nft is not there; install the package nftables")
    # The public network's own resolvers serve those that reach as far and name none.
    if public is not None:
        networks = [
            replace(one, resolvers=public.resolvers) if one.public and not one.resolvers else one for one in networks
        ]
    plan = NetworkPlan(program, name, tuple(networks), ranges("public_blocks", config.public_blocks))
    try:
        Nft(program).check(plan.rules())
    except OSError as error:
        return Survey(None, NONE, public, f"the kernel does not take the rules: {error}")
    return Survey(plan, PUBLIC if public is not None else NONE, public)


def host_resolvers(paths: Iterable[str] = _RESOLVERS) -> tuple[IPv4Address, ...]:
    """Name servers of the host that others than the host can ask; from the first file that has any."""
    for path in paths:
        try:
            text = Path(path).read_text("utf-8", "replace")
        except OSError:
            continue
        found = tuple(address for line in text.splitlines() for address in _server(line))
        if found:
            return found
    return ()


def _server(line: str) -> list[IPv4Address]:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return []
    try:
        address = IPv4Address(words[1])
    except AddressValueError:
        return []
    return [] if any(address in never for never in NEVER) else [address]
