"""Request bodies, parsed once: what a client wants of a function, checked field by field.

`parse_new` and `parse_change` take the decoded JSON object and give frozen data; what is compared with the stored
function (a runtime that must not change, quotas) is checked by `fgd.control.functions`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fgd.control import rules, variables
from fgd.control.facet import Facet, parse_all
from fgd.control.features import echo_of, refuse_unbuilt
from fgd.control.languages import defaults
from fgd.control.upload import Upload, parse_upload
from fgd.errors import BadConcurrency, BadRuntime, CodeMissing
from fgd.model import DISABLED, Function
from fgd.urn import DEFAULT_PACKAGE

#: What a new function gets: user guide, section 3.8.
DEFAULT_INSTANCES = 400


@dataclass(frozen=True, slots=True)
class NewFunction:
    """A function to be created, everything checked but what needs the stored state."""

    package: str
    name: str
    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    description: str
    initializer_handler: str
    initializer_timeout_s: int
    max_instances: int
    concurrent_num: int
    user_data: str
    secret: Mapping[str, str]
    echo: Mapping[str, object]
    upload: Upload
    #: What the facets read: fields of `Function` by name.
    facets: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """Fields of `Function` that an update sets, by their name; what the client left out is not in it."""

    values: Mapping[str, object]
    #: Encrypted variables as sent (masks included), or None to keep those stored.
    secret: Mapping[str, str] | None = None
    echo: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodeChange:
    """An update of the code: None where the code stays, and fields of `Function` by name."""

    upload: Upload | None
    values: Mapping[str, object] = field(default_factory=dict)


def parse_new(
    body: Mapping[str, object],
    installed: Collection[str],
    facets: Sequence[Facet] = (),
    project_id: str = "",
    upload: Upload | None = None,
) -> NewFunction:
    """Column C of the create-function API.

    Args:
        body: the JSON object.
        installed: runtime ids that this node can run.
        facets: whose fields are read too.
        project_id: whose function it will be.
        upload: its code, where the body does not hold it.

    Raises:
        RequestError: one of the codes FSS.1002 to 1072 and 1404, 1405; begins with the field's name.
        NotBuilt: the function needs a part that fgd does not have.
    """
    name = rules.function_name(body.get("func_name"))
    package = rules.package_name(_given(body, "package", DEFAULT_PACKAGE))
    if _absent(body, "runtime"):
        raise BadRuntime(f"runtime: is needed; possible on this node: {', '.join(sorted(installed))}")
    refuse_unbuilt(body)
    runtime = rules.runtime(body["runtime"], installed)
    default_handler, default_timeout_s, default_memory_mib = defaults(runtime)
    handler = rules.handler(_given(body, "handler", default_handler), runtime)
    initializer = rules.initializer(_given(body, "initializer_handler", ""), runtime)
    initializer_timeout_s = rules.initializer_timeout_s(_given(body, "initializer_timeout", 0))
    rules.entries_agree(handler, initializer, initializer_timeout_s)
    plain = variables.parse("user_data", _given(body, "user_data", ""))
    secret = variables.parse("encrypted_user_data", _given(body, "encrypted_user_data", ""))
    variables.check_together(plain, secret)
    strategy = _strategy(body)
    upload = upload or parse_upload(body, runtime, handler, creating=True)
    if upload is None:
        raise CodeMissing("func_code.file: must hold the code in Base64")
    return NewFunction(
        package=package,
        name=name,
        runtime=runtime,
        handler=handler,
        timeout_s=rules.timeout_s(_given(body, "timeout", default_timeout_s)),
        memory_mib=rules.memory_mib(_given(body, "memory_size", default_memory_mib)),
        description=rules.description(_given(body, "description", "")),
        initializer_handler=initializer,
        initializer_timeout_s=initializer_timeout_s,
        max_instances=strategy.get("max_instances", DEFAULT_INSTANCES),
        concurrent_num=strategy.get("concurrent_num", 1),
        user_data=str(body["user_data"]) if plain else "",
        secret=secret,
        echo=echo_of(body),
        upload=upload,
        facets=parse_all(facets, project_id, body, None),
    )


def parse_change(body: Mapping[str, object], function: Function, facets: Sequence[Facet] = ()) -> Change:
    """Column U of the update-config API, for a stored function; fields that are absent or null stay.

    Raises:
        RequestError: as `parse_new`; also for a name, package or runtime that differs from the function's.
        NotBuilt: the change needs a part that fgd does not have.
    """
    if not _absent(body, "func_name"):
        rules.unchangeable("func_name", body["func_name"], function.name)
    if not _absent(body, "package") and body["package"] != "":
        rules.unchangeable("package", body["package"], function.package)
    if not _absent(body, "runtime") and body["runtime"] != "":
        rules.unchangeable("runtime", body["runtime"], function.runtime)
    refuse_unbuilt(body)
    values: dict[str, object] = {}
    runtime = function.runtime
    if not _absent(body, "handler") and body["handler"] != "":
        values["handler"] = rules.handler(body["handler"], runtime)
    if not _absent(body, "timeout"):
        values["timeout_s"] = rules.timeout_s(body["timeout"])
    if not _absent(body, "memory_size"):
        values["memory_mib"] = rules.memory_mib(body["memory_size"])
    if not _absent(body, "description"):
        values["description"] = rules.description(body["description"])
    if not _absent(body, "initializer_timeout"):
        values["initializer_timeout_s"] = rules.initializer_timeout_s(body["initializer_timeout"])
    if not _absent(body, "initializer_handler"):
        values["initializer_handler"] = initializer = rules.initializer(body["initializer_handler"], runtime)
        if not initializer:
            values["initializer_timeout_s"] = 0
    if not _absent(body, "user_data"):
        plain = variables.parse("user_data", body["user_data"])
        values["user_data"] = str(body["user_data"]) if plain else ""
    secret = None
    if not _absent(body, "encrypted_user_data"):
        secret = variables.parse("encrypted_user_data", body["encrypted_user_data"])
    values.update(_strategy(body))
    values.update(parse_all(facets, function.project_id, body, function))
    return Change(values, secret, echo_of(body))


def parse_max_instances(body: Mapping[str, object]) -> int:
    """The body of config-max-instance."""
    return rules.max_instances("max_instance_num", body.get("max_instance_num"))


def parse_code(
    body: Mapping[str, object], function: Function, facets: Sequence[Facet] = (), upload: Upload | None = None
) -> CodeChange:
    """The body of an update of the code, which may also be of other fields only; `upload` as in `parse_new`."""
    refuse_unbuilt(body)
    upload = upload or parse_upload(body, function.runtime, function.handler, creating=False)
    return CodeChange(upload, parse_all(facets, function.project_id, body, function))


def _absent(body: Mapping[str, object], name: str) -> bool:
    return body.get(name) is None


def _given(body: Mapping[str, object], name: str, default: object) -> object:
    """The field's value; null and "" mean that it was left out."""
    value = body.get(name)
    return default if value is None or value == "" else value


def _strategy(body: Mapping[str, object]) -> dict[str, int]:
    strategy = body.get("strategy_config")
    if strategy is None:
        return {}
    if not isinstance(strategy, dict):
        raise BadConcurrency(f"strategy_config: must be an object, not {rules.shown(strategy)}")
    values: dict[str, int] = {}
    if strategy.get("concurrency") is not None:
        values["max_instances"] = limit = rules.max_instances("strategy_config.concurrency", strategy["concurrency"])
        if limit != DISABLED:
            values["enabled_max_instances"] = limit
    if strategy.get("concurrent_num") is not None:
        values["concurrent_num"] = rules.concurrent_num(strategy["concurrent_num"])
    return values
