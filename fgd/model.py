"""Frozen data of the control plane, parsed once at the edge."""

from typing import Literal, NamedTuple, Protocol

import msgspec

from fgd.units import cpu_mcpu
from fgd.urn import LATEST, FunctionUrn

#: `max_instances` that means no limit, and the one that means disabled.
UNLIMITED = -1
DISABLED = 0


#: Project of the dependencies that every project may use.
PUBLIC = ""


class DependencyUse(msgspec.Struct, frozen=True, kw_only=True):
    """A dependency version as a function version has it: its id, and the digest of its package."""

    id: str
    digest: str


class FunctionMount(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of a function, in the API's words (user guide, section 3.5)."""

    #: `mount_type`: which driver reads the rest.
    kind: str
    resource: str
    share_path: str = ""
    #: `local_mount_path`: where the function sees it.
    path: str
    read_only: bool = False


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a function: code, configuration and limits, never changed once made.

    An update makes a new object with a higher `revision`; instances belong to a (func_id, version, revision).
    """

    func_id: str
    project_id: str
    package: str
    name: str
    version: str = LATEST
    revision: int = 1
    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    description: str = ""
    #: What was said when this version was published; "" for `latest`.
    version_description: str = ""
    code_type: str
    code_filename: str = ""
    #: Where it was in the object store; "" where it was sent.
    code_url: str = ""
    #: SHA-512 of the package, hex; names the unpacked folder in the code store.
    code_digest: str
    code_size_bytes: int
    #: Plain variables, as the JSON object text that came in; "" when unset.
    user_data: str = ""
    #: Encrypted variables: ciphertext made by `fgd.store.secrets`, never plain; "" when unset.
    encrypted_user_data: str = ""
    initializer_handler: str = ""
    initializer_timeout_s: int = 0
    #: Instances at most: UNLIMITED, DISABLED or 1-1000.
    max_instances: int = 400
    #: What max_instances returns to when a disabled function is enabled again.
    enabled_max_instances: int = 400
    #: Requests that one instance takes at once, 1-1000.
    concurrent_num: int = 1
    dependencies: tuple[DependencyUse, ...] = ()
    #: Whether a request may choose the memory of its instance (X-Cff-Instance-Memory).
    dynamic_memory: bool = False
    #: Asked every five seconds whether the instance is well; "" for none.
    heartbeat_handler: str = ""
    #: Called before an instance ends in an orderly way, and how long it may take; "" and 0 for none.
    pre_stop_handler: str = ""
    pre_stop_timeout_s: int = 0
    mounts: tuple[FunctionMount, ...] = ()
    #: Who the function is on its disks; -1: as inside, 1003.
    mount_uid: int = -1
    mount_gid: int = -1
    #: Whether the client wrote these ids as texts, and reads them so.
    mount_ids_text: bool = False
    #: Size of /tmp.
    tmp_mib: int = 512
    #: Named network that its instances are on; "" for the node's own choice.
    vpc: str = ""
    #: Whether instances stay off the public network where no other is named.
    public_off: bool = False
    #: Networks that it can be invoked from; empty: from everywhere.
    entry_networks: tuple[str, ...] = ()
    #: Private domains that its network must have, as the JSON text that came in; "" when unset.
    domain_names: str = ""
    #: Ranges that its code uses beyond its network, separated by ";"; "" when unset.
    peering_cidr: str = ""
    created_s: float
    last_modified_s: float
    #: Agency for configuration and execution, and the one for execution alone; "" for none.
    xrole: str = ""
    app_xrole: str = ""
    #: Log stream that its lines go to beside its own; "" for none.
    log_group_id: str = ""
    log_stream_id: str = ""
    #: Wire fields that fgd stores and gives back but does not act on (enterprise_project_id, ...): JSON values.
    echo: dict[str, object] = msgspec.field(default_factory=dict)

    @property
    def urn(self) -> FunctionUrn:
        return FunctionUrn(self.project_id, self.package, self.name, self.version)

    @property
    def cpu_mcpu(self) -> int:
        return cpu_mcpu(self.memory_mib)

    @property
    def disabled(self) -> bool:
        return self.max_instances == DISABLED

    @property
    def agency(self) -> str:
        """The agency whose rights a running instance has; "" for none."""
        return self.app_xrole or self.xrole

    @property
    def packages(self) -> tuple[str, ...]:
        """Digests of its code and of its dependencies."""
        return (self.code_digest, *(use.digest for use in self.dependencies))


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a dependency: a package that functions may have beside their code. Its package never changes."""

    id: str
    #: What all versions of a dependency have in common.
    dep_id: str
    #: PUBLIC, or whose it is.
    project_id: str
    name: str
    #: From 1.
    version: int
    runtime: str
    description: str = ""
    #: SHA-512 and MD5 of the archive, hex.
    digest: str
    etag: str
    size_bytes: int
    last_modified_s: float
    #: Of a public one's file on the host: size and time, by which a change of the file is seen.
    source_bytes: int = 0
    source_mtime_ns: int = 0

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"dependency {self.name!r} version {self.version}"


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True):
    """A request header (name in lower case) that has one of these values."""

    name: str
    values: tuple[str, ...]
    #: How it was written: `=` (one value) or `in` (several).
    op: Literal["=", "in"] = "="


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A name for a version, which may send a share of the requests to an additional one (rest-api 2.4)."""

    func_id: str
    name: str
    version: str
    description: str = ""
    #: "" when all requests go to `version`.
    additional_version: str = ""
    #: Percent of requests to the additional version; not used where there are rules.
    weight: int = 0
    rules: tuple[HeaderRule, ...] = ()
    #: Whether all rules must be met, or any.
    combine: Literal["and", "or"] = "and"
    last_modified_s: float = 0.0

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions it points to."""
        return (self.version, self.additional_version) if self.additional_version else (self.version,)


class LogGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Log streams that are kept equally long."""

    group_id: str
    project_id: str
    name: str
    keep_days: int
    created_s: float


class LogStream(msgspec.Struct, frozen=True, kw_only=True):
    """Where log lines go: made by a client, or a function's own, whose id is the function's."""

    stream_id: str
    group_id: str
    project_id: str
    name: str
    created_s: float


class Target(msgspec.Struct, frozen=True):
    """Where outcomes go: the kind of destination, and the JSON object of its settings as the client wrote it."""

    kind: str
    param: str


class CronPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Keeps `count` instances from a moment that `cron` names (UTC) until the next of any such policy, while valid."""

    name: str
    cron: str
    count: int
    #: Epoch seconds between which it is valid; 0: no such bound.
    start_s: int = 0
    expired_s: int = 0
    #: When it was set. Moments before that do not count: it begins with the next one.
    since_s: float = 0.0


class MetricPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Keeps as many instances as make those in use `threshold` percent of them, and no fewer than `least`."""

    name: str
    threshold: int
    least: int


#: How careful a recommendation is; "" for none.
Level = Literal["", "high_performance", "balance", "low_cost"]


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """How many instances of a version, or of an alias's main version, are kept (rest-api 2.7)."""

    func_id: str
    #: A version, or an alias with its leading "!".
    qualifier: str
    count: int
    idle_mode: bool = False
    crons: tuple[CronPolicy, ...] = ()
    metrics: tuple[MetricPolicy, ...] = ()
    level: Level = ""

    @property
    def alias(self) -> str:
        """The alias that it is of; "" if it is a version's."""
        return self.qualifier[1:] if self.qualifier.startswith("!") else ""

    @property
    def most(self) -> int:
        """What it is known to need at some time: policies that follow the load may go further."""
        least = 1 if self.metrics or self.level else 0
        return max(self.count, least, *(one.count for one in self.crons), *(one.least for one in self.metrics), 0)


class AsyncConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How asynchronous invocations of one function version are tried (rest-api 2.6)."""

    max_retries: int = 1
    max_age_s: int = 3600
    enable_status_log: bool = True
    on_success: Target | None = None
    on_failure: Target | None = None
    #: Epoch seconds.
    created_s: float = 0.0
    last_modified_s: float = 0.0


class SavedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event kept with a function to try it with."""

    func_id: str
    event_id: str
    name: str
    #: Base64 of JSON, as the client sent it.
    content: str
    #: Epoch seconds.
    last_modified_s: float


AsyncState = Literal["WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD"]


class Agency(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of permissions that functions of a project can be given."""

    project_id: str
    name: str
    description: str = ""
    #: Names of built-in policies, and policy documents as they were written.
    policies: tuple[str | dict[str, object], ...] = ()
    #: Epoch seconds.
    created_s: float = 0.0
    last_modified_s: float = 0.0


class Resource(NamedTuple):
    """What a request is about, in the words of policies."""

    service: str
    region: str
    project_id: str
    kind: str
    path: str


class Rights(Protocol):
    """What somebody may do; the real thing is `fgd.auth.policy.Rights`."""

    def says(self, action: str, resource: Resource) -> bool | None:
        """Whether an action on a resource is allowed (True) or refused (False); None: nothing is said of it."""
        ...


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling: an access key, a token of one, an agency, or an administrator of the admin socket."""

    name: str
    #: Project that the caller may act on; "*" for an administrator, who may act on all.
    project_id: str
    admin: bool = False
    #: None: everything that its project has.
    rights: Rights | None = None

    def may_use(self, project_id: str) -> bool:
        return self.admin or self.project_id == project_id
