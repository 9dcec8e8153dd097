"""The gateway's APIs: groups, environments, apps and throttling policies, and which trigger has which path.

Everything is in memory for the gateway to look at; the store is changed first.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import trio

from fgd.auth.replay import ReplayGuard
from fgd.clock import new_request_id
from fgd.control.api_fields import AppBody, EnvironmentBody, GroupBody, ThrottleBody, read
from fgd.control.api_table import ApiTable, Published
from fgd.control.api_throttle import Limit
from fgd.errors import ApiObjectNotFound, ApiPathTaken, BadParameter, Conflict, Forbidden, TooManyApis
from fgd.route import RELEASE, RELEASE_ID, ApiRoute
from fgd.store.apis import KINDS, ApiApp, ApiEnvironment, ApiGroup, ApiObject, ApiStore, ApiThrottle
from fgd.trigger import Place
from fgd.urn import FunctionUrn

#: Of each kind in a project, and APIs in a project.
OBJECTS_MAX: Final = 1000
APIS_MAX: Final = 1000
CODES_MAX: Final = 5
DEFAULT_GROUP: Final = "DEFAULT"

_BODIES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "group": GroupBody, "environment": EnvironmentBody, "app": AppBody, "throttle": ThrottleBody,
}  # fmt: skip
_OF_KIND: Final = {kind.kind: kind for kind in KINDS}


class Grant:
    """An app as the gateway asks for it."""

    __slots__ = ("apis", "app", "guard")

    def __init__(self, app: ApiApp) -> None:
        self.app = app
        self.apis = frozenset(app.apis)
        self.guard = ReplayGuard()


def default_group(project_id: str) -> ApiGroup:
    """The group that every project has."""
    digest = hashlib.sha256(f"default group of {project_id}".encode()).hexdigest()[:32]
    return ApiGroup(id=digest, project_id=project_id, name=DEFAULT_GROUP, description="for APIs that name no group")


def release(project_id: str) -> ApiEnvironment:
    """The environment that every project has."""
    return ApiEnvironment(id=RELEASE_ID, project_id=project_id, name=RELEASE, description="where APIs are by default")


class Apis:
    """The operations on them, and what the gateway reads."""

    def __init__(
        self, store: ApiStore, loaded: Iterable[ApiObject], now_s: Callable[[], float], url: Callable[[bool], str]
    ) -> None:
        """
        Args:
            url: of APIs that are for HTTPS (True) or not: the address with `{group}` where the group's id belongs.
        """
        self._store = store
        self._now_s = now_s
        self._url = url
        self._objects: dict[str, ApiObject] = {one.id: one for one in loaded}
        self._published: dict[str, tuple[Published, ...]] = {}
        self._lock = trio.Lock()
        self.table = ApiTable()
        #: Host name -> group.
        self.hosts: dict[str, str] = {}
        self.by_key: dict[str, Grant] = {}
        #: By the SHA-256 of an AppCode.
        self.by_code: dict[bytes, Grant] = {}
        #: By trigger id.
        self.limits: dict[str, tuple[Limit, ...]] = {}
        self._index()

    # Triggers

    def claim(self, trigger_id: str, place: Place, routes: Sequence[ApiRoute]) -> None:
        """Puts the APIs of a trigger into the table, in the place of those that it has; they are served at once.

        Raises:
            ApiObjectNotFound: no such group or environment in the project.
            ApiPathTaken: another API has that method and path.
            TooManyApis
        """
        if not routes and trigger_id not in self._published:
            return
        others = {
            api.key: api for id_, apis in self._published.items() if id_ != trigger_id for api in apis
        }  # fmt: skip
        mine: list[Published] = []
        for number, route in enumerate(routes):
            group = self._named(place.project_id, "group", route.group or DEFAULT_GROUP, "event_data.group_id")
            stage = self._named(place.project_id, "environment", route.environment, "event_data.env_name")
            urn = FunctionUrn(place.project_id, place.package, place.function_name, place.qualifier)
            api_id = trigger_id if not number else f"{trigger_id}.{number}"
            api = Published(api_id, trigger_id, route, group.id, stage.name, urn)
            other = others.setdefault(api.key, api)
            if other is not api:
                raise ApiPathTaken(
                    f"event_data.path: {route.method} {route.path} in the group {group.name!r} and the environment"
                    f" {stage.name!r} is the API {other.route.name!r} already"
                )
            mine.append(api)
        if sum(one.project_id == place.project_id for one in others.values()) > APIS_MAX:
            raise TooManyApis(f"trigger_type_code: the project has {APIS_MAX} APIs; delete one first")
        self._published[trigger_id] = tuple(mine)
        self.table.build(api for apis in self._published.values() for api in apis)

    def withdraw(self, trigger_id: str) -> None:
        """Takes the APIs of a trigger away; one without any is fine."""
        if self._published.pop(trigger_id, None):
            self.table.build(api for apis in self._published.values() for api in apis)

    def shown(self, trigger_id: str) -> dict[str, object]:
        """What answers tell of a trigger's API beside its settings."""
        apis = self._published.get(trigger_id)
        if not apis:
            return {}
        api = apis[0]
        group, stage = self._group(api), self._stage(api)
        return {
            "triggerid": trigger_id,
            "api_id": api.api_id,
            "api_name": api.route.name,
            "group_id": group.id,
            "group_name": group.name,
            "env_id": stage.id,
            "env_name": stage.name,
            "path": api.route.path,
            "invoke_url": self._url(api.route.https).format(group=group.id) + api.route.path,
        }

    def of_project(self, project_id: str) -> list[Published]:
        """The APIs of a project, by group, path and method."""
        found = [api for apis in self._published.values() for api in apis if api.project_id == project_id]
        return sorted(found, key=lambda api: (api.group_id, api.route.path, api.route.method, api.stage))

    # Groups, environments, apps, policies

    def every(self, project_id: str, kind: str) -> list[ApiObject]:
        """All of a kind, those that every project has first."""
        mine = [one for one in self._objects.values() if one.kind == kind and one.project_id == project_id]
        return [*_always(project_id, kind), *mine]

    def show(self, project_id: str, kind: str, wanted: str) -> ApiObject:
        """One by its id or name.

        Raises:
            ApiObjectNotFound
        """
        return self._named(project_id, kind, wanted, f"{kind}_id")

    async def create(self, project_id: str, kind: str, body: Mapping[str, object], *, admin: bool) -> ApiObject:
        """Makes one.

        Raises:
            BadParameter, Conflict, Forbidden, TooManyApis: see the messages.
        """
        async with self._lock:
            fields = self._fields(project_id, kind, body, "", admin)
            if len(self.every(project_id, kind)) > OBJECTS_MAX:
                raise TooManyApis(f"name: the project has {OBJECTS_MAX} of kind {kind}; delete one first")
            own: dict[str, Any] = {"id": new_request_id().replace("-", ""), "project_id": project_id}
            if kind == "app":
                own |= {"key": secrets.token_hex(16), "secret": secrets.token_hex(32)}
            one = _OF_KIND[kind](**fields, **own, created_s=self._now_s())
            await self._put(one)
        return one

    async def update(
        self, project_id: str, kind: str, wanted: str, body: Mapping[str, object], *, admin: bool
    ) -> ApiObject:
        """Changes what is given; what is absent stays.

        Raises:
            ApiObjectNotFound, and as `create`.
        """
        async with self._lock:
            old = self._changeable(project_id, kind, wanted)
            names = _BODIES[kind].__struct_fields__
            known = {name: getattr(old, name) for name in names}
            fields = self._fields(project_id, kind, body, old.id, admin, known)
            one = msgspec.structs.replace(old, **fields)
            await self._put(one)
        return one

    async def delete(self, project_id: str, kind: str, wanted: str) -> None:
        """Deletes one; a group or an environment only when no API is in it.

        Raises:
            ApiObjectNotFound, Conflict
        """
        async with self._lock:
            one = self._changeable(project_id, kind, wanted)
            for api in self.of_project(project_id):
                if api.group_id == one.id or (isinstance(one, ApiEnvironment) and api.stage == one.name):
                    raise Conflict(f"{kind}_id: {one.name!r} has the API {api.route.name!r}; delete its trigger first")
            with trio.CancelScope(shield=True):
                await self._store.delete(one)
                del self._objects[one.id]
                self._index()

    async def add_code(self, project_id: str, wanted: str) -> str:
        """Gives an app another AppCode.

        Raises:
            ApiObjectNotFound, BadParameter
        """
        async with self._lock:
            app = self._app(project_id, wanted)
            if len(app.codes) >= CODES_MAX:
                raise BadParameter(f"app_id: {app.name!r} has {CODES_MAX} AppCodes; delete one first")
            code = secrets.token_hex(32)
            await self._put(msgspec.structs.replace(app, codes=(*app.codes, code)))
        return code

    async def remove_code(self, project_id: str, wanted: str, code: str) -> None:
        """Takes an AppCode away.

        Raises:
            ApiObjectNotFound
        """
        async with self._lock:
            app = self._app(project_id, wanted)
            if code not in app.codes:
                raise ApiObjectNotFound(f"code: the app {app.name!r} has no such AppCode")
            await self._put(msgspec.structs.replace(app, codes=tuple(one for one in app.codes if one != code)))

    # Inside

    def _fields(
        self,
        project_id: str,
        kind: str,
        body: Mapping[str, object],
        id_: str,
        admin: bool,
        known: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        fields: dict[str, Any] = msgspec.structs.asdict(read(_BODIES[kind], body, known or {}))
        if kind == "environment" and known is not None and fields["name"] != known["name"]:
            raise BadParameter("name: of an environment stays, as APIs are published in it")
        taken = [one for one in self.every(project_id, kind) if one.name == fields["name"] and one.id != id_]
        if taken:
            raise Conflict(f"name: the project has a {kind} {fields['name']!r} already")
        domains = tuple(name.lower() for name in fields.get("domains", ()))
        if domains:
            fields["domains"] = domains
            if not admin and domains != (known or {}).get("domains"):
                # Whoever has the name of this node's own API would get what its clients send.
                raise Forbidden("domains: only for administrators, on the admin socket")
            for name in domains:
                if self.hosts.get(name, id_) != id_:
                    raise Conflict(f"domains: {name} belongs to another group")
        for trigger_id in fields.get("apis", ()):
            if not any(api.project_id == project_id for api in self._published.get(trigger_id, ())):
                if trigger_id in tuple((known or {}).get("apis", ())):  # type: ignore[arg-type]  # it is a tuple
                    continue  # its trigger is gone; that must not keep anybody from changing the rest
                raise ApiObjectNotFound(f"apis: the project has no API {trigger_id[:64]!r}")
        return fields

    def _named(self, project_id: str, kind: str, wanted: str, field: str) -> ApiObject:
        every = self.every(project_id, kind)
        for one in every:
            if one.id == wanted:
                return one
        for one in every:
            if one.name == wanted:
                return one
        raise ApiObjectNotFound(f"{field}: the project has no {kind} {wanted[:64]!r}")

    def _changeable(self, project_id: str, kind: str, wanted: str) -> ApiObject:
        one = self._named(project_id, kind, wanted, f"{kind}_id")
        if one.id not in self._objects:
            raise BadParameter(f"{kind}_id: {one.name} is always there and cannot be changed")
        return one

    def _app(self, project_id: str, wanted: str) -> ApiApp:
        one = self._named(project_id, "app", wanted, "app_id")
        assert isinstance(one, ApiApp)
        return one

    async def _put(self, one: ApiObject) -> None:
        with trio.CancelScope(shield=True):
            await self._store.put(one)
            self._objects[one.id] = one
            self._index()

    def _group(self, api: Published) -> ApiObject:
        return self._objects.get(api.group_id) or default_group(api.project_id)

    def _stage(self, api: Published) -> ApiObject:
        return self._named(api.project_id, "environment", api.stage, "environment_id")

    def _index(self) -> None:
        """Everything by which the gateway looks things up, made anew."""
        before = {grant.app.id: grant for grant in self.by_key.values()}
        counts = {(limit.policy, id_): limit for id_, limits in self.limits.items() for limit in limits}
        self.hosts, self.by_key, self.by_code = {}, {}, {}
        limits: dict[str, list[Limit]] = {}
        for one in self._objects.values():
            if isinstance(one, ApiGroup):
                self.hosts |= dict.fromkeys(one.domains, one.id)
            elif isinstance(one, ApiApp):
                grant = Grant(one)
                if one.id in before:
                    grant.guard = before[one.id].guard
                self.by_key[one.key] = grant
                self.by_code |= {hashlib.sha256(code.encode()).digest(): grant for code in one.codes}
            elif isinstance(one, ApiThrottle):
                shared: Limit | None = None
                for trigger_id in one.apis:
                    limit = shared or counts.get((one, trigger_id)) or Limit(one)
                    if one.shared:
                        shared = limit
                    limits.setdefault(trigger_id, []).append(limit)
        self.limits = {trigger_id: tuple(some) for trigger_id, some in limits.items()}


def _always(project_id: str, kind: str) -> Sequence[ApiObject]:
    if kind == "group":
        return (default_group(project_id),)
    return (release(project_id),) if kind == "environment" else ()
