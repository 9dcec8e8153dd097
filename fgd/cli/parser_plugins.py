"""The commands and options of `fgd plugins`."""

from pathlib import Path

from fgd.cli.parser_records import Commands


def add_plugins(commands: Commands) -> None:
    """`fgd plugins`; alone it is `fgd plugins list`."""
    plugins = commands.group(
        "plugins", "plugins: what they bring, what is wrong with them, a new one", run="plugins:list_plugins"
    )
    plugins.add("list", "plugins:list_plugins", "show the plugins that were found, and what is wrong with them")
    show = plugins.add("show", "plugins:show", "show a plugin, what went wrong with it, and its triggers")
    show.add_argument("plugin", metavar="NAME")
    new = plugins.add("new", "plugin_new:new", "write a package with a plugin that works, and its test")
    new.add_argument("name", metavar="NAME", help="of the plugin: lower-case letters, digits and hyphens")
    new.add_argument("--dir", type=Path, default=Path(), metavar="DIR",
                     help="where the folder fgd-NAME is made (default: here)")  # fmt: skip
