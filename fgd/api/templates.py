"""Function templates (rest-api, 2.14)."""

from fgd.api.operation import V2, missing, nothing_there
from fgd.errors import TemplateNotFound

OPERATIONS = (
    nothing_there(
        "list_function_template", V2 + "/templates", "List templates", {"func_templates": [], "next_marker": 0},
        query=("marker", "maxitems", "ispublic", "runtime", "scene", "service"),
    ),
    missing(
        "show_function_template", V2 + "/templates/{template_id}", "Show a template", TemplateNotFound,
        "template_id: there is no such template",
    ),
)  # fmt: skip
