"""The business side of the control plane over a state directory, without HTTP."""

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from fgd.builtin import destinations
from fgd.config import Config
from fgd.control.agencies import Roster
from fgd.control.aliases import Aliases
from fgd.control.asyncs import AsyncConfigs
from fgd.control.dependencies import Dependencies
from fgd.control.facets.agency import AgencyFacet
from fgd.control.facets.dependencies import DependencyFacet
from fgd.control.facets.lifecycle import LifecycleFacet
from fgd.control.facets.network import NetworkFacet
from fgd.control.fields import NewFunction, parse_new
from fgd.control.functions import Functions
from fgd.control.networks import Networks
from fgd.control.targets import Targets
from fgd.control.versions import Versions
from fgd.destination import Delivery, Node
from fgd.invoke.destinations import Destinations
from fgd.invoke.resolve import Directory
from fgd.network import PUBLIC, public_network
from fgd.plugin_manager import PluginManager
from fgd.store.agencies import AgencyStore
from fgd.store.catalog import SqliteCatalog
from fgd.store.code import FolderCodeStore
from fgd.store.dependencies import DependencyStore
from fgd.store.names import PackageNames

PROJECT = "p" * 32
INSTALLED = ("Python3.12",)


class FixedNode:
    """What destinations see, where none delivers."""

    def __init__(self, config: Config, now_s: Callable[[], float] = lambda: 1.0) -> None:
        self.config = config
        self.now_s = now_s

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        raise NotImplementedError

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        raise NotImplementedError

    async def put_object(
        self, project_id: str, bucket: str, key: str, data: bytes, *, content_type: str, expires_s: float,
        store: str = "", chain: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        raise NotImplementedError


def builtin_kinds(node: Node) -> Destinations:
    """fgd's own destinations, by the door by which they come in the daemon."""
    given = PluginManager([destinations], []).classes("fgd_destinations")
    return Destinations([(plugin, True, kind) for plugin, kind in given], node, timeout_s=1.0)


@dataclass(frozen=True, slots=True)
class World:
    """One daemon's life."""

    directory: Directory
    functions: Functions
    versions: Versions
    aliases: Aliases
    configs: AsyncConfigs
    targets: Targets
    catalog: SqliteCatalog
    code: FolderCodeStore
    dependencies: Dependencies
    roster: Roster


@asynccontextmanager
async def world(state_dir: Path, config: Config | None = None, *, grace_s: float = 600.0) -> AsyncIterator[World]:
    """Opens a state directory; closing and opening it again is a restart."""
    config = config or Config()
    catalog = await SqliteCatalog.open(state_dir)
    try:
        code = FolderCodeStore(state_dir, unpacked_max_mib=10, unpacked_max_files=100, grace_s=grace_s)
        directory = Directory(await catalog.functions(), await catalog.aliases())
        configs = AsyncConfigs(catalog, lambda: 1.0, await catalog.async_configs())
        directory.subscribe(configs.forget)
        store = DependencyStore(catalog.database)
        names = PackageNames(state_dir)
        dependencies = Dependencies(config, directory, store, code, names, lambda: 1.0, await store.all())
        roster = Roster(await AgencyStore(catalog).agencies())
        networks = Networks(PUBLIC, config.networks, public_network(config.public_subnet, config.sandboxes_max))
        functions = Functions(
            config,
            directory,
            catalog,
            code,
            catalog.secrets,
            lambda: 1.0,
            facets=(
                DependencyFacet(config, dependencies),
                LifecycleFacet(),
                AgencyFacet(roster.has),
                NetworkFacet(networks, directory.all_versions, IPv4Network(config.public_subnet)),
            ),
            shared=dependencies,
        )
        versions = Versions(functions, directory, catalog, lambda: 1.0)
        aliases = Aliases(functions, directory, catalog, lambda: 1.0)
        targets = Targets(builtin_kinds(FixedNode(config)), directory)
        yield World(directory, functions, versions, aliases, configs, targets, catalog, code, dependencies, roster)
    finally:
        await catalog.aclose()


def inline(source: str) -> dict[str, object]:
    """The fields of inline code."""
    return {"code_type": "inline", "func_code": {"file": base64.b64encode(source.encode()).decode()}}


def new(name: str, **fields: object) -> NewFunction:
    """A parsed request to create a function."""
    return parse_new(new_body(name, **fields), INSTALLED)


def new_body(name: str, **fields: object) -> Mapping[str, object]:
    """The request itself."""
    return {"func_name": name, "runtime": "Python3.12", **inline("x = 1\n"), **fields}
