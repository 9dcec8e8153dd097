"""What user code does wrong is told to the caller, and the next request is answered right."""

import json
from collections.abc import Callable, Iterator

import pytest

from fgd.testing.client import Answer, Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.sources import BAD_INITIALIZER


def failure(answer: Answer) -> tuple[str, dict[str, object]]:
    """Code and error JSON of an answer in which the function failed."""
    assert answer.status == 200, answer.text
    assert answer.headers["x-is-func-err"] == "true"
    return answer.headers["x-func-err-code"], answer.json()


@pytest.fixture(autouse=True)
def next_call_is_right(request: pytest.FixtureRequest, api: Client) -> Iterator[None]:
    """Whatever a test did to the actor, afterwards it works."""
    actor = request.getfixturevalue("actor") if "actor" in request.fixturenames else ""
    yield
    if actor:
        assert api.invoke(actor, {"do": "text", "text": "fine"}).text == "fine"


def test_exception_gives_message_type_and_stack(api: Client, actor: str) -> None:
    code, error = failure(api.invoke(actor, {"do": "raise", "text": "broken ✗"}))

    assert code == "4002"
    assert "broken ✗" in str(error["errorMessage"])
    assert error["errorType"] == "Odd"
    assert any("index.py" in str(line) for line in error["stackTrace"])  # type: ignore[attr-defined]
    assert api.invoke(actor).json()["count"] > 1, "an exception must not cost the instance"


def test_exception_under_version_1_has_status_500(api: Client, actor: str) -> None:
    body = api.invoke(actor, {"do": "raise", "text": "broken"}, X_CFF_Request_Version="v1").json()

    assert body["status"] == 500
    assert "broken" in json.loads(body["result"])["errorMessage"]


@pytest.mark.parametrize(
    ("source", "code"),
    [("import nothing_like_this\n", "4001"), ("def other(event, context):\n    pass\n", "4001"),
     ("def handler(:\n", "4001"), ("raise ValueError('at import')\n", "4001"), ("import sys\nsys.exit(3)\n", "4001")],
)  # fmt: skip
def test_code_that_cannot_be_loaded(api: Client, deploy: Callable[..., str], source: str, code: str) -> None:
    found, error = failure(api.invoke(deploy(source)))

    assert found == code
    assert error["errorMessage"]


def test_result_that_is_no_json(api: Client, actor: str) -> None:
    code, error = failure(api.invoke(actor, {"do": "set"}))

    assert code == "4007"
    assert "function result is invalid" in str(error["errorMessage"])


def test_result_of_6_mib_passes_and_one_more_byte_does_not(api: Client, actor: str) -> None:
    limit = 6 * 2**20
    assert len(api.invoke(actor, {"do": "big", "bytes": limit}).body) == limit

    answer = api.invoke(actor, {"do": "big", "bytes": limit + 1})
    assert answer.headers["x-func-err-code"] == "4004"
    assert len(answer.body) < 1000


def test_timeout_is_told_and_the_process_is_gone(api: Client, deploy: Callable[..., str]) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(event['s'])\n    return 'slept'\n"
    urn = deploy(source, timeout=3)
    code, error = failure(api.invoke(urn, {"s": 30}))

    assert code == "4010"
    assert "timed out" in str(error["errorMessage"])
    assert api.invoke(urn, {"s": 0}).text == "slept"


def test_timeout_ends_what_ignores_signals_and_exceptions(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    source = (
        "import signal, subprocess, sys, time\n"
        "def handler(event, context):\n"
        "    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):\n"
        "        signal.signal(number, signal.SIG_IGN)\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'], start_new_session=True)\n"
        "    while True:\n"
        "        try:\n"
        "            time.sleep(0.2)\n"
        "        except BaseException:\n"
        "            pass\n"
    )
    before = {one.pid for one in daemon.instances()}
    code, _ = failure(api.invoke(deploy(source, timeout=3)))

    assert code == "4010"
    assert eventually(lambda: not {one.pid for one in daemon.instances()} - before, 3.0)


def test_memory_over_the_limit_kills_the_instance_not_the_daemon(api: Client, actor: str) -> None:
    code, error = failure(api.invoke(actor, {"do": "eat"}))

    assert code == "4205"
    assert "memory" in str(error["errorMessage"])


@pytest.mark.parametrize(
    "event",
    [{"do": "exit"}, {"do": "exit", "code": 0}, {"do": "segfault"}, {"do": "abort"}],
    ids=lambda e: str(e["do"]),
)
def test_process_that_ends_itself(api: Client, actor: str, event: dict[str, object]) -> None:
    code, error = failure(api.invoke(actor, event))

    assert code == "4206"
    assert error["errorMessage"]


def test_sys_exit_is_an_error_of_the_function(api: Client, actor: str) -> None:
    code, _ = failure(api.invoke(actor, {"do": "sys.exit"}))

    assert code in ("4002", "4206")


@pytest.mark.parametrize("kind", ["flood", "raw-flood"])
def test_flood_of_output_is_cut_and_said(api: Client, actor: str, kind: str) -> None:
    answer = api.invoke(actor, {"do": kind, "lines": 20000}, X_Cff_Log_Type="tail")

    assert answer.status == 200
    assert len(answer.log.encode()) <= 2000


def test_failing_initializer(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(BAD_INITIALIZER, initializer_handler="index.init", initializer_timeout=5)
    code, error = failure(api.invoke(urn))

    assert code in ("4009", "4201")
    assert "the database is away" in str(error["errorMessage"])


def test_initializer_that_hangs(api: Client, deploy: Callable[..., str]) -> None:
    source = "import time\ndef init(context):\n    time.sleep(60)\ndef handler(event, context):\n    return 1\n"
    urn = deploy(source, initializer_handler="index.init", initializer_timeout=1)
    code, error = failure(api.invoke(urn))

    assert code == "4211"
    assert "timed out" in str(error["errorMessage"])


def test_fork_bomb_stays_inside(api: Client, deploy: Callable[..., str]) -> None:
    source = (
        "import os, time\n"
        "def handler(event, context):\n"
        "    made = 0\n"
        "    try:\n"
        "        while made < 3000:\n"
        "            if os.fork() == 0:\n"
        "                time.sleep(60)\n"
        "                os._exit(0)\n"
        "            made += 1\n"
        "    except OSError as error:\n"
        "        return {'made': made, 'errno': error.errno}\n"
        "    return {'made': made}\n"
    )
    answer = api.invoke(deploy(source, memory_size=1024, timeout=20))

    made = answer.json()
    assert made["errno"] == 11
    assert made["made"] < 1024
