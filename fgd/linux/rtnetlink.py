"""Interfaces, addresses and routes of the current network namespace, over an rtnetlink socket.

Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h; veth(4). Only what sandboxes need: a pair of interfaces with
one end in another namespace, point-to-point, without neighbours and without IPv6.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final, NamedTuple, Self

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")

_REQUEST, _ACK, _EXCL, _CREATE, _DUMP = 0x01, 0x04, 0x200, 0x400, 0x300
_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWADDR, _NEWROUTE, _GETROUTE = 16, 17, 18, 19, 20, 24, 26
_ADDRESS_OF_LINK, _IFNAME, _IFALIAS, _AF_SPEC, _LINKINFO, _NET_NS_FD = 1, 3, 20, 26, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_INET_CONF, _INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 1, 8, 1
_CONF_FORWARDING = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF = 1, 4
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK, _UNICAST = 254, 4, 0, 253, 1
_IFF_UP, _IFF_NOARP = 0x01, 0x80
_ANSWER_BYTES: Final = 1 << 16
#: Both ends of a pair have the same address: with NOARP the kernel puts an interface's own address on what it sends,
#: and the other end takes it for its own. So nobody asks for an address and nobody can answer falsely.
_PAIR_ADDRESS: Final = bytes((0x02, 0x66, 0x67, 0x64, 0x00, 0x01))


class Link(NamedTuple):
    """An interface. `forwards`: whether packets that come in by it may be passed on (IPv4)."""

    number: int
    name: str
    alias: str
    up: bool
    forwards: bool


class Netlink:
    """A socket to the kernel's network configuration, of the namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    # --- questions ---------------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        """All interfaces."""
        return [_link(body) for body in self._dump(_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0), _NEWLINK)]

    def link(self, number: int = 0, name: str = "") -> Link:
        """One interface, by its number or its name.

        Raises:
            OSError: there is no such interface (ENODEV).
        """
        body = _LINK.pack(socket.AF_UNSPEC, 0, number, 0, 0) + (_text(_IFNAME, name) if name else b"")
        for kind, answer in self._talk(_GETLINK, 0, body, name):
            if kind == _NEWLINK:
                return _link(answer)
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name or str(number))

    def default_links(self) -> set[int]:
        """Indices of the interfaces by which IPv4 default routes go."""
        found = set()
        for body in self._dump(_GETROUTE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0), _NEWROUTE):
            _, width, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
            fields = _attributes(body[_ROUTE.size :])
            if width == 0 and kind == _UNICAST and table == _TABLE_MAIN and _RTA_OIF in fields:
                found.add(struct.unpack("=i", fields[_RTA_OIF])[0])
        return found

    def link_towards(self, address: IPv4Address) -> int | None:
        """Index of the interface by which packets for an address leave; None when there is no way to it."""
        body = _ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0) + _attribute(_RTA_DST, address.packed)
        try:
            answers = self._talk(_GETROUTE, 0, body, "")
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return None
            raise
        for kind, answer in answers:
            fields = _attributes(answer[_ROUTE.size :])
            if kind == _NEWROUTE and _RTA_OIF in fields:
                index: int = struct.unpack("=i", fields[_RTA_OIF])[0]
                return index
        return None

    # --- changes -----------------------------------------------------------------------------------------

    def add_pair(self, name: str, peer: str, namespace: int) -> None:
        """Makes a veth pair, both ends down: `name` here, `peer` in the namespace of that descriptor.

        Raises:
            FileExistsError: there is an interface of that name.
            OSError: the kernel refused.
        """
        head = _LINK.pack(socket.AF_UNSPEC, 0, 0, _IFF_NOARP, _IFF_NOARP)
        other = head + _text(_IFNAME, peer) + _attribute(_ADDRESS_OF_LINK, _PAIR_ADDRESS)
        other += _attribute(_NET_NS_FD, struct.pack("=i", namespace))
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, other))
        body = head + _text(_IFNAME, name) + _attribute(_ADDRESS_OF_LINK, _PAIR_ADDRESS) + _attribute(_LINKINFO, info)
        self._change(_NEWLINK, _CREATE | _EXCL, body, name)

    def add_bridge(self, name: str, alias: str) -> None:
        """Makes a bridge, up, marked with a word of ours by which it is known again.

        Raises:
            FileExistsError: there is an interface of that name.
        """
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, _IFF_UP, _IFF_UP) + _text(_IFNAME, name)
        body += _attribute(_LINKINFO, _attribute(_INFO_KIND, b"bridge"))
        self._change(_NEWLINK, _CREATE | _EXCL, body, name)
        self._change(_SETLINK, 0, _LINK.pack(0, 0, self.index(name), 0, 0) + _text(_IFALIAS, alias), name)

    def delete(self, name: str) -> None:
        """Removes an interface; with one end of a pair goes the other."""
        self._change(_DELLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, self.index(name), 0, 0), name)

    def bring_up(self, index: int) -> None:
        """Brings up an interface that gets no IPv6 address of its own making."""
        self._configure(index, socket.AF_INET6, _attribute(_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE])))
        self._change(_SETLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))

    def set_forwarding(self, index: int, on: bool) -> None:
        """Whether IPv4 packets that come in by this interface may be passed on; the same as its sysctl `forwarding`."""
        conf = _attribute(_INET_CONF, _attribute(_CONF_FORWARDING, struct.pack("=I", on)))
        self._configure(index, socket.AF_INET, conf)

    def add_address(self, index: int, address: IPv4Interface) -> None:
        """Gives an interface an address."""
        packed = address.ip.packed
        body = _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, _SCOPE_UNIVERSE, index)
        self._change(
            _NEWADDR,
            _CREATE | _EXCL,
            body + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed),
            f"address {address}",
        )

    def add_route(self, index: int, to: IPv4Network | None) -> None:
        """Sends packets for a network, or for everything (None), out by an interface without a next hop."""
        width = to.prefixlen if to is not None else 0
        body = _ROUTE.pack(socket.AF_INET, width, 0, 0, _TABLE_MAIN, _PROTO_STATIC, _SCOPE_LINK, _UNICAST, 0)
        if to is not None:
            body += _attribute(_RTA_DST, to.network_address.packed)
        self._change(
            _NEWROUTE,
            _CREATE | _EXCL,
            body + _attribute(_RTA_OIF, struct.pack("=i", index)),
            f"route to {to or 'everything'}",
        )

    def index(self, name: str) -> int:
        """The number of an interface.

        Raises:
            OSError: there is none of that name (ENODEV).
        """
        return self.link(name=name).number

    # --- messages ----------------------------------------------------------------------------------------

    def _configure(self, index: int, family: int, settings: bytes) -> None:
        body = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        self._change(_SETLINK, 0, body + _attribute(_AF_SPEC, _attribute(family, settings)))

    def _change(self, kind: int, flags: int, body: bytes, name: str = "") -> None:
        for _ in self._talk(kind, _ACK | flags, body, name):
            pass

    def _dump(self, kind: int, body: bytes, wanted: int) -> Iterator[bytes]:
        yield from [answer for answered, answer in self._talk(kind, _DUMP, body, "") if answered == wanted]

    def _talk(self, kind: int, flags: int, body: bytes, name: str) -> list[tuple[int, bytes]]:
        """One request and everything that answers it.

        Raises:
            OSError: the kernel's errno, with the interface's name if one was given.
        """
        self._sequence += 1
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, _REQUEST | flags, self._sequence, 0) + body)
        many = flags & _DUMP == _DUMP
        answers: list[tuple[int, bytes]] = []
        while True:
            data = self._socket.recv(_ANSWER_BYTES)
            while data:
                size, answered, _, sequence, _ = _HEADER.unpack_from(data)
                inner, data = data[_HEADER.size : size], data[(size + 3) & ~3 :]
                if sequence != self._sequence:
                    continue
                if answered == _ERROR:
                    number = -struct.unpack_from("=i", inner)[0]
                    if number:
                        raise OSError(number, os.strerror(number), name or None)
                    return answers
                if answered == _DONE:
                    return answers
                answers.append((answered, inner))
            if answers and not many and not flags & _ACK:
                return answers


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    fields = _attributes(body[_LINK.size :])
    families = _attributes(fields.get(_AF_SPEC, b""))
    conf = _attributes(families.get(socket.AF_INET, b"")).get(_INET_CONF, b"")
    # An array of 32-bit values that begins with setting number 1.
    forwards = len(conf) >= 4 and struct.unpack_from("=I", conf)[0] != 0
    name = fields[_IFNAME].rstrip(b"\0").decode("utf-8", "replace")
    alias = fields.get(_IFALIAS, b"").rstrip(b"\0").decode("utf-8", "replace")
    return Link(index, name, alias, bool(flags & _IFF_UP), forwards)


def _attribute(kind: int, data: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(length, kind) + data + b"\0" * (-length % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode("utf-8") + b"\0")


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def point_to_point(address: IPv4Address) -> IPv4Interface:
    """An address that stands alone: nothing is its neighbour."""
    return IPv4Interface((address, 32))
