"""Policy documents: which are refused, and what the others allow."""

import itertools
import random
import re
import time
from typing import Any

import pytest

from fgd.auth.actions import ACTIONS, BUILTIN
from fgd.auth.policy import EVERY, Glob, Rights, function_resource, parse_policy
from fgd.errors import BadParameter
from fgd.model import Resource

INVOKE = "functiongraph:function:invoke"
LIST = "functiongraph:function:list"
DELETE = "functiongraph:function:delete"
ALL = Resource("functiongraph", "local", "p1", "function", EVERY)


def statement(effect: str, actions: list[str], *resources: str) -> dict[str, Any]:
    value: dict[str, Any] = {"Effect": effect, "Action": actions}
    if resources:
        value["Resource"] = list(resources)
    return value


def rights(*statements: dict[str, Any]) -> Rights:
    return Rights([parse_policy({"Version": "1.1", "Statement": list(statements)}, "policy", ACTIONS)])


def a_function(name: str, package: str = "default", region: str = "local", project_id: str = "p1") -> Resource:
    return function_resource(region, project_id, package, name)


def test_nothing_is_allowed_by_itself() -> None:
    assert not Rights([]).allows(INVOKE, a_function("f"))
    assert not rights(statement("Allow", [LIST])).allows(INVOKE, a_function("f"))


def test_a_statement_without_resources_is_about_all_of_them() -> None:
    granted = rights(statement("Allow", [INVOKE, LIST]))

    assert granted.allows(INVOKE, a_function("f", "some-app"))
    assert granted.allows(LIST, ALL)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_deny_wins_in_any_order_and_over_several_policies(order: tuple[int, ...]) -> None:
    documents: list[object] = [
        BUILTIN["FunctionGraph FullAccess"],
        {"Version": "1.1", "Statement": [statement("Deny", [DELETE])]},
        {"Version": "1.1", "Statement": [statement("Allow", [DELETE, INVOKE])]},
    ]
    granted = Rights([parse_policy(documents[number], "policy", ACTIONS) for number in order])

    assert not granted.allows(DELETE, a_function("f"))
    assert granted.allows(INVOKE, a_function("f"))


def test_a_deny_of_one_function_leaves_the_others() -> None:
    granted = rights(
        statement("Allow", ["functiongraph:*:*"]),
        statement("Deny", [INVOKE], "FUNCTIONGRAPH:*:*:function:default/pay*"),
    )

    assert not granted.allows(INVOKE, a_function("payroll"))
    assert granted.allows(INVOKE, a_function("hello"))
    assert granted.allows(DELETE, a_function("payroll"))


@pytest.mark.parametrize(
    ("pattern", "package", "name", "expected"),
    [
        ("FUNCTIONGRAPH:*:*:function:default/hello", "default", "hello", True),
        ("FunctionGraph:*:*:Function:default/hello", "default", "hello", True),
        ("FUNCTIONGRAPH:*:*:function:default/hello", "default", "Hello", False),
        ("FUNCTIONGRAPH:*:*:function:default/hello", "default", "hello2", False),
        ("FUNCTIONGRAPH:*:*:function:default/*", "default", "hello", True),
        ("FUNCTIONGRAPH:*:*:function:default/*", "other", "hello", False),
        ("FUNCTIONGRAPH:*:*:function:default/*", "default2", "hello", False),
        ("FUNCTIONGRAPH:*:*:function:*/hello", "other", "hello", True),
        ("FUNCTIONGRAPH:*:*:function:*", "other", "hello", True),
        ("FUNCTIONGRAPH:*:*:*:*", "other", "hello", True),
        ("*", "other", "hello", True),
        ("FUNCTIONGRAPH:local:p1:function:*", "other", "hello", True),
        ("FUNCTIONGRAPH:local:p2:function:*", "other", "hello", False),
        ("FUNCTIONGRAPH:elsewhere:*:function:*", "other", "hello", False),
        ("FUNCTIONGRAPH:*:*:trigger:*", "default", "hello", False),
        ("OBS:*:*:function:*", "default", "hello", False),
        ("FUNCTIONGRAPH:*:*:function:Default/hello", "default", "hello", True),
        ("FUNCTIONGRAPH:*:*:function:Default/hello", "Default", "hello", True),
        ("FUNCTIONGRAPH:*:*:function:default/hello", "Default", "hello", False),
        ("FUNCTIONGRAPH:*:*:function:default/h*l*o", "default", "hello", True),
        ("FUNCTIONGRAPH:*:*:function:default/h*x*o", "default", "hello", False),
    ],
)
def test_resources(pattern: str, package: str, name: str, expected: bool) -> None:
    assert expected == rights(statement("Allow", [INVOKE], pattern)).allows(INVOKE, a_function(name, package))
    everything_but = rights(statement("Allow", [INVOKE]), statement("Deny", [INVOKE], pattern))
    assert expected != everything_but.allows(INVOKE, a_function(name, package))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("FUNCTIONGRAPH:*:*:function:*", True), ("*", True), ("FUNCTIONGRAPH:*:*:function:*/*", True),
     ("FUNCTIONGRAPH:*:*:function:default/*", False), ("FUNCTIONGRAPH:*:*:function:*/hello", False)],
)  # fmt: skip
def test_a_list_needs_a_statement_about_all_functions(pattern: str, expected: bool) -> None:
    assert expected == rights(statement("Allow", [LIST], pattern)).allows(LIST, ALL)


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (INVOKE, {INVOKE}),
        ("FUNCTIONGRAPH:Function:INVOKE", {INVOKE}),
        ("functiongraph:function:invoke*", {INVOKE, INVOKE + "Async"}),
        ("functiongraph:trigger:*", {action for action in ACTIONS if ":trigger:" in action}),
        ("functiongraph:*:list", {action for action in ACTIONS if action.endswith(":list") and action[0] == "f"}),
        ("*:*:*", set(ACTIONS)),
    ],
)
def test_actions(pattern: str, allowed: set[str]) -> None:
    granted = rights(statement("Allow", [pattern]))

    assert allowed == {action for action in ACTIONS if granted.allows(action, a_function("f"))}


