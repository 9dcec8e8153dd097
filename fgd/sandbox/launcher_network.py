"""The launcher's side of networks: interfaces of sandboxes, and the rules they stand behind.

Nothing on the host is touched before the first sandbox on a network is asked for. What is made is known again by its
name, so a launcher that was killed is cleaned up after by the next: the table, bridges with our mark, interfaces with
our prefix (which the kernel has removed with their sandboxes by then), and `forwarding`, which was switched on for
those interfaces only that the table's set names. `net.ipv4.ip_forward` itself is left alone.
"""

import socket
import time
from collections import deque
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final, NamedTuple

from fgd.linux.namespaces import within_network
from fgd.linux.nft import Nft
from fgd.linux.rtnetlink import Link, Netlink, point_to_point

#: The network of sandboxes that have loopback alone.
NONE: Final = "none"
#: What an instance's interface is called inside.
_INSIDE: Final = "eth0"
#: The host's ways out are looked at again after this, as they come and go.
_LOOK_AGAIN_S: Final = 5.0
#: An address is free again when its interface is gone, which the kernel does in its own time.
_TRIES: Final = 16
_WAS_OFF: Final = "forwarding_was_off"
_TABLES: Final = "fgd_"
#: An address that nobody has (RFC 5737): the way to it is the way out.
_SOMEWHERE: Final = IPv4Address("198.51.100.1")
#: Where FGD_API_ENDPOINT leads: an address of the loopback's that nothing else is likely to use.
DOOR: Final = ("127.100.0.1", 8320)
_BACKLOG: Final = 16


class Seat(NamedTuple):
    """A sandbox's place on a network."""

    network: str
    number: int


