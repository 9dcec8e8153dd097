"""Settings: one table of name, default, unit and help, from which the file is checked and the page is generated."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_origin, get_type_hints

from fgd.errors import StreamNotFound
from fgd.network import BadNetwork, Network, addresses, check_apart, parse_networks, public_network, ranges
from fgd.remote_stores import BadRemoteStore, parse_remote_stores
from fgd.shares import BadShare, parse_exports, parse_owners, parse_roots
from fgd.stream import BadStream, Stream, parse_streams
from fgd.zones import BadZone, zone_named


class ConfigError(Exception):
    """A setting that cannot be; the message begins with its name."""


def _setting(default: Any, text: str, *, low: float | None = None, high: float | None = None,
             choices: tuple[str, ...] = ()) -> Any:  # fmt: skip
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. The comment of each is its `help`; `docs/configuration.md` is generated from them."""

    region: str = _setting("local", "Region text in function URNs and in the answers of the API.")
    time_zone: str = _setting("UTC", "The region's time zone, in which timers read cron expressions without CRON_TZ.")
    user: str = _setting("fgd", "Account the daemon runs as; without such an account, the first id of fgd's own range.")
    group: str = _setting("fgd", "Members of this group may use the admin socket, as root may.")
    first_uid: int = _setting(
        1879048192, "First host uid (and gid) for instances; each instance gets a block of 65,536.", low=65536
    )
    sandboxes_max: int = _setting(2048, "Sandboxes at once on this node; each takes a block of uids.", low=1, high=4000)
    provider: str = _setting(
        "auto",
        "What makes sandboxes: zygote (forks a warm interpreter), nsjail, or auto (zygote where the runtime can fork).",
        choices=("auto", "zygote", "nsjail"),
    )
    blank_pool: int = _setting(4, "Blank sandboxes kept ready per runtime that has functions.", low=0, high=256)
    blank_pool_max: int = _setting(
        32, "How far the pool of blank sandboxes grows when many instances are started.", low=0, high=256
    )
    keep_alive_s: float = _setting(60.0, "Seconds that an idle instance is kept.", low=0)
    freeze: bool = _setting(True, "Freeze an instance after its answer, until the next request.")
    freeze_delay_ms: int = _setting(50, "Milliseconds between the last answer and the freeze.", low=0, high=60000)
    memory_budget_mib: int = _setting(
        0, "Memory (MiB) that all instances together may be promised; 0: 80 % of the host's.", low=0
    )
    memory_overcommit: float = _setting(
        4.0,
        "How many times the budget may be promised; idle instances use far less than their limit.",
        low=1,
        high=64,
    )
    queue_max: int = _setting(1000, "Requests that may wait for an instance, per function.", low=0, high=1000000)
    queue_total_max: int = _setting(10000, "Requests that may wait for an instance, all functions together.", low=0)
    starts_at_once: int = _setting(8, "Instances being started at the same time.", low=1, high=256)
    sync_timeout_s: float = _setting(
        90.0, "Longest wait of a synchronous caller; the function runs on.", low=1, high=900
    )
    header_timeout_s: float = _setting(
        10.0, "A client must have sent its whole request head within this.", low=0.1, high=30
    )
    body_timeout_s: float = _setting(60.0, "A client must have sent its whole event within this.", low=0.1)
    idle_timeout_s: float = _setting(75.0, "A connection without a request is closed after this.", low=0.1)
    connections_max: int = _setting(4096, "Client connections at once.", low=1)
    listeners: tuple[str, ...] = _setting(
        (),
        "Further places to listen at, `HOST:PORT [tls] [apis]` each: with TLS, with nothing but published APIs.",
    )
    tls_cert: str = _setting(
        "", "PEM file of the certificate (and its chain) of listeners with TLS; read anew on SIGHUP."
    )
    tls_key: str = _setting("", "PEM file of its key, which the account of the daemon must be able to read.")
    apig_url: str = _setting(
        "",
        "Address of published APIs for `invoke_url`, with `{group}` where the id of their group belongs, such as "
        "`https://{group}.apig.example.com`. Empty: /api/{group} at the fitting listener.",
    )
    upload_max_mib: int = _setting(
        72, "Largest body of a control request (a 50 MB package in Base64).", low=1, high=1024
    )
    unpacked_max_mib: int = _setting(1536, "Largest unpacked code package.", low=1)
    unpacked_max_files: int = _setting(30000, "Most files and folders in a code package.", low=1)
    code_quota_mib: int = _setting(10240, "All code packages of a project together.", low=1)
    dependencies_max: int = _setting(1000, "Versions of dependencies per project.", low=1)
    public_dependencies: str = _setting(
        "",
        "Folder of dependencies for every project, RUNTIME/NAME/VERSION.zip; read at the start and on SIGHUP.",
    )
    functions_max: int = _setting(4000, "Functions per project (the cloud's own quota is 400).", low=1)
    token_ttl_s: int = _setting(86400, "Lifetime of a token from POST /v3/auth/tokens.", low=60)
    agency_ttl_s: int = _setting(
        86400,
        "Lifetime of the temporary credentials that functions get of their agencies; renewed after half of it.",
        low=60,
    )
    async_workers: int = _setting(64, "Asynchronous invocations running at once.", low=1, high=10000)
    async_backlog_max: int = _setting(1000000, "Asynchronous events waiting at most; beyond it 429.", low=1)
    async_retry_first_s: float = _setting(
        1.0, "Wait before the first retry; doubles with each, up to 5 minutes.", low=0
    )
    delivery_workers: int = _setting(
        32, "Outcomes of asynchronous invocations being delivered to their destinations at once.", low=1, high=1000
    )
    delivery_timeout_s: float = _setting(
        10.0, "A destination must have taken an outcome within this.", low=0.1, high=300
    )
    delivery_retry_first_s: float = _setting(
        1.0, "Wait before a destination is tried again; doubles with each try, up to 5 minutes.", low=0
    )
    delivery_tries_max: int = _setting(20, "Tries of one delivery; then it is kept as failed.", low=1, high=1000)
    delivery_max_age_s: int = _setting(21600, "Seconds after which a delivery is not tried again.", low=1)
    delivery_keep_s: int = _setting(604800, "How long a failed delivery is kept.", low=60)
    delivery_kept_max: int = _setting(
        1000, "Failed deliveries kept of one function; beyond it the oldest are dropped.", low=1
    )
    obs_listen: str = _setting(
        "", "`HOST:PORT [tls]` at which S3 clients reach the object store. Empty: by the CLI only."
    )
    obs_quota_mib: int = _setting(10240, "All objects of a project together.", low=0)
    object_stores: tuple[str, ...] = _setting(
        (),
        "Other object stores that speak S3, for triggers, code and destinations: `NAME URL keys=FILE [region=TEXT]"
        " [projects=ID,...] [poll_s=NUMBER]` each. The file has `access_key` and `secret_key` (TOML).",
    )
    webhook_urls: str = _setting(
        "",
        "URLs below which destinations of the kind Webhook and HTTP subscribers of topics may be, with spaces between"
        " them. Empty: nowhere.",
    )
    public_url: str = _setting(
        "",
        "Where subscribers of topics reach this API, for links in messages, such as https://fgd.example.com. Empty: the"
        " address that it listens on.",
    )
    async_keep_s: int = _setting(86400, "How long the record of a finished asynchronous invocation is kept.", low=60)
    log_lines_per_s: int = _setting(
        2000, "Log lines per second kept of one instance; what is dropped is counted.", low=1
    )
    log_bytes_per_s: int = _setting(4194304, "Log bytes per second kept of one instance.", low=1024)
    log_keep_days: int = _setting(7, "Days that logs are kept.", low=1, high=3650)
    stream_max_mib: int = _setting(
        1024, "Lines kept of one log stream; beyond it the oldest go, before their days are over.", low=1
    )
    network: str = _setting(
        "auto",
        "Network of functions that name none: public (out through the host), none, or auto (public where the host can "
        "do it, else none).",
        choices=("auto", "public", "none"),
    )
    public_subnet: str = _setting(
        "10.213.0.0/16", "Addresses of instances on the public network; nothing else near the host may have them."
    )
    public_blocks: tuple[str, ...] = _setting(
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        "What the public network does not reach, besides the host itself, link-local and other instances.",
    )
    resolvers: tuple[str, ...] = _setting(
        (), "Name servers of the public network; none given: the host's, but for those on its loopback."
    )
    api_inside: str = _setting(
        "agency",
        "Whose instances reach fgd's own API at FGD_API_ENDPOINT: of functions with an agency, always, never.",
        choices=("agency", "always", "never"),
    )
    networks: Mapping[str, Network] = _setting(
        MappingProxyType({}), "Named networks, a table `[networks.NAME]` each; see [networks](networks.md)."
    )
    streams: Mapping[str, Stream] = _setting(
        MappingProxyType({}),
        "Named streams of Kafka brokers, a table `[streams.NAME]` each; see [streams](triggers/dis.md#streams).",
    )
    skip_plugins: tuple[str, ...] = _setting((), "Names of installed plugins that are not to be imported.")
    mount_roots: tuple[str, ...] = _setting(
        (), "Host directories that functions may mount, `[NAME=]/PATH [ro]` each; see mounts.md."
    )
    nfs_servers: tuple[str, ...] = _setting(
        (), "NFS exports that functions may mount, `[NAME=]HOST:/PATH [ro] [vers=VERSION]` each; see mounts.md."
    )
    nfs_owners: tuple[str, ...] = _setting(
        (),
        "`UID:GID` of accounts of this host that functions may have on NFS, where they run with these ids.",
    )
    mount_timeout_s: float = _setting(10.0, "A disk that is not mounted within this counts as failed.", low=1, high=60)
    drain_s: float = _setting(
        30.0, "On SIGTERM, running invocations and pre-stop handlers may go on for this long.", low=0
    )
    log_level: str = _setting("info", "The daemon's own log.", choices=("debug", "info", "warning", "error"))

    def stream(self, name: str, field: str = "stream_name", project_id: str | None = None) -> Stream:
        """A named stream.

        Args:
            field: what the message shall begin with.
            project_id: who asks; None where that is not known yet.

        Raises:
            StreamNotFound: there is none of that name, or it is not for that project.
        """
        stream = self.streams.get(name)
        if stream is not None and (project_id is None or stream.open_to(project_id)):
            return stream
        there = [one.name for one in self.streams.values() if one.open_to(project_id or "")]
        text = f"there are {', '.join(there)}" if there else "its settings name none"
        raise StreamNotFound(f"{field}: there is no stream {name[:64]!r} on this node; {text}")


