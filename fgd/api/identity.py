"""The few operations of the identity service that clients need (rest-api, 1.2).

A token is issued for a pair of keys, sent by either method of `POST /v3/auth/tokens`:

    {"auth": {"identity": {"methods": ["hw_ak_sk"], "hw_ak_sk": {"access": {"key": AK}, "secret": {"key": SK}}}}}
    {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": AK, "password": SK}}}}}
"""

from fgd.api.operation import Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.clock import iso_utc
from fgd.errors import BadParameter, Forbidden

_METHODS = ("hw_ak_sk", "password")


async def create_token(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    method, access_key, secret_key = _identity(body)
    token = await services.credentials.log_in(access_key, secret_key)
    scope = _get(body, "auth", "scope", "project", "id")
    if scope is not None and scope != token.project_id:
        raise Forbidden("auth.scope.project.id: is not the project of this access key")
    domain = {"id": token.project_id, "name": token.project_id}
    value = {
        "token": {
            "methods": [method],
            "issued_at": iso_utc(token.issued_s, milliseconds=True),
            "expires_at": iso_utc(token.expires_s, milliseconds=True),
            "project": {"id": token.project_id, "name": services.config.region, "domain": domain},
            "user": {"id": token.access_key, "name": token.access_key, "domain": domain},
            "roles": [],
            "catalog": [],
        }
    }
    return Answer(value, {"X-Subject-Token": token.text})


async def list_projects(services: Services, ask: Ask) -> Answer:
    name = ask.query.get("name")
    project = {
        "id": ask.project_id,
        "name": services.config.region,
        "domain_id": ask.project_id,
        "parent_id": ask.project_id,
        "description": "",
        "enabled": True,
        "is_domain": False,
        "links": {},
    }
    return Answer({"projects": [project] if name in (None, "", project["name"]) else [], "links": {}})


async def list_domains(services: Services, ask: Ask) -> Answer:
    domain = {"id": ask.project_id, "name": ask.project_id, "description": "", "enabled": True, "links": {}}
    return Answer({"domains": [domain], "links": {}})


def _identity(body: dict[str, object]) -> tuple[str, str, str]:
    """Method, access key and secret key.

    Raises:
        BadParameter: names the field.
    """
    identity = _get(body, "auth", "identity")
    methods = _get(body, "auth", "identity", "methods")
    method = methods[0] if isinstance(methods, list) and len(methods) == 1 else None
    if not isinstance(identity, dict) or method not in _METHODS:
        raise BadParameter(f"auth.identity.methods: must be a list of one of {', '.join(_METHODS)}")
    if method == "hw_ak_sk":
        where = ("access.key", "secret.key")
        found = _get(identity, "hw_ak_sk", "access", "key"), _get(identity, "hw_ak_sk", "secret", "key")
    else:
        where = ("user.name", "user.password")
        found = _get(identity, "password", "user", "name"), _get(identity, "password", "user", "password")
    for name, value in zip(where, found, strict=True):
        if not isinstance(value, str) or not value:
            raise BadParameter(
                f"auth.identity.{method}.{name}: must hold the {'access' if name == where[0] else 'secret'} key"
            )
    return method, str(found[0]), str(found[1])


def _get(value: object, *names: str) -> object:
    """The field at the end of a path of names; None where an object of the path is missing."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


OPERATIONS = (
    Operation(
        "create_token", "POST", "/v3/auth/tokens", "Get a token (answer header X-Subject-Token)", create_token,
        status=201, access=Access.PUBLIC, fields=("auth",), body_max_bytes=16384,
    ),
    Operation("list_projects", "GET", "/v3/projects", "The caller's project", list_projects, access=Access.ANY,
              query=("name",)),
    Operation("list_domains", "GET", "/v3/auth/domains", "The caller's account", list_domains, access=Access.ANY),
)  # fmt: skip
