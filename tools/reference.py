"""Pages of docs/reference/: what plugins import, and the settings of all trigger types. See tools/docs.py."""

import ast
import importlib
import inspect
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

from fgd import hookspecs, plugin
from fgd.cli.triggers import settings_rows
from fgd.control.kinds import check_kinds

ROOT = Path(__file__).resolve().parents[1]
_MADE = "<!-- Made by tools/docs.py from {source}; do not edit. -->\n"
#: What others than plugins construct or keep; how is not a plugin's business.
_NO_FIELDS = frozenset({"Config"})


def own_trigger_types() -> list[tuple[str, type[Any]]]:
    """(plugin, class) of fgd's own, by the entry points of this source tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    sys.path.insert(0, str(ROOT / "plugins"))
    found = []
    for name, module in sorted(project.get("entry-points", {}).get("fgd", {}).items()):
        hook = getattr(importlib.import_module(module), "fgd_trigger_types", None)
        found += [(name, kind) for kind in hook()] if hook else []
    return found


def trigger_types() -> str:
    """docs/reference/triggers.md: every type of fgd's own with its settings."""
    sections = []
    for code, kind in sorted(check_kinds(own_trigger_types()).items()):
        wire = {"schema": kind.schema, "secrets": kind.type.secrets}
        rows = [
            f"| `{name}` | {needed} | {_cell(rule)} | {_cell(meaning)} |"
            for name, needed, rule, meaning in settings_rows(wire)
        ]
        facts = [
            f"plugin `{kind.plugin}`",
            f"starts {kind.type.starts}",
            "may be disabled" if kind.type.may_be_disabled else "cannot be disabled",
            "counts among the ten of a version" if kind.type.pulls else "does not count among the ten of a version",
            f"wrong settings: {kind.type.bad_code}",
        ]
        table = "\n".join(["| setting | | rule | meaning |", "|---|---|---|---|", *rows])
        summary = inspect.cleandoc(kind.type.__doc__ or "")
        sections.append(f"## {code}\n\n{summary}\n\n{'; '.join(facts)}.\n\n{table}\n")
    return (
        _MADE.format(source="the settings of the types")
        + """
# Trigger types

What `event_data` may hold, type by type. `fgd triggers types TYPE` shows the same of the running daemon, with
plugins of others; `GET /fgd/v1/trigger-types` gives it as JSON schema. How each is used:
[triggers](../triggers/index.md).

"""
        + "\n".join(sections)
    )


def plugin_names() -> str:
    """docs/reference/plugins.md: the hooks, and everything that `fgd.plugin` has."""
    hooks = [
        _stub(ast.parse(textwrap.dedent(inspect.getsource(value))).body[0], "")
        for name, value in vars(hookspecs).items()
        if name.startswith("fgd_")
    ]
    names = [f"## {name}\n\n```text\n{_shown(name)}\n```\n" for name in sorted(plugin.__all__, key=str.lower)]
    return (
        _MADE.format(source="fgd/hookspecs.py and what fgd/plugin.py exports")
        + """
# What plugins import

Everything that `fgd.plugin` has, and the hooks. How they are used: [plugins](../plugins.md); a first one of your own:
[a trigger in fifteen minutes](../plugin-tutorial.md).

## Hooks

```text
"""
        + "\n\n".join(hooks)
        + "\n```\n\n"
        + "\n".join(names)
    )


def _shown(name: str) -> str:
    value = getattr(plugin, name)
    if not inspect.isclass(value) and not inspect.isfunction(value):
        text = inspect.getdoc(type(value)) or ""
        return f"{name}  # a {type(value).__name__}: {text.splitlines()[0] if text else ''}".rstrip(": ")
    source = textwrap.dedent(inspect.getsource(value))
    node = ast.parse(source).body[0]
    if isinstance(node, ast.ClassDef):
        return _class(node, source, fields=name not in _NO_FIELDS)
    return _stub(node, "")


def _class(node: ast.ClassDef, source: str, *, fields: bool) -> str:
    head = ast.unparse(ast.ClassDef(node.name, node.bases, node.keywords, [ast.Pass()], [], node.type_params))
    lines = [head.rpartition("\n")[0]]
    text = ast.get_docstring(node)
    if text:
        lines += _quoted(text, "    ")
    source_lines = source.splitlines()
    for item in node.body if fields else ():
        if isinstance(item, ast.AnnAssign | ast.Assign):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            if not ast.unparse(target).startswith("_"):
                lines += [*_comment(source_lines, item.lineno), f"    {ast.unparse(item)}"]
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and _public(item.name):
            lines += ["", _stub(item, "    ")]
    return "\n".join(lines).rstrip()


def _public(name: str) -> bool:
    return name == "__init__" or not name.startswith("_")


def _comment(lines: list[str], number: int) -> list[str]:
    """The `#:` lines above a line."""
    found: list[str] = []
    while number >= 2 and lines[number - 2].strip().startswith("#:"):
        found.insert(0, f"    {lines[number - 2].strip()}")
        number -= 1
    return found


def _stub(node: ast.stmt, indent: str) -> str:
    """A function without its body."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    text = ast.get_docstring(node)
    node.body = [ast.Expr(ast.Constant(...))]
    node.decorator_list = [one for one in node.decorator_list if ast.unparse(one) in ("classmethod", "property")]
    head = ast.unparse(node).rpartition("\n")[0]
    lines = textwrap.indent(head, indent).splitlines()
    return "\n".join([*lines, *(_quoted(text, indent + "    ") if text else [f"{indent}    ..."])])


def _quoted(text: str, indent: str) -> list[str]:
    lines = f'"""{text}"""'.splitlines() if "\n" not in text else [*f'"""{text}'.splitlines(), '"""']
    return [f"{indent}{line}".rstrip() for line in lines]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
