"""Import and export (rest-api, 2.11)."""

from fgd.api.operation import FUNCTION, V2, not_built

OPERATIONS = (
    not_built("export_function", "GET", FUNCTION + "/export", "export of functions"),
    not_built("import_function", "POST", V2 + "/functions/import", "import of functions"),
)
