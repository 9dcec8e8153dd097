"""A client with credentials of one project learns and changes nothing of another, by any operation."""

import re

import pytest

from fgd.api.operation import Access
from fgd.api.table import OPERATIONS
from fgd.testing.client import Answer, Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.security.hostile import ECHO

#: Waits long enough that a test can look at it.
SLOW = "import time\ndef handler(event, context):\n    time.sleep(20)\n"
_SEGMENT = re.compile(r"\{(\w+)\}")
_URNS = ("function_urn", "func_urn", "resource_id")
OF_FUNCTIONS = [one for one in OPERATIONS if any(f"{{{name}}}" in one.path for name in _URNS)]


@pytest.fixture(scope="module")
def secret(daemon: DaemonProcess, victim_keys: Keys) -> str:
    """URN of the victim's function, whose name is a secret as well."""
    client = daemon.client(victim_keys)
    urn = client.deploy(
        "treasure", "def handler(event, context):\n    print('gold')\n    return event\n",
        user_data='{"password":"hunter2"}',
    )  # fmt: skip
    assert client.invoke(urn, {}).status == 200
    client.close()
    return urn


def ask(client: Client, method: str, template: str, project: str, urn: str) -> Answer:
    """One operation with a path filled in."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name == "project_id":
            return project
        if name in _URNS:
            return urn
        return {"resource_type": "functions", "state": "true"}.get(name, "x")

    path = _SEGMENT.sub(fill, template)
    return client.request(method, path, None if method in ("GET", "DELETE") else {})


def same(one: Answer, other: Answer) -> bool:
    def shape(answer: Answer) -> tuple[int, str]:
        return answer.status, answer.error_code

    return shape(one) == shape(other)


@pytest.mark.parametrize("operation", OF_FUNCTIONS, ids=lambda one: one.name)
def test_every_operation_on_a_function_refuses_another_projects(
    attacker: Client, victim: Client, secret: str, operation: object
) -> None:
    method, path, access = (getattr(operation, name) for name in ("method", "path", "access"))
    before = victim.functions("GET", f"/{secret}/config").json()
    missing = secret.replace("treasure", "nothing")
    ways = [("attacker", secret, missing)]
    if access is Access.PROJECT:
        ways += [
            ("victim", secret, missing),
            ("victim", "treasure", "nothing"),
            ("victim", "default:treasure", "default:nothing"),
        ]
    for project, there, not_there in ways:
        found = ask(attacker, method, path, project, there)
        if not getattr(operation, "built"):  # noqa: B009  # `operation` is any row
            assert found.status in (403, 501)
            continue

        assert (found.status, found.error_code) == (403, "FSS.0403"), (project, there, found.text)
        # Nobody learns which functions another project has.
        assert same(found, ask(attacker, method, path, project, not_there))
        assert "hunter2" not in found.text
        assert "gold" not in found.text
    assert victim.functions("GET", f"/{secret}/config").json() == before


def test_lists_hold_nothing_of_others(attacker: Client, secret: str) -> None:
    attacker.deploy("mine", ECHO)
    for operation in OPERATIONS:
        if operation.method != "GET" or any(f"{{{name}}}" in operation.path for name in _URNS):
            continue
        answer = ask(attacker, "GET", operation.path, "attacker", "")
        if operation.name in ("list_traces", "list_audit"):
            # What the caller asked for and was refused is its own record, and names what it asked for.
            named = [one for one in answer.json()["traces"] if "treasure" in str(one) or "victim" in str(one)]
            assert all(one["trace_rating"] != "normal" for one in named), operation.name
        else:
            assert "treasure" not in answer.text, operation.name
            assert "victim" not in answer.text, operation.name
        other = ask(attacker, "GET", operation.path, "victim", "")
        if "{project_id}" in operation.path:
            assert other.status == 403, operation.name


def test_metrics_name_the_functions_of_the_caller_alone(
    daemon: DaemonProcess, attacker: Client, victim: Client, secret: str
) -> None:
    urn = attacker.deploy("counted", ECHO)
    attacker.invoke(urn)

    assert eventually(lambda: 'function="counted"' in attacker.request("GET", "/metrics").text)
    assert eventually(lambda: 'function="treasure"' in victim.request("GET", "/metrics").text)
    assert "treasure" not in attacker.request("GET", "/metrics").text
    assert "counted" not in victim.request("GET", "/metrics").text
    everything = daemon.admin("GET", "/metrics").text
    assert "counted" in everything
    assert "treasure" in everything


def test_nobody_but_the_operator_learns_where_things_lie(daemon: DaemonProcess, attacker: Client) -> None:
    shown = attacker.request("GET", "/fgd/v1/runtimes").json()["runtimes"]

    assert shown
    assert not any("/" in str(one) for one in shown.values())
    assert "/" in daemon.admin("GET", "/fgd/v1/runtimes").text
    for path in ("/fgd/v1/status", "/fgd/v1/doctor", "/fgd/v1/keys"):
        assert attacker.request("GET", path).status == 403


def test_an_event_of_another_project_is_neither_seen_nor_cancelled(attacker: Client, victim: Client) -> None:
    theirs = victim.deploy("slow", SLOW, timeout=30)
    mine = attacker.deploy("canceller", ECHO)
    request_id = victim.enqueue(theirs).json()["request_id"]

    for path in ("async-invocations", "active-async-invocations"):
        seen = attacker.functions("GET", f"/{mine}/{path}?request_id={request_id}&requests={request_id}")
        assert request_id not in seen.text
    for kind in ("force", "recursive"):
        cancelled = attacker.functions("POST", f"/{mine}/cancel", {"request_id": request_id, "type": kind})
        assert cancelled.status == 404, cancelled.text
    logs = attacker.request("GET", f"/fgd/v1/functions/{mine}/logs?request_id={request_id}")
    assert logs.json()["lines"] == []
    assert victim.functions("POST", f"/{theirs}/cancel", {"request_id": request_id, "type": "force"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Fgd-Peer": "root"}, {"x_fgd_peer": "root"}, {"X-Fgd_Peer": "root"}, {"X-Project-Id": "victim"},
        {"X-Domain-Id": "victim"}, {"Connection": "X-Auth-Token"},
    ],
)  # fmt: skip
def test_no_header_makes_an_administrator(attacker: Client, headers: dict[str, str]) -> None:
    assert attacker.request("GET", "/fgd/v1/keys", headers=headers).status in (401, 403)
    assert attacker.request("GET", "/v2/victim/fgs/functions", headers=headers).status in (401, 403)


@pytest.mark.parametrize(
    "handler",
    ["../x.handler", "/etc/passwd.h", "a/../../x.handler", "./x.handler", "a//b.handler", "..handler", "a\\b.c",
     ".hidden.handler", "a/.ssh/id.handler", "x.handler\n", "x.__class__.y()", "x.\0"],
)  # fmt: skip
def test_a_handler_names_a_file_of_the_package_alone(attacker: Client, handler: str) -> None:
    body = {
        "func_name": "paths", "package": "default", "runtime": "Python3.12", "timeout": 3, "handler": handler,
        "memory_size": 128, "code_type": "inline", "func_code": {"file": "eD0xCg=="},
    }  # fmt: skip

    assert attacker.functions("POST", body=body).status == 400


def test_variables_of_the_loader_matter_to_the_function_alone(attacker: Client) -> None:
    names = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "GCONV_PATH",
             "PYTHONINSPECT", "PATH", "HOME", "IFS", "BASH_ENV", "MALLOC_CHECK_", "TZ")  # fmt: skip
    data = "{" + ",".join(f'"{name}":"/opt/function/code/evil.so"' for name in names) + "}"
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return [os.getuid(), [x for x in lines if x[:3] in ('Cap', 'NoN', 'Sec')], os.environ['LD_PRELOAD']]\n"
    )
    urn = attacker.deploy("variables", source, user_data=data)

    uid, lines, seen = attacker.invoke(urn).json()

    assert uid == 1003
    assert seen == "/opt/function/code/evil.so"
    fields = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert {value for name, value in fields.items() if name.startswith("Cap")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
