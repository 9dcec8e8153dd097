"""Functions that may be invoked from certain networks only ("Invocation Only by Specific VPC", user guide 3.4)."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address

from fgd.errors import Forbidden
from fgd.model import Function


class Entry:
    """Knows which clients belong to a network: those with an address of its subnet, and functions on it."""

    def __init__(self, subnets: Mapping[str, IPv4Network]) -> None:
        self._subnets = subnets

    def check(self, function: Function, address: str) -> None:
        """
        Args:
            function: with `entry_networks`.
            address: of the client; `SANDBOX@NETWORK` for one that came by a sandbox's door.

        Raises:
            Forbidden: the client belongs to none of these networks.
        """
        _, at, network = address.partition("@")
        if at:
            came, allowed = f"a function on the network {network}", network in function.entry_networks
        else:
            came, allowed = address or "an unknown address", self._belongs(address, function.entry_networks)
        if not allowed:
            names = ", ".join(function.entry_networks)
            raise Forbidden(f"{function.name}: can be invoked only from these networks: {names}; not from {came}")

    def _belongs(self, address: str, networks: tuple[str, ...]) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if not isinstance(found, IPv4Address):
            if found.ipv4_mapped is None:
                return False
            found = found.ipv4_mapped
        # A network that the settings no longer have lets nobody in.
        return any(found in self._subnets[name] for name in networks if name in self._subnets)