def test_a_glob_is_what_a_regular_expression_would_be() -> None:
    dice = random.Random(20)
    for _ in range(4000):
        pattern = "".join(dice.choice("ab*") for _ in range(dice.randrange(7)))
        text = "".join(dice.choice("ab") for _ in range(dice.randrange(8)))
        expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None

        assert expected == Glob.of(pattern).matches(text), (pattern, text)


def test_many_wildcards_cost_no_time() -> None:
    glob = Glob.of("*a" * 60 + "b")
    began_s = time.perf_counter()

    assert not glob.matches("a" * 5000)
    assert time.perf_counter() - began_s < 0.5


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("text", "policy: must be an object"),
        ({}, "policy.Version: must be"),
        ({"Version": "1.0", "Statement": []}, "policy.Version: must be"),
        ({"Version": 1.1, "Statement": []}, "policy.Version: must be"),
        ({"Version": "1.1"}, "policy.Statement: must be a list of 1 to"),
        ({"Version": "1.1", "Statement": []}, "policy.Statement: must be a list of 1 to"),
        ({"Version": "1.1", "Statement": {}}, "policy.Statement: must be a list of 1 to"),
        ({"Version": "1.1", "Statement": [], "Depends": []}, "policy.Depends: there is no such field"),
        ({"Version": "1.1", "Statement": ["x"]}, "policy.Statement[0]: must be an object"),
        ({"Version": "1.1", "Statement": [statement("allow", [LIST])]}, "policy.Statement[0].Effect: must be Allow"),
        (
            {"Version": "1.1", "Statement": [{"Effect": ["Allow"], "Action": [LIST]}]},
            "policy.Statement[0].Effect: must",
        ),
        ({"Version": "1.1", "Statement": [{"Action": [LIST]}]}, "policy.Statement[0].Effect: must be Allow or Deny"),
        ({"Version": "1.1", "Statement": [{"Effect": "Deny"}]}, "policy.Statement[0].Action: must be a list"),
        ({"Version": "1.1", "Statement": [statement("Deny", [])]}, "policy.Statement[0].Action: must be a list"),
        (
            {"Version": "1.1", "Statement": [{"Effect": "Deny", "Action": LIST}]},
            "policy.Statement[0].Action: must be a",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Allow", [LIST]), statement("Deny", [LIST, "functiongraph"])]},
            "policy.Statement[1].Action[1]: must be <service>:<type>:<action>",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Deny", ["*"])]},
            "policy.Statement[0].Action[0]: must be <service>",
        ),
        ({"Version": "1.1", "Statement": [statement("Deny", ["a:b:c:d"])]}, "policy.Statement[0].Action[0]: must be <"),
        (
            {"Version": "1.1", "Statement": [statement("Deny", ["functiongraph:function:invok"])]},
            "policy.Statement[0].Action[0]: functiongraph has no action 'functiongraph:function:invok'; did you mean "
            "functiongraph:function:invoke?",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Deny", ["functiongraph:function:remove"])]},
            "policy.Statement[0].Action[0]: functiongraph has no action 'functiongraph:function:remove'; fgd agencies",
        ),
        ({"Version": "1.1", "Statement": [statement("Deny", ["f*:function:x"])]}, "policy.Statement[0].Action[0]: fun"),
        (
            {"Version": "1.1", "Statement": [statement("Deny", [LIST]) | {"Resource": []}]},
            "policy.Statement[0].Resource: must be a list",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Deny", [LIST]) | {"Resource": "*"}]},
            "policy.Statement[0].Resource: must be a list",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Deny", [LIST], "*", "default/x")]},
            "policy.Statement[0].Resource[1]: must be FUNCTIONGRAPH:",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Deny", [LIST], "urn:fss:*:*:function:*")]},
            "policy.Statement[0].Resource[0]: must be FUNCTIONGRAPH:",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Deny", [LIST], "FUNCTIONGRAPH:*:*:functions:*")]},
            "policy.Statement[0].Resource[0]: the kind must be function or trigger or dependency, not 'functions'",
        ),
        (
            {"Version": "1.1", "Statement": [statement("Allow", [LIST]) | {"Condition": {}}]},
            "policy.Statement[0].Condition: there is no such field",
        ),
        (
            {"Version": "1.1", "Statement": [{"Effect": "Allow", "NotAction": [LIST]}]},
            "policy.Statement[0].NotAction: there is no such field",
        ),
        ({"Version": "1.1", "Statement": [statement("Deny", [LIST])] * 101}, "policy.Statement: must be a list of 1"),
        (
            {"Version": "1.1", "Statement": [statement("Deny", [LIST], "OBS:*:*:bucket:" + "x" * 120)] * 60},
            "policy: must be at most 6144 bytes",
        ),
    ],
)
def test_a_wrong_document_is_refused_with_the_path_of_the_field(document: object, message: str) -> None:
    with pytest.raises(BadParameter) as refused:
        parse_policy(document, "policy", ACTIONS)

    assert str(refused.value).startswith(message)