class _Network:
    """One network of the settings, and which of its addresses are free, the longest unused first."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.number: int = settings["number"]
        self.instances = IPv4Network(settings["instances"])
        self.subnet = IPv4Network(settings["subnet"])
        self.bridge: str = settings["bridge"]
        self.routes = [IPv4Network(route) for route in settings["routes"]]
        self.public: bool = settings["public"]
        self.files: dict[str, str] = settings["files"]
        # Neither the range's own address nor its last; and no name of an interface has more than four digits left.
        self.free = deque(range(1, min(self.instances.num_addresses - 1, 10_000)))
        self.ready_s = float("-inf")


class Networks:
    """All networks of one launcher. `settings` is `NetworkPlan.plain()`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        # Without the program there never were any rules.
        self._nft = Nft(settings["nft"]) if settings["nft"] else None
        self._networks = {name: _Network(plan) for name, plan in settings["networks"].items()}
        self._netlink: Netlink | None = None
        self._loaded = False

    def knows(self, network: str) -> bool:
        """Whether the settings have this network."""
        return network in self._networks

    def number(self, network: str) -> int:
        """By which sandboxes find its files."""
        return self._networks[network].number

    def files(self, network: str) -> dict[str, str]:
        """Files that its sandboxes have, by path."""
        return self._networks[network].files

    # --- sandboxes ---------------------------------------------------------------------------------------

    def attach(self, network: str, namespace: int) -> Seat:
        """Gives the network namespace of that descriptor an interface on a network.

        Raises:
            OSError: no address is free, or the host refused a step; the message says which network.
        """
        found = self._networks[network]
        self._prepare(network, found)
        for _ in range(_TRIES):
            if not found.free:
                raise OSError(f"network {network}: no address of {found.instances} is free")
            number = found.free.popleft()
            try:
                self._connect(found, number, namespace)
            except FileExistsError:  # an ended sandbox's, or another daemon's that has the same subnet
                found.free.append(number)
                continue
            except OSError:
                found.free.append(number)
                raise
            return Seat(network, number)
        raise OSError(f"network {network}: of {found.instances}, {_TRIES} addresses in turn are in use by others")

    def release(self, seat: Seat) -> None:
        """The sandbox has ended; its interface goes with its namespace."""
        self._networks[seat.network].free.append(seat.number)

    def _connect(self, network: _Network, number: int, namespace: int) -> None:
        """Makes the pair, and everything that makes it a way.

        Raises:
            FileExistsError: name or address are in use.
            OSError: the kernel refused. In both cases nothing is left.
        """
        netlink = self._host()
        name = self._name(network, number)
        netlink.add_pair(name, _INSIDE, namespace)
        try:
            address = network.instances[number]
            index = netlink.index(name)
            netlink.bring_up(index)
            netlink.set_forwarding(index, True)
            netlink.add_route(index, point_to_point(address).network)
            with within_network(namespace):
                inner = Netlink()
            with inner:
                inside = inner.index(_INSIDE)
                inner.bring_up(inside)
                inner.add_address(inside, point_to_point(address))
                routes: list[IPv4Network | None] = [*network.routes] or [None]
                for route in routes:
                    inner.add_route(inside, route)
        except OSError:
            with suppress(OSError):
                netlink.delete(name)
            raise

    def _name(self, network: _Network, number: int) -> str:
        return f"{self._settings['prefix']}{network.number:02}{number}"

    def _host(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink

    # --- the host ----------------------------------------------------------------------------------------

    def _prepare(self, name: str, network: _Network) -> None:
        """Rules, bridge and ways out. Rules come first: no packet passes without them."""
        if network.ready_s > time.monotonic() - _LOOK_AGAIN_S:
            return
        assert self._nft is not None
        try:
            if not self._loaded:
                self._nft.load(self._settings["rules"])
                self._loaded = True
            self._let_through(self._ways_out(network))
        except OSError as error:
            raise OSError(f"network {name}: {error}") from error
        network.ready_s = time.monotonic()

    def _make_bridge(self, network: _Network) -> None:
        netlink = self._host()
        netlink.add_bridge(network.bridge, f"fgd:{self._settings['table']}")
        address = IPv4Interface((network.subnet.network_address + 1, network.subnet.prefixlen))
        netlink.add_address(netlink.index(network.bridge), address)

    def _ways_out(self, network: _Network) -> list[Link]:
        """Interfaces by which answers come back; the network's bridge is made if the host does not have it.

        Single questions to the kernel: a list of all interfaces and routes grows with the instances.
        """
        netlink = self._host()
        ways = {}
        if network.bridge:
            try:
                bridge = netlink.link(name=network.bridge)
            except OSError:
                self._make_bridge(network)
                bridge = netlink.link(name=network.bridge)
            ways[bridge.number] = bridge
        towards = [route[1] if route.num_addresses > 1 else route[0] for route in network.routes]
        for address in [*towards, _SOMEWHERE] if network.public else towards:
            number = netlink.link_towards(address)
            if number is not None and number not in ways:
                ways[number] = netlink.link(number)
        return [way for way in ways.values() if way.name != "lo"]

    def _let_through(self, ways: list[Link]) -> None:
        """Switches on forwarding where it is off. The rules then let pass what is for instances, and nothing else."""
        assert self._nft is not None
        # A name with a quote in it, which the kernel allows, could not be written down for switching it off again.
        closed = [way for way in ways if not way.forwards and not set(way.name) & set('"\\')]
        if not closed:
            return
        self._nft.load(_add_elements(self._settings["table"], {way.name for way in closed}))
        for way in closed:
            self._host().set_forwarding(way.number, True)

    def sweep(self) -> list[str]:
        """Removes what an earlier launcher of this daemon left; gives a text for each thing.

        Raises:
            OSError: something could not be removed.
        """
        if self._nft is None:
            return []
        table, prefix = self._settings["table"], self._settings["prefix"]
        netlink = self._host()
        left = [link.name for link in netlink.links() if link.name.startswith(prefix) or link.alias == f"fgd:{table}"]
        for name in left:
            with suppress(OSError):  # the kernel was about to
                netlink.delete(name)
        said = [f"interface {name}" for name in left]
        if table in self._nft.tables():
            self._remove_table(table, set(self._nft.elements(table, _WAS_OFF)))
            said.append(f"table {table} of rules")
        return said

    def close(self) -> list[str]:
        """Removes everything; gives what went wrong."""
        if not self._loaded:
            return []
        try:
            self.sweep()
        except OSError as error:
            return [str(error)]
        return []

    def _remove_table(self, table: str, switched: set[str]) -> None:
        assert self._nft is not None
        others = [name for name in self._nft.tables() if name.startswith(_TABLES) and name != table]
        if switched and others:
            # Another daemon's instances need it too: it is theirs to switch off, when they are the last.
            self._nft.load(_add_elements(others[0], switched))
        elif switched:
            for link in self._host().links():
                if link.name in switched:
                    self._host().set_forwarding(link.number, False)
        self._nft.load(f"delete table inet {table}\n")


def open_door(namespace: int) -> socket.socket:
    """A listening socket inside a sandbox's network namespace, for the daemon to answer at.

    Raises:
        OSError: the address is in use there.
    """
    with within_network(namespace):
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        door.bind(DOOR)
        door.listen(_BACKLOG)
    except OSError:
        door.close()
        raise
    return door


def _add_elements(table: str, names: set[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in sorted(names))
    return f"add element inet {table} {_WAS_OFF} {{ {quoted} }}\n"
