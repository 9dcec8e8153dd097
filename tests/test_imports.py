"""Who may import whom. One table; an exception is a line in it with its reason."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fgd"

#: Layers from the bottom. A part imports from lower layers and from itself.
LAYERS: tuple[frozenset[str], ...] = (
    # words everyone may use
    frozenset({"errors", "units", "clock", "log", "shares", "zones", "route", "bucket"}),
    # networks and streams as the settings name them
    frozenset({"network", "stream"}),
    # frozen data, parsed once
    frozenset({"remote_stores"}),
    frozenset({"urn", "config", "cron"}),
    frozenset({"model"}),
    frozenset({"call", "destination", "topic"}),
    # synchronous: system calls, the protocol between daemon and runtime, which interpreters there are
    frozenset({"linux", "wire", "runtime"}),
    # what makes sandboxes, what survives a restart
    frozenset({"sandbox", "store"}),
    frozenset({"auth", "metrics"}),
    # object stores of others
    frozenset({"remote"}),
    # leases on running instances
    frozenset({"instance"}),
    # one event, one outcome
    frozenset({"invoke"}),
    # the seam for plugins: what they are asked, and the one module that they import
    frozenset({"disk", "trigger"}),
    frozenset({"hookspecs"}),
    frozenset({"plugin"}),
    frozenset({"trigger_watch"}),
    frozenset({"builtin", "plugin_manager", "trigger_host"}),
    frozenset({"trigger_door"}),
    # the catalog's operations
    frozenset({"control"}),
    # HTTP
    frozenset({"gateway", "api"}),
    # builds it all
    frozenset({"startup", "doctor", "status", "plugin_list"}),
    frozenset({"prepare", "listeners"}),
    frozenset({"parts"}),
    frozenset({"daemon"}),
    frozenset({"cli", "testing"}),
    frozenset({"__main__"}),
)
LAYER_OF = {part: number for number, parts in enumerate(LAYERS) for part in parts}

#: (file, what it imports): why it may.
EXCEPTIONS: dict[tuple[str, str], str] = {}

#: Packages that only these parts may name.
ONLY: dict[str, frozenset[str]] = {
    "nsjail": frozenset({"sandbox", "doctor"}),
    "sqlite3": frozenset({"store"}),
    "quart": frozenset({"api"}),
    "quart_trio": frozenset({"api"}),
    "hypercorn": frozenset({"api"}),
    "httptools": frozenset({"gateway"}),
    "h2": frozenset({"gateway"}),
    "hpack": frozenset({"gateway"}),
    "cryptography": frozenset({"store"}),
    "yaml": frozenset({"control"}),
    "prometheus_client": frozenset({"metrics"}),
    "pluggy": frozenset({"hookspecs", "plugin_manager"}),
    "httpx": frozenset({"builtin", "remote"}),
}

#: What runs between fork and exec, or without an event loop.
WITHOUT_TRIO = frozenset({"linux", "wire", "cli", "__main__"})


def _files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def _part(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@functools.cache
def _imports(path: Path) -> tuple[tuple[str, int], ...]:
    """Dotted names a file imports, with the line; of `from fgd import x` it is `fgd.x`."""
    return tuple(_walk(path))


def _walk(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and "inside" in path.parts:  # it runs under other package names too
                continue
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            module = node.module or ""
            if module == "fgd":
                yield from ((f"fgd.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def test_every_part_has_a_layer() -> None:
    parts = {_part(path) for path in _files()} - {"__init__"}

    assert set() == parts - LAYER_OF.keys()


def test_imports_go_downwards() -> None:
    wrong = []
    for path in _files():
        part = _part(path)
        for name, line in _imports(path):
            if not name.startswith("fgd.") or part == "__init__":
                continue
            other = name.split(".")[1]
            inside = path.relative_to(PACKAGE).as_posix()
            if other != part and LAYER_OF[other] >= LAYER_OF[part] and (inside, name) not in EXCEPTIONS:
                wrong.append(f"{inside}:{line} (layer {LAYER_OF[part]}) imports {name} (layer {LAYER_OF[other]})")

    assert [] == wrong


def test_exceptions_are_still_needed() -> None:
    there = {(path.relative_to(PACKAGE).as_posix(), name) for path in _files() for name, _ in _imports(path)}

    assert set() == EXCEPTIONS.keys() - there


def test_packages_stay_where_they_belong() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in _files()
        for name, line in _imports(path)
        if name.split(".")[0] in ONLY and _part(path) not in ONLY[name.split(".")[0]]
    ]

    assert [] == wrong


def test_what_runs_without_an_event_loop_knows_no_trio() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in _files()
        if _part(path) in WITHOUT_TRIO
        for name, line in _imports(path)
        if name.split(".")[0] in ("trio", "anyio")
    ]

    assert [] == wrong


def test_nothing_but_tests_imports_the_harness() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in _files()
        if _part(path) != "testing"
        for name, line in _imports(path)
        if name.startswith("fgd.testing")
    ]

    assert [] == wrong


@pytest.mark.parametrize("folder", ["fgd/sandbox/inside", "runtimes/python"])
def test_what_runs_inside_of_a_sandbox_needs_only_the_standard_library(folder: str) -> None:
    """Its own neighbours aside: they are files of the same folder, imported by their bare names."""
    files = sorted((PACKAGE.parent / folder).rglob("*.py"))
    own = {name for path in files for name in (path.stem, path.parent.name)} | {"fgd"}
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for path in files
        for name, line in _imports_of_any_python(path)
        if name.split(".")[0] not in sys.stdlib_module_names | own | _PYTHON_2
    ]

    assert [] == wrong


#: Names of Python 2.7's standard library that later ones do not have.
_PYTHON_2 = frozenset({"imp", "thread", "Queue", "cPickle", "StringIO", "ConfigParser", "__builtin__", "httplib"})


def _imports_of_any_python(path: Path) -> Iterator[tuple[str, int]]:
    """By lines, because the syntax of these files may be an older Python's."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.split()
        if len(words) > 1 and words[0] in ("import", "from") and not words[1].startswith("."):
            yield words[1].rstrip(","), number


def test_packages_are_imported_without_side_effects() -> None:
    """An `__init__.py` is empty or a docstring, so that importing one part pulls in nothing."""
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_bytes()).body

        assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body), path


PLUGINS = PACKAGE.parent / "plugins"

#: (plugin, another one that it imports): why it may. Otherwise a plugin imports `fgd.plugin` and client libraries.
PLUGIN_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("fgd_dis", "fgd_kafka"): "a stream is a topic of Kafka brokers: one consumer, whatever the trigger is called",
}


def test_plugins_import_what_is_public_and_no_other_plugin() -> None:
    own = {path.name for path in PLUGINS.iterdir() if path.is_dir()}
    wrong, used = [], set()
    for path in sorted(PLUGINS.rglob("*.py")):
        plugin = path.relative_to(PLUGINS).parts[0]
        for name, line in _imports(path):
            top = name.split(".")[0]
            if top in own - {plugin}:
                used.add((plugin, top))
            elif top == "fgd" and name != "fgd.plugin":
                wrong.append(f"{path.relative_to(PLUGINS)}:{line} imports {name}")

    assert [] == wrong
    assert PLUGIN_EXCEPTIONS.keys() == used
