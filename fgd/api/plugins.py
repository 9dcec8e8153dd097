"""fgd's own operations on plugins: what was found, and what is wrong with it."""

from fgd.api.operation import Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.errors import NotFound

_ALL = "/fgd/v1/plugins"


async def list_plugins(services: Services, ask: Ask) -> Answer:
    return Answer({"plugins": services.plugins()})


async def show_plugin(services: Services, ask: Ask) -> Answer:
    wanted = ask.path["plugin_name"]
    for plugin in services.plugins():
        if plugin["name"] == wanted:
            return Answer(plugin)
    raise NotFound(f"plugin_name: there is no plugin {wanted[:64]!r}")


OPERATIONS = (
    Operation("list_plugins", "GET", _ALL, "Plugins that were found", list_plugins, access=Access.ADMIN),
    Operation("show_plugin", "GET", _ALL + "/{plugin_name}", "One plugin", show_plugin, access=Access.ADMIN),
)
