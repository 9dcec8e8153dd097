"""Agencies (user guide 3.3): fgd's own operations; the cloud has them in its identity service."""

from fgd.api.operation import NOTHING, V2, Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.auth.actions import ACTIONS, BUILTIN
from fgd.clock import iso_utc
from fgd.control.agencies import Known
from fgd.errors import BadParameter

_AGENCIES = "/fgd/v1/projects/{project_id}/agencies"
_AGENCY = _AGENCIES + "/{agency_name}"


async def create_agency(services: Services, ask: Ask) -> Answer:
    return Answer(_object(services, await services.agencies.create(ask.project_id, _body(ask))))


async def list_agencies(services: Services, ask: Ask) -> Answer:
    return Answer({"agencies": [_object(services, one) for one in services.agencies.list(ask.project_id)]})


async def show_agency(services: Services, ask: Ask) -> Answer:
    return Answer(_object(services, services.agencies.show(ask.project_id, ask.path["agency_name"])))


async def update_agency(services: Services, ask: Ask) -> Answer:
    return Answer(
        _object(services, await services.agencies.update(ask.project_id, ask.path["agency_name"], _body(ask)))
    )


async def delete_agency(services: Services, ask: Ask) -> Answer:
    await services.agencies.delete(ask.project_id, ask.path["agency_name"])
    return NOTHING


async def list_policies(services: Services, ask: Ask) -> Answer:
    return Answer({"policies": BUILTIN, "actions": ACTIONS})


async def list_trusted_agencies(services: Services, ask: Ask) -> Answer:
    return Answer([{"name": one.agency.name, "expire_time": ""} for one in services.agencies.list(ask.project_id)])


def _body(ask: Ask) -> dict[str, object]:
    body = ask.json()
    if body.get("project_id") not in (None, ask.project_id):
        raise BadParameter("project_id: names another project than the path")
    return body


def _object(services: Services, one: Known) -> dict[str, object]:
    agency = one.agency
    return {
        "name": agency.name,
        "project_id": agency.project_id,
        "description": agency.description,
        "policies": agency.policies,
        "without_effect": one.without_effect,
        "functions": services.agencies.users(agency),
        "created_at": iso_utc(agency.created_s),
        "last_modified": iso_utc(agency.last_modified_s),
    }


_FIELDS = ("name", "description", "policies")

OPERATIONS = (
    Operation(
        "create_agency", "POST", _AGENCIES, "Create an agency", create_agency, access=Access.ADMIN, fields=_FIELDS
    ),
    Operation("list_agencies", "GET", _AGENCIES, "List agencies", list_agencies),
    Operation("show_agency", "GET", _AGENCY, "Show an agency and who has it", show_agency),
    Operation(
        "update_agency", "PUT", _AGENCY, "Change an agency; what was handed out follows at once", update_agency,
        access=Access.ADMIN, fields=_FIELDS[1:],
    ),
    Operation(
        "delete_agency", "DELETE", _AGENCY, "Delete an agency that no function has", delete_agency,
        status=204, access=Access.ADMIN,
    ),
    Operation(
        "list_policies", "GET", "/fgd/v1/policies", "Built-in policies, and the actions that policies speak of",
        list_policies, access=Access.ANY,
    ),
    Operation(
        "list_trusted_agencies", "GET", V2 + "/service-trusted-agencies", "Agencies, as consoles list them",
        list_trusted_agencies,
    ),
)  # fmt: skip
