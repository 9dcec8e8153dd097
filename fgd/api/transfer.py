"""Import and export (rest-api, 2.11)."""

from fgd.api.operation import FUNCTION, UPLOAD, V2, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.api.shape import function_object


async def export_function(services: Services, ask: Ask) -> Answer:
    """The file itself is the body; its name is in Content-Disposition."""
    exported = await services.transfer.export(ask.urn(), ask.query)
    headers = {"Content-Disposition": f'attachment; filename="{exported.filename}"'}
    return Answer(exported.data, headers, "application/zip")


async def import_function(services: Services, ask: Ask) -> Answer:
    imported = await services.transfer.load(ask.project_id, ask.json(), services.runtimes().keys())
    # `missing_secrets` is fgd's own: an exported file holds no secrets, only their names.
    return Answer({**function_object(services, imported.function), "missing_secrets": list(imported.missing_secrets)})


OPERATIONS = (
    Operation(
        "export_function", "GET", FUNCTION + "/export", "A function as a ZIP: settings and code", export_function,
        query=("config", "code", "type"),
    ),
    Operation(
        "import_function", "POST", V2 + "/functions/import", "Make a function of an exported ZIP", import_function,
        fields=("func_name", "package", "file_name", "file_type", "file_code", "encrypted_user_data"),
        body_max_bytes=UPLOAD,
    ),
)  # fmt: skip
