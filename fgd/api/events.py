"""Test events (rest-api, 2.10), the templates that they are made from, and the running of one."""

from fgd.api.operation import FUNCTION, NOTHING, Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.control.event_templates import TEMPLATES, EventTemplate, event_template
from fgd.model import SavedEvent

_ALL = FUNCTION + "/events"
_ONE = _ALL + "/{event_id}"
_TEMPLATES = "/fgd/v1/event-templates"
_TRY = "/fgd/v1/functions/{function_urn}/test"


async def create_event(services: Services, ask: Ask) -> Answer:
    event = await services.test_events.create(ask.urn(), ask.json())
    return Answer({"id": event.event_id, "name": event.name})


async def list_events(services: Services, ask: Ask) -> Answer:
    events = [_shown(event) for event in await services.test_events.list(ask.urn())]
    return Answer({"events": events, "count": len(events), "next_marker": len(events)})


async def show_event(services: Services, ask: Ask) -> Answer:
    event = await services.test_events.find(ask.urn(), ask.path["event_id"])
    return Answer({**_shown(event), "content": event.content})


async def update_event(services: Services, ask: Ask) -> Answer:
    event = await services.test_events.update(ask.urn(), ask.path["event_id"], ask.json())
    return Answer({"id": event.event_id, "name": event.name})


async def delete_event(services: Services, ask: Ask) -> Answer:
    await services.test_events.delete(ask.urn(), ask.path["event_id"])
    return NOTHING


async def list_event_templates(services: Services, ask: Ask) -> Answer:
    return Answer({"event_templates": [_template(one) for one in TEMPLATES], "count": len(TEMPLATES)})


async def show_event_template(services: Services, ask: Ask) -> Answer:
    return Answer(_template(event_template(ask.path["name"])))


async def test_function(services: Services, ask: Ask) -> Answer:
    trial = await services.trials.run(ask.urn(), ask.optional_json())
    outcome = trial.outcome
    return Answer(
        {
            "request_id": trial.request_id,
            "function_urn": trial.function.urn.text(services.config.region),
            "error_code": outcome.code,
            "function_error": bool(outcome.code and outcome.function_error),
            "result": trial.result,
            "summary": trial.summary,
            "log": trial.log,
        }
    )


def _template(template: EventTemplate) -> dict[str, object]:
    return {
        "name": template.name,
        "title": template.title,
        "description": template.description,
        "event": template.event,
    }


def _shown(event: SavedEvent) -> dict[str, object]:
    return {"id": event.event_id, "name": event.name, "last_modified": int(event.last_modified_s)}


OPERATIONS = (
    Operation("create_event", "POST", _ALL, "Keep a test event", create_event, fields=("name", "content")),
    Operation("list_events", "GET", _ALL, "List test events", list_events),
    Operation("show_event", "GET", _ONE, "Show a test event", show_event),
    Operation("update_event", "PUT", _ONE, "Change a test event", update_event, fields=("content", "name")),
    Operation("delete_event", "DELETE", _ONE, "Delete a test event", delete_event, status=204),
    Operation(
        "list_event_templates", "GET", _TEMPLATES, "What each event source sends", list_event_templates,
        access=Access.ANY,
    ),
    Operation(
        "show_event_template", "GET", _TEMPLATES + "/{name}", "What one event source sends", show_event_template,
        access=Access.ANY,
    ),
    Operation(
        "test_function", "POST", _TRY, "Try a function: result, summary and the end of the log", test_function,
        access=Access.ANY, fields=("event", "template", "data"),
    ),
)  # fmt: skip