def test_what_is_said_of_other_services_is_kept_apart() -> None:
    document = {
        "Version": "1.1",
        "Statement": [statement("Allow", ["dws:cluster:list", INVOKE], "DWS:*:*:cluster:*", "FUNCTIONGRAPH:*:*:*:*")],
    }

    assert ("dws:cluster:list", "DWS:*:*:cluster:*") == parse_policy(document, "policy", ACTIONS).ignored


def test_the_guides_third_example_means_what_the_guide_says() -> None:
    actions = (
        "listAlias", "listVersion", "getConfig", "getCode", "updateCode", "invoke", "updateConfig", "createVersion",
        "updateAlias", "createAlias",
    )  # fmt: skip
    granted = rights(
        statement("Allow", [LIST]),
        statement(
            "Allow", [f"functiongraph:function:{name}" for name in actions], "FUNCTIONGRAPH:*:*:function:Default/*"
        ),
    )

    assert granted.allows(LIST, ALL)
    assert all(granted.allows(f"functiongraph:function:{name}", a_function("f")) for name in actions)
    assert not any(granted.allows(f"functiongraph:function:{name}", a_function("f", "app")) for name in actions)
    assert not granted.allows(DELETE, a_function("f"))


@pytest.mark.parametrize(
    ("name", "invokes", "writes", "passes"),
    [
        ("FunctionGraph FullAccess", True, True, True),
        ("FunctionGraph Administrator", True, True, True),
        ("FunctionGraph User", True, True, False),
        ("FunctionGraph CommonOperations", True, False, False),
        ("FunctionGraph Invoker", True, False, False),
        ("FunctionGraph ReadOnlyAccess", False, False, False),
    ],
)
def test_built_in_policies(name: str, invokes: bool, writes: bool, passes: bool) -> None:
    granted = Rights([parse_policy(BUILTIN[name], name, ACTIONS)])
    writing = [a for a in ACTIONS if a.startswith("functiongraph") and a.split(":")[2][:3] not in ("get", "lis", "inv")]

    assert granted.allows("functiongraph:function:getCode", a_function("f"))
    assert {invokes} == {granted.allows(action, a_function("f")) for action in (INVOKE, INVOKE + "Async")}
    assert {writes} == {granted.allows(action, a_function("f")) for action in writing}
    assert passes == granted.allows("iam:agencies:pass", Resource("iam", "local", "p1", "agency", "a"))
