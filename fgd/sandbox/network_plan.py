"""What the launcher is told of networks, as plain data: one table of rules, and per network what its instances get.

Theory of operation: an instance on a network has one end of a veth pair, with an address of its own (/32), no
neighbours, and routes that lead to the other end. That one stands in the host's namespace alone, on no bridge: whatever
an instance sends is routed by the host, and passes the rules first. All rules are made before any instance runs; they
know instances by the names of interfaces (prefix, two digits of the network, number of the address), so nothing is
added per instance. The source address is pinned by asking the kernel's own routes: an address that does not lead back
to the interface by which the packet came is not its sender's.

    prerouting  spoofed: dropped; the host itself, other instances, what nobody may reach: refused at once
    forward     between instances: dropped; towards an instance: answers only
    output      from the host to an instance: answers only
    postrouting behind an address of the host's, where the network has `nat`
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from fgd.network import INTERFACES, NEVER, PUBLIC, Network
from fgd.sandbox.plan import HOSTS_TEXT, File, Operation

#: Folder in the sandboxes' root with each network's files, covered before any code runs.
FILES_ROOT: Final = "/etc/fgd.networks"
#: Interfaces of the host that did not pass packets on before fgd came.
WAS_OFF: Final = "forwarding_was_off"
_RESOLVERS_MAX: Final = 3
#: Of one instance at once: the host's table of connections serves everybody.
_CONNECTIONS_MAX: Final = 1024
_COUNTED: Final = "  set connections { type ipv4_addr; flags dynamic; size 65535; }\n"


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """All networks of a daemon. `nft`: the program; `name`: of the daemon, as its cgroups have it."""

    nft: str
    name: str
    networks: tuple[Network, ...]
    #: What networks with `public` do not reach.
    blocks: tuple[IPv4Network, ...]

    @property
    def table(self) -> str:
        return f"fgd_{self.name}"

    @property
    def prefix(self) -> str:
        """Of this daemon's interfaces; with two digits and an address's number it has 15 characters at most."""
        return INTERFACES + hashlib.sha256(self.name.encode("utf-8")).hexdigest()[:6]

    def rules(self) -> str:
        """The table, as nft reads it."""
        ours = f'"{self.prefix}*"'
        numbered = list(enumerate(self.networks))
        jumps = [f'iifname "{self.prefix}{number:02}*" jump net_{number:02}' for number, _ in numbered]
        bridges = [
            f'iifname "{self.prefix}{number:02}*" oifname != "{network.bridge}" drop'
            for number, network in numbered
            if network.bridge and not network.public
        ]
        nat = [
            f'ip saddr {network.instances} oifname != "{INTERFACES}*" masquerade'
            for network in self.networks
            if network.nat
        ]
        chains = [
            _chain(
                "received", "filter", "prerouting", "raw",
                f"iifname != {ours} accept",
                "meta nfproto != ipv4 drop",
                "fib saddr . iif oif missing drop",
                f"ip daddr {_set(NEVER)} reject with icmp type admin-prohibited",
                "fib daddr type != unicast reject with icmp type admin-prohibited",
                *jumps,
                "drop",
            ),
            *(self._network(number, network) for number, network in numbered),
            _chain(
                "passed_on", "filter", "forward", "filter",
                f'iifname @{WAS_OFF} oifname != "{INTERFACES}*" drop',
                f'iifname {ours} oifname "{INTERFACES}*" drop',
                *bridges,
                f"iifname {ours} ct state new add @connections {{ ip saddr ct count over {_CONNECTIONS_MAX} }} drop",
                f"oifname != {ours} accept",
                "ct state { established, related } accept",
                "drop",
            ),
            _chain(
                "sent", "filter", "output", "filter",
                f"oifname != {ours} accept",
                "icmp type destination-unreachable accept",
                "ct state { established, related } accept",
                "drop",
            ),
            _chain("translated", "nat", "postrouting", "srcnat", *nat),
        ]  # fmt: skip
        # Named first, so that it can be deleted whether it is there or not: all of it is one change.
        head = f"table inet {self.table}\ndelete table inet {self.table}\n"
        return f"{head}table inet {self.table} {{\n  set {WAS_OFF} {{ type ifname; }}\n{_COUNTED}{''.join(chains)}}}\n"

    def _network(self, number: int, network: Network) -> str:
        refuse = "reject with icmp type admin-prohibited"
        rules = [f"ip saddr != {network.instances} drop"]
        if network.resolvers:
            rules.append(f"ip daddr {_set(network.resolvers)} meta l4proto {{ tcp, udp }} th dport 53 accept")
        if network.name != PUBLIC:
            rules.append(f"ip daddr {_set((network.subnet, *network.routes))} accept")
        if network.public:
            blocks = (*self.blocks, *(one.subnet for one in self.networks))
            rules += [f"ip daddr {_set(blocks)} {refuse}", "accept"]
        else:
            rules.append(refuse)
        return _block(f"chain net_{number:02}", rules)

    def files(self) -> list[Operation]:
        """What zygotes' roots hold for their instances to choose from."""
        return [
            File(f"{FILES_ROOT}/{number:02}/{name}", text)
            for number, network in enumerate(self.networks)
            for name, text in own_files(network).items()
        ]

    def plain(self) -> dict[str, object]:
        """As the launcher reads it."""
        return {
            "nft": self.nft,
            "table": self.table,
            "prefix": self.prefix,
            "rules": self.rules(),
            "networks": {
                network.name: {
                    "number": number,
                    "instances": str(network.instances),
                    "subnet": str(network.subnet),
                    "bridge": network.bridge,
                    "routes": [] if network.public else _reached(network),
                    "public": network.public,
                    "files": {f"/etc/{name}": text for name, text in own_files(network).items()},
                }
                for number, network in enumerate(self.networks)
            },
        }


def own_files(network: Network) -> dict[str, str]:
    """What instances of a network have in /etc instead of what others have, by file name."""
    servers = "".join(f"nameserver {address}\n" for address in network.resolvers[:_RESOLVERS_MAX])
    return {"hosts": HOSTS_TEXT + network.hosts_text, "resolv.conf": servers}


def _reached(network: Network) -> list[str]:
    """Routes of an instance: what it asks for beside these fails in its own namespace already."""
    single = [IPv4Network((address, 32)) for address in network.resolvers]
    return [str(one) for one in dict.fromkeys((network.subnet, *network.routes, *single))]


def _set(items: Iterable[IPv4Network | IPv4Address]) -> str:
    """An anonymous set; ranges within others are left out, as nft takes no overlaps."""
    wanted = [item if isinstance(item, IPv4Network) else IPv4Network((item, 32)) for item in items]
    kept = [one for one in dict.fromkeys(wanted) if not any(one != other and one.subnet_of(other) for other in wanted)]
    return "{ " + ", ".join(map(str, kept)) + " }"


def _chain(name: str, kind: str, hook: str, priority: str, *rules: str) -> str:
    head = f"type {kind} hook {hook} priority {priority}; policy accept;"
    return _block(f"chain {name}", [head, *rules])


def _block(head: str, lines: Sequence[str]) -> str:
    return f"  {head} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"