def parse_config(values: dict[str, Any]) -> Config:
    """Checks a table of settings.

    Raises:
        ConfigError: unknown name, wrong type, value out of range; names the setting and the rule.
    """
    known = {item.name: item for item in fields(Config)}
    hints = get_type_hints(Config)
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{name}: no such setting; see docs/configuration.md for all of them")
        want, meta = hints[name], known[name].metadata
        if name in _TABLES:
            values[name] = _tables(name, value)
            continue
        if want is float and type(value) is int:
            values[name] = value = float(value)
        if get_origin(want) is tuple:
            values[name] = _texts(name, value)
            continue
        if type(value) is not want:
            raise ConfigError(f"{name}: must be of type {want.__name__}, not {type(value).__name__}")
        if meta["choices"] and value not in meta["choices"]:
            raise ConfigError(f"{name}: must be one of {', '.join(meta['choices'])}, not {value!r}")
        if meta["low"] is not None and value < meta["low"]:
            raise ConfigError(f"{name}: must be at least {meta['low']:g}, not {value}")
        if meta["high"] is not None and value > meta["high"]:
            raise ConfigError(f"{name}: must be at most {meta['high']:g}, not {value}")
    config = Config(**values)
    try:
        zone_named(config.time_zone)
    except BadZone as error:
        raise ConfigError(f"time_zone: {error}") from None
    for name, parse in (("mount_roots", parse_roots), ("nfs_servers", parse_exports), ("nfs_owners", parse_owners)):
        try:
            parse(getattr(config, name))
        except BadShare as error:
            raise ConfigError(f"{name}: {error}") from None
    try:
        parse_remote_stores(config.object_stores)
    except BadRemoteStore as error:
        raise ConfigError(f"object_stores: {error}") from None
    try:
        check_apart([public_network(config.public_subnet, config.sandboxes_max), *config.networks.values()])
        ranges("public_blocks", config.public_blocks)
        addresses("resolvers", config.resolvers)
    except BadNetwork as error:
        raise ConfigError(str(error)) from None
    return config


_TABLES: Final[Mapping[str, Callable[[dict[str, object]], dict[str, Any]]]] = {
    "networks": parse_networks,
    "streams": parse_streams,
}


def _tables(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: must be tables, [{name}.NAME] each")
    try:
        return MappingProxyType(_TABLES[name](value))
    except (BadNetwork, BadStream) as error:
        raise ConfigError(str(error)) from None


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{name}: must be a list of texts")
    return tuple(value)


def load_config(path: Path | None) -> Config:
    """Reads a TOML file of settings; no file means all defaults.

    Raises:
        ConfigError: the file cannot be read or parsed, or a setting is wrong.
    """
    if path is None:
        return Config()
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return parse_config(values)
