"""Classes of trigger types are checked at the start; what they do later stays with their plugin."""

import sys
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import pytest

from fgd.control.kinds import Kind, check_kinds
from fgd.errors import PlatformError
from fgd.plugin import ApiRoute, BadTriggerConfig, Place, TriggerType
from fgd.testing.trigger import PLACE
from tests.pulse import Fixed, Pulse, PulseSettings


class _Endless(Pulse):
    code = "ENDLESS"

    async def serve(self, *, task_status: Any = None) -> Any:
        yield


class _Foreign:
    """Nothing that JSON knows."""


class _NoSchema(msgspec.Struct):
    event: _Foreign


class _Meta(type):
    def __getattr__(cls, name: str) -> object:
        raise OSError("no network")


def _class(**fields: object) -> type[Any]:
    return type("Wrong", (Pulse,), fields)


def test_types_are_found_by_their_code_with_their_schema() -> None:
    reports: list[tuple[str, str]] = []
    kinds = check_kinds([("p", Pulse), ("p", Fixed)], lambda *report: reports.append(report))

    assert {"PULSE": Pulse, "FIXED": Fixed} == {code: kind.type for code, kind in kinds.items()}
    assert "every_s" in str(kinds["PULSE"].schema)
    assert [] == reports


def test_of_two_with_one_code_the_first_stays_and_the_other_is_reported() -> None:
    reports: list[tuple[str, str]] = []
    other = _class()
    kinds = check_kinds([("ours", Pulse), ("theirs", other)], lambda *report: reports.append(report))

    assert ("ours", Pulse) == (kinds["PULSE"].plugin, kinds["PULSE"].type)
    assert [("theirs", "trigger type Wrong is left out: the plugin ours brings PULSE")] == reports


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (int, "it must be a subclass of fgd.plugin.TriggerType"),
        (type("NoCode", (TriggerType,), {"settings": PulseSettings}), "code must be upper-case"),
        (_class(code="low"), "code must be upper-case"),
        (_class(code=7), "code must be upper-case"),
        (_class(settings=dict), "settings must be a subclass of msgspec.Struct"),
        (_class(settings=None), "settings must be"),
        (_class(settings=_NoSchema, secrets=frozenset()), "TypeError: "),
        (type("NoServe", (TriggerType,), {"settings": PulseSettings, "code": "X"}), "serve must be written"),
        (_Endless, "serve must not yield"),
        (_class(secrets=frozenset({"passwort"})), "secrets must be"),
        (_class(secrets="password"), "secrets must be"),
        (_class(starts="ON"), "starts must be"),
        (_class(bad_code="400"), "bad_code and exists_code must be"),
        (_class(claimed_code="FSS.1"), "claimed_code must be like"),
        (_class(pulls="no"), "may_be_disabled and pulls must be"),
        (_Meta("Wrong", (), {}), "it must be a subclass"),
    ],
)
def test_a_class_that_does_not_keep_to_the_contract_is_left_out(kind: type[Any], says: str) -> None:
    reports: list[tuple[str, str]] = []
    kinds = check_kinds([("bad", kind), ("good", Pulse)], lambda *report: reports.append(report))

    assert ["PULSE"] == list(kinds)
    assert ["bad"] == [plugin for plugin, _ in reports]
    assert f"trigger type {kind.__name__} is left out: {says}" in reports[0][1]


class Rude(Pulse):
    """Does what its name asks for."""

    secrets: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def check(cls, settings: PulseSettings, place: Place) -> None:
        match settings.name:
            case "exit":
                sys.exit(3)
            case "raise":
                raise LookupError("nothing there")
            case "sleep":
                time.sleep(0.12)
            case "refuse":
                raise BadTriggerConfig("name", "must be polite")

    @classmethod
    def shown(cls, settings: PulseSettings, place: Place) -> Mapping[str, object]:
        return {"place": object()}


@pytest.fixture
def rude() -> tuple[Kind, list[tuple[str, str]]]:
    reports: list[tuple[str, str]] = []
    return check_kinds([("rude", Rude)], lambda *report: reports.append(report))["PULSE"], reports


@pytest.mark.parametrize(
    ("name", "says"),
    [("exit", "PULSE: parse failed: SystemExit: 3"), ("raise", "PULSE: parse failed: LookupError: nothing there")],
)
def test_what_it_must_not_raise_is_its_plugins_failure(
    rude: tuple[Kind, list[tuple[str, str]]], name: str, says: str
) -> None:
    kind, reports = rude
    with pytest.raises(PlatformError, match=f"the plugin rude failed: {says}"):
        kind.parse({"name": name}, PLACE)

    assert [("rude", says)] == reports


def test_what_it_refuses_is_the_users_mistake(rude: tuple[Kind, list[tuple[str, str]]]) -> None:
    kind, reports = rude
    with pytest.raises(BadTriggerConfig, match="name: must be polite"):
        kind.parse({"name": "refuse"}, PLACE)

    assert [] == reports


def test_one_that_waits_is_reported(rude: tuple[Kind, list[tuple[str, str]]]) -> None:
    kind, reports = rude
    settings = kind.parse({"name": "sleep"}, PLACE)

    assert "sleep" == settings.name
    assert "PULSE: parse kept the daemon from working for 0.1" in reports[0][1]


def test_fields_that_are_no_json_are_its_failure(rude: tuple[Kind, list[tuple[str, str]]]) -> None:
    kind, reports = rude
    with pytest.raises(PlatformError):
        kind.shown(kind.parse({"name": "p"}, PLACE), PLACE)

    assert "PULSE: shown failed: TypeError" in reports[0][1]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "a b"},
        {"path": "/a//b"},
        {"method": "TRACE"},
        {"auth": "WHO"},
        {"timeout_ms": 0},
        {"origins": ("a\r\nb",)},
    ],
)
def test_apis_that_cannot_be_are_the_plugins_fault(changes: dict[str, Any]) -> None:
    fields = {
        "name": "n", "group": "", "environment": "RELEASE", "method": "GET", "path": "/a", "prefix": False,
        "auth": "NONE", "https": False, "async_": False, "timeout_ms": 1,
    }  # fmt: skip
    given = [ApiRoute(**{**fields, **changes})]
    reports: list[tuple[str, str]] = []
    kind = check_kinds(
        [("p", _class(routes=classmethod(lambda cls, settings, place: given)))], lambda *report: reports.append(report)
    )["PULSE"]

    with pytest.raises(PlatformError):
        kind.routes(None, PLACE)
    assert ["p"] == [plugin for plugin, _ in reports]
