"""Triggers APIG and DEDICATEDGATEWAY: requests to APIs of the gateway invoke functions (user guide, 5.3, 5.9)."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import trio
from msgspec import Meta, Struct

from fgd.plugin import ApiRoute, BadTriggerConfig, Place, TriggerType, api_path_fault, hookimpl


class Backend(Struct, frozen=True, kw_only=True):
    """How a request reaches the function."""

    timeout: Annotated[int, Meta(description="milliseconds until the gateway answers 504", ge=1, le=60000)]
    invocation_type: Annotated[
        Literal["sync", "async"], Meta(description="async: answered with 202 as soon as the event is stored")
    ] = "sync"
    function_urn: Annotated[str, Meta(description="the trigger's own function; nothing else is possible")] = ""
    version: Annotated[str, Meta(description="the trigger's own version; nothing else is possible")] = ""


class ApiSettings(Struct, frozen=True, kw_only=True):
    """Settings of an API."""

    name: Annotated[str, Meta(description="name of the API", pattern="^[A-Za-z][A-Za-z0-9_]{2,63}$")]
    path: Annotated[str, Meta(description="such as /users/{id}; default: / and the name of the function")] = ""
    match_mode: Annotated[
        Literal["SWA", "NORMAL"], Meta(description="SWA: longer paths belong to it too; NORMAL: the exact path")
    ] = "SWA"
    req_method: Annotated[
        Literal["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "ANY"], Meta(description="method")
    ] = "ANY"
    auth: Annotated[
        Literal["IAM", "APP", "NONE"],
        Meta(description="IAM: credentials of the project; APP: an app that the API is granted to; NONE: everybody"),
    ] = "IAM"
    protocol: Annotated[
        Literal["HTTP", "HTTPS"], Meta(description="HTTPS: plain HTTP is refused where the node speaks TLS")
    ] = "HTTPS"
    type: Annotated[int, Meta(description="1 public, 2 private; kept, without effect", ge=1, le=2)] = 1
    group_id: Annotated[str, Meta(description="group of APIs; default: the project's own", max_length=64)] = ""
    group_name: Annotated[str, Meta(description="the group by its name, where no id is given", max_length=64)] = ""
    env_name: Annotated[str, Meta(description="environment", max_length=64)] = "RELEASE"
    env_id: Annotated[str, Meta(description="the environment by its id, where no name is given", max_length=64)] = ""
    func_info: Annotated[Backend, Meta(description="timeout and invocation_type")] = Backend(timeout=5000)
    sl_domain: Annotated[str, Meta(description="kept; the address is what invoke_url says", max_length=255)] = ""
    backend_type: Annotated[Literal["FUNCTION"], Meta(description="kind of backend")] = "FUNCTION"
    instance_id: Annotated[str, Meta(description="kept; the gateway of this node is the only one", max_length=64)] = ""
    body_base64: Annotated[
        bool, Meta(description="false: bodies that are text in UTF-8 come as they are, the others in Base64")
    ] = True
    cors_origins: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^(\*|[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-:\[\]]{1,255})$")], ...],
        Meta(description="origins whose scripts may call it, * for all; preflights are then answered by the gateway",
             max_length=32),
    ] = ()  # fmt: skip


class Apig(TriggerType[ApiSettings]):
    """A request to an API of the shared gateway."""

    code = "APIG"
    settings: ClassVar[type[Struct]] = ApiSettings
    may_be_disabled = False
    pulls = False
    bad_code = "FSS.1107"
    exists_code = "FSS.1146"

    @classmethod
    def check(cls, settings: ApiSettings, place: Place) -> None:
        fault = api_path_fault(_path(settings, place))
        if fault:
            raise BadTriggerConfig("path", fault)
        backend = settings.func_info
        start = place.function_urn.removesuffix(place.qualifier)
        if backend.function_urn and backend.function_urn not in (start[:-1], place.function_urn):
            if not backend.function_urn.startswith(start):
                raise BadTriggerConfig("func_info.function_urn", f"must be {place.function_urn}, as the path has it")
            raise BadTriggerConfig(
                "func_info.function_urn", f"must name the version {place.qualifier}, to which the trigger belongs"
            )
        if backend.version not in ("", place.qualifier, place.qualifier.removeprefix("!")):
            raise BadTriggerConfig(
                "func_info.version", f"must be {place.qualifier}, to which the trigger belongs, not {backend.version!r}"
            )

    @classmethod
    def identity(cls, settings: ApiSettings) -> str:
        return settings.name

    @classmethod
    def routes(cls, settings: ApiSettings, place: Place) -> Sequence[ApiRoute]:
        backend = settings.func_info
        return [
            ApiRoute(
                name=settings.name,
                group=settings.group_id or settings.group_name,
                environment=settings.env_name if settings.env_name != "RELEASE" else settings.env_id or "RELEASE",
                method=settings.req_method,
                path=_path(settings, place),
                prefix=settings.match_mode == "SWA",
                auth=settings.auth,
                https=settings.protocol == "HTTPS",
                async_=backend.invocation_type == "async",
                timeout_ms=backend.timeout,
                base64=settings.body_base64,
                origins=settings.cors_origins,
            )
        ]

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The gateway calls the function by itself; there is nothing to fetch."""
        task_status.started()
        await trio.sleep_forever()


class DedicatedGateway(Apig):
    """A request to an API of a dedicated gateway."""

    code = "DEDICATEDGATEWAY"
    bad_code = "FSS.1417"


def _path(settings: ApiSettings, place: Place) -> str:
    return settings.path or f"/{place.function_name}"


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[Any]]]:
    return [Apig, DedicatedGateway]
