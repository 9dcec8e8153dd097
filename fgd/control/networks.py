"""Networks of this node: which there are, which one a function is on, whose instances reach fgd's own API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fgd.model import Function
from fgd.network import NONE, PUBLIC, Network

#: FGD_API_ENDPOINT of instances with a door: an address of their own loopback, where the daemon listens.
DOOR_ADDRESS: Final = "127.100.0.1"
DOOR_URL: Final = f"http://{DOOR_ADDRESS}:8320"


@dataclass(frozen=True, slots=True)
class Networks:
    """What the settings and the host allow.

    `default`: of functions that name no network, `none` or `public`. `lack`: why this host can have none but `none`; ""
    when it can. `door`: who has one, as the setting `api_inside` says.
    """

    default: str = NONE
    named: Mapping[str, Network] = field(default_factory=dict)
    public: Network | None = None
    lack: str = ""
    door: str = "agency"

    def of(self, function: Function) -> str:
        """The network of a version's instances. A name that the settings no longer have stays: no instance starts."""
        if function.vpc:
            return function.vpc
        return NONE if function.public_off else self.default

    def has_door(self, function: Function) -> bool:
        """Whether its instances reach fgd's own API."""
        return self.door == "always" or (self.door == "agency" and bool(function.agency))

    def summary(self) -> str:
        """For `fgd status`: the network of functions that name none, and why it is no better one."""
        return f"{self.default}: {self.lack}" if self.lack else self.default

    def shown(self) -> list[dict[str, object]]:
        """Every network for people: name, what it is, what it reaches."""
        listed: list[dict[str, object]] = [_shown(NONE, None, default=self.default == NONE)]
        if self.public is not None and not self.lack:
            listed.append(_shown(PUBLIC, self.public, default=self.default == PUBLIC))
        return listed + [_shown(name, network, default=False) for name, network in self.named.items()]


def _shown(name: str, network: Network | None, *, default: bool) -> dict[str, object]:
    return {
        "name": name,
        "default": default,
        "subnet": str(network.subnet) if network is not None else None,
        "instances": str(network.instances) if network is not None else None,
        "bridge": network.bridge or None if network is not None else None,
        "routes": [str(route) for route in network.routes] if network is not None else [],
        "hosts": {host: str(address) for host, address in network.hosts} if network is not None else {},
        "resolvers": [str(address) for address in network.resolvers] if network is not None else [],
        "nat": network is not None and network.nat,
        "public": network is not None and network.public,
    }
