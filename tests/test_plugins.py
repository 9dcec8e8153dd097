"""Plugins are found and asked; one that is broken in whatever way is left out, named, and costs nobody anything."""

import ast
import inspect
import textwrap
from importlib.metadata import EntryPoint, distribution
from pathlib import Path
from types import ModuleType

import pytest

from fgd import hookspecs, plugin
from fgd.builtin import destinations
from fgd.control.kinds import check_kinds
from fgd.plugin_manager import PluginManager, PluginState

ROOT = Path(__file__).parents[1]
GOOD = """
from fgd.plugin import hookimpl

class Kind:
    kind = "Good"

@hookimpl
def fgd_destinations():
    return [Kind]
"""


class Found:
    """Entry points of modules that the test writes; the name of each is that of its module."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.entries: list[EntryPoint] = []

    def add(self, name: str, source: str, value: str = "") -> None:
        (self._folder / f"{name}.py").write_text(textwrap.dedent(source))
        self.entries.append(EntryPoint(name.replace("_", "-"), value or name, "fgd"))

    def manager(self, *builtins: ModuleType) -> PluginManager:
        return PluginManager(builtins, self.entries)

    def state(self, name: str) -> PluginState:
        manager = self.manager()
        manager.classes("fgd_destinations")
        return next(state for state in manager.states() if state.name == name)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Found(tmp_path)


def test_a_plugin_gives_its_classes_after_our_own(found: Found) -> None:
    found.add("p_good", GOOD)
    manager = found.manager(destinations)
    given = manager.classes("fgd_destinations")

    assert ["FunctionDestination", "BucketDestination", "TopicDestination", "WebhookDestination", "Kind"] == [
        kind.__name__ for _, kind in given
    ]
    assert ["destinations"] * 4 + ["p-good"] == [name for name, _ in given]
    assert (True, False) == (manager.builtin("destinations"), manager.builtin("p-good"))
    assert [("fgd_destinations",)] * 2 == [state.hooks for state in manager.states()]
    assert ["", ""] == [state.error for state in manager.states()]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise LookupError('no configuration')", "cannot be loaded: LookupError: no configuration"),
        ("import no_such_client_library", "cannot be loaded: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)", "cannot be loaded: SystemExit: 3"),
        ("def broken(:", "cannot be loaded: SyntaxError"),
        ("", "has no effect: ValueError: it implements no hook"),
        (
            "from fgd.plugin import hookimpl\n@hookimpl\ndef fgd_destination():\n    return []\n",
            "does not fit: PluginValidationError: unknown hook 'fgd_destination'",
        ),
        (
            "from fgd.plugin import hookimpl\n@hookimpl\ndef fgd_destinations(daemon):\n    return []\n",
            "does not fit: PluginValidationError",
        ),
        (GOOD.replace("return [Kind]", "return [Kind()]"), "fgd_destinations failed: TypeError: fgd_destinations must"),
        (GOOD.replace("return [Kind]", "return None"), "fgd_destinations failed: TypeError"),
        (GOOD.replace("return [Kind]", "return 7"), "fgd_destinations failed: TypeError"),
        (GOOD.replace("return [Kind]", "raise OSError('disk')"), "fgd_destinations failed: OSError: disk"),
        (GOOD.replace("return [Kind]", "raise SystemExit(3)"), "fgd_destinations failed: SystemExit: 3"),
        ("raise KeyboardInterrupt", "cannot be loaded: KeyboardInterrupt"),
    ],
)
def test_a_broken_plugin_is_left_out_with_its_reason(
    found: Found, source: str, error: str, request: pytest.FixtureRequest
) -> None:
    name = f"p_broken_{abs(hash(request.node.nodeid))}"
    found.add(name, source)
    found.add("p_good", GOOD)
    manager = found.manager()
    given = manager.classes("fgd_destinations")

    assert ["p-good"] == [one for one, _ in given]
    assert found.state(name.replace("_", "-")).error.startswith(error)


def test_a_missing_object_of_an_entry_point_is_its_error(found: Found) -> None:
    found.add("p_missing", GOOD, "p_missing:nothing")

    assert found.state("p-missing").error.startswith("cannot be loaded: AttributeError")


def test_of_two_with_one_name_the_first_stays_and_both_are_listed(found: Found) -> None:
    found.add("p_good", GOOD)
    found.entries.append(EntryPoint("p-good", "p_good", "fgd"))
    manager = found.manager()

    assert 1 == len(manager.classes("fgd_destinations"))
    assert ["p-good", "p-good (2)"] == [state.name for state in manager.states()]
    assert "another plugin is named p-good" in manager.states()[1].error


def test_one_that_the_settings_leave_out_is_not_imported(found: Found) -> None:
    found.add("p_deadly", "import os\nos._exit(7)")
    found.add("p_good", GOOD)
    manager = PluginManager((), found.entries, skipped=("p-deadly",))

    assert ["p-good"] == [name for name, _ in manager.classes("fgd_destinations")]
    assert "left out by the setting skip_plugins" == manager.states()[0].error
    assert ["left out by the setting skip_plugins"] == manager.reports("p-deadly")


def test_fgds_own_come_before_another_package_with_the_same_name(found: Found) -> None:
    found.add("p_theirs", GOOD)
    found.add("p_ours", GOOD)
    theirs = EntryPoint("a-name", "p_theirs", "fgd")
    ours = EntryPoint("a-name", "p_ours", "fgd")._for(distribution("fgd"))  # type: ignore[attr-defined]
    manager = PluginManager((), [theirs, ours])

    assert [("a-name", True), ("a-name (2)", False)] == [(state.name, state.builtin) for state in manager.states()]
    assert "p_ours.py" in manager.states()[0].file


def test_what_goes_wrong_later_is_remembered(found: Found) -> None:
    found.add("p_good", GOOD)
    manager = found.manager()
    for text in ("blocks", "blocks", "fails"):
        manager.report("p-good", text)
    two = [state.error for state in manager.states()]
    for number in range(10):
        manager.report("p-good", f"error {number}")

    assert ["blocks; fails"] == two
    assert ["error 7; error 8; error 9"] == [state.error for state in manager.states()]


def test_every_public_name_and_hook_is_documented() -> None:
    """The page of names is generated, so each needs a text of its own; the page of hooks is written."""
    names = (ROOT / "docs" / "reference" / "plugins.md").read_text("utf-8")
    page = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("fgd_")]
    own = {name: getattr(plugin, name) for name in plugin.__all__}

    assert 3 <= len(hooks)
    for hook in hooks:
        assert f"`{hook}`" in page, hook
        assert f"def {hook}()" in names, hook
        assert getattr(hookspecs, hook).__doc__, hook
    for name, value in own.items():
        assert f"## {name}\n" in names, name
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__ and not value.__doc__.startswith(f"{name}("), f"{name} has no text"


def test_every_trigger_type_of_ours_is_in_the_reference_with_all_its_settings() -> None:
    page = (ROOT / "docs" / "reference" / "triggers.md").read_text("utf-8")
    kinds = check_kinds(PluginManager().classes("fgd_trigger_types"))

    assert "TIMER" in kinds
    for code, kind in kinds.items():
        _, head, section = page.partition(f"## {code}\n")
        section = section.partition("\n## ")[0]

        assert head, code
        assert kind.type.__doc__, code
        for field in kind.type.settings.__struct_encode_fields__:
            assert f"| `{field}` |" in section, f"{code}.{field}"


@pytest.mark.parametrize("folder", ["fgd/builtin", "examples/plugins", "plugins"])
def test_our_own_use_no_more_of_fgd_than_a_stranger_could(folder: str) -> None:
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "fgd"}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    ours = {name for name in names if name.split(".")[0] == "fgd" and not name.startswith("fgd.builtin")}

    assert {"fgd.plugin"} == ours
