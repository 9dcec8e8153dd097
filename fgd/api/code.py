"""The code of functions (rest-api, 2.1)."""

import base64

from fgd.api.operation import FUNCTION, UPLOAD, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.api.shape import function_object
from fgd.control.fields import parse_code
from fgd.control.upload import stored_upload


async def show_function_code(services: Services, ask: Ask) -> Answer:
    function = services.functions.resolve(ask.urn())
    archive = await services.functions.code(function)
    code = {"file": base64.b64encode(archive).decode(), "link": ""}
    return Answer({**function_object(services, function), "func_code": code})


async def update_function_code(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    async with services.object_source.of_code(ask.project_id, body) as path:
        upload = None if path is None else stored_upload(body, path)
        function = await services.functions.replace_code(
            ask.urn(), lambda old: parse_code(body, old, services.functions.facets, upload)
        )
    return Answer({**function_object(services, function), "func_code": {"file": "", "link": ""}})


OPERATIONS = (
    Operation("show_function_code", "GET", FUNCTION + "/code", "The code as a ZIP in Base64", show_function_code),
    Operation(
        "update_function_code", "PUT", FUNCTION + "/code", "Put other code in place", update_function_code,
        fields=("code_type", "code_url", "code_filename", "func_code", "depend_version_list"), body_max_bytes=UPLOAD,
    ),
)  # fmt: skip
