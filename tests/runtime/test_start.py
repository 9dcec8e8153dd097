"""Loading the handler, the initializer, the environment, the context."""

import json
import subprocess
from typing import Any

import pytest

from fgd.runtime import RuntimeInstall
from fgd.wire import frames
from tests.runtime.conftest import Spawn
from tests.runtime.harness import REQUEST_ID, Ended, RuntimeProcess

ECHO = "def handler(event, context): return event\n"


def failed_start(process: RuntimeProcess) -> tuple[int, dict[str, Any]]:
    """Code and error JSON of a start that fails; checks that the process ends after it."""
    kind, _, call_id, body = process.next_event()
    assert (frames.ERROR, 0) == (kind, call_id), body
    code, memory_bytes, _ = frames.RESULT_HEAD.unpack_from(body)
    assert memory_bytes > 0
    with pytest.raises(Ended):
        process.receive()
    assert 1 == process.status()
    error: dict[str, Any] = json.loads(body[frames.RESULT_HEAD.size :])
    return code, error


def test_ready_tells_how_long_loading_and_initializing_took(spawn: Spawn) -> None:
    ready = spawn(ECHO).ready()

    assert {"load_us", "init_us", "memory_bytes", "ready_s"} == set(ready)
    assert ready["memory_bytes"] > 0


@pytest.mark.parametrize(
    ("handler", "path"),
    [
        ("index.handler", "index.py"),
        ("src/index.handler", "src/index.py"),
        ("./src/deep/er.handler", "src/deep/er.py"),
        ("src.index.handler", "src/index.py"),
        ("json.handler", "json.py"),
        ("os.handler", "os.py"),
        ("bootstrap.handler", "bootstrap.py"),
        ("test/test.handler", "test/test.py"),
        ("package.handler", "package/__init__.py"),
    ],
)
def test_a_handler_is_found_by_its_place_in_the_code(spawn: Spawn, handler: str, path: str) -> None:
    process = spawn(files={path: ECHO}, handler=handler)
    process.ready()

    assert "here" == process.call("here").body.decode()


def test_relative_imports_work_in_a_real_package(spawn: Spawn) -> None:
    process = spawn(
        files={
            "src/__init__.py": "",
            "src/helper.py": "NAME = 'helper'\n",
            "src/index.py": "from .helper import NAME\ndef handler(event, context): return [NAME, __name__]\n",
        },
        handler="src/index.handler",
    )
    process.ready()

    assert ["helper", "src.index"] == process.call().json


def test_modules_beside_the_handler_and_at_the_code_root_can_be_imported(spawn: Spawn) -> None:
    process = spawn(
        files={
            "src/near.py": "WHERE = 'near'\n",
            "top.py": "WHERE = 'top'\n",
            "src/top.py": "WHERE = 'wrong'\n",
            "src/index.py": "import near, top\ndef handler(event, context): return [near.WHERE, top.WHERE]\n",
        },
        handler="src/index.handler",
    )
    process.ready()

    assert ["near", "top"] == process.call().json


@pytest.mark.parametrize("name", ["json", "threading", "logging", "traceback", "struct", "bootstrap", "channel"])
def test_a_module_of_the_function_wins_over_what_the_runtime_had_loaded(spawn: Spawn, name: str) -> None:
    source = f"import {name} as mine\ndef handler(event, context):\n    return mine.WHOSE if event else 1 / 0\n"
    process = spawn(files={f"{name}.py": "WHOSE = 'mine'\n", "index.py": source})
    process.ready()

    assert b"mine" == process.call(1).body
    assert 4002 == process.call(0).code


def test_a_folder_without_code_hides_no_module_of_the_library(spawn: Spawn) -> None:
    process = spawn(files={"json/data.txt": "", "index.py": "import json\n" + ECHO})
    process.ready()

    assert 1 == process.call(1).json


def test_the_code_root_is_first_and_the_runtime_is_not_on_the_path(spawn: Spawn) -> None:
    process = spawn(
        "import sys\ndef handler(event, context): return [sys.path, 'bootstrap' in sys.modules, __file__]\n"
    )
    process.ready()

    path, bootstrap, file = process.call().json
    root = process.init["env"]["RUNTIME_CODE_ROOT"]
    assert root == path[0]
    assert f"{root}/index.py" == file
    assert not bootstrap
    assert not [item for item in path if item.endswith("runtimes/python") or not item]


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("", "FunctionConfigError", "handler 'handler' not found in module './index.py'"),
        ("handler = 3", "FunctionConfigError", "handler 'handler' in module './index.py' is not callable"),
        ("def handler(event): pass", "FunctionLoadError", "handler expect to have 2 parameters, but received 1"),
        ("def handler(a, b, c): pass", "FunctionLoadError", "handler expect to have 2 parameters, but received 3"),
        ("def handler(): pass", "FunctionLoadError", "handler expect to have 2 parameters, but received 0"),
    ],
)
def test_a_handler_that_cannot_be_called_is_4001(spawn: Spawn, source: str, kind: str, message: str) -> None:
    code, error = failed_start(spawn(source))

    assert 4001 == code
    assert {"errorMessage": f"function entry exception, error: {message}", "errorType": kind} == error


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("other.handler", "FunctionLoadError", "not found module './other.py'"),
        ("src/other.handler", "FunctionLoadError", "not found module './src/other.py'"),
        ("sys.exit", "FunctionLoadError", "not found module './sys.py'"),
        ("handler", "FunctionConfigError", "handler 'handler' is not of the form file.function"),
        ("index.", "FunctionConfigError", "handler 'index.' is not of the form file.function"),
    ],
)
def test_a_handler_that_is_not_there_is_4001(spawn: Spawn, handler: str, kind: str, message: str) -> None:
    code, error = failed_start(spawn(ECHO, handler=handler))

    assert 4001 == code
    assert {"errorMessage": f"function entry exception, error: {message}", "errorType": kind} == error


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("def handler(:", ("SyntaxError",)),
        ("import no_such_module_at_all", ("ImportError", "ModuleNotFoundError")),
        ("raise KeyError('at load')", ("KeyError",)),
        ("import sys; sys.exit(9)", ("SystemExit",)),
    ],
)
def test_code_that_fails_while_it_is_loaded_is_4001(spawn: Spawn, source: str, kinds: tuple[str, ...]) -> None:
    code, error = failed_start(spawn(source))

    assert 4001 == code
    assert error["errorType"] in kinds
    assert error["errorMessage"].startswith("function entry exception, error: ")
    assert not [line for line in error["stackTrace"] if 'index.py"' not in line]


@pytest.mark.parametrize(
    "source",
    [
        "def handler(event, context, more=1): return event",
        "def handler(*all): return all[0]",
        "def handler(event, **rest): return event",
        "class Thing(object):\n    def __call__(self, event, context): return event\nhandler = Thing()",
        "class Thing(object):\n    def run(self, event, context): return event\nhandler = Thing().run",
        "import functools\ndef f(x, event, context): return event\nhandler = functools.partial(f, 1)",
    ],
)
def test_whatever_takes_two_arguments_can_be_a_handler(spawn: Spawn, source: str) -> None:
    process = spawn(source)
    if "**rest" in source:
        assert 4001 == failed_start(process)[0]
        return
    process.ready()

    assert 4 == process.call(4).json


def test_a_callable_object_that_refuses_the_arguments_is_4001(spawn: Spawn) -> None:
    process = spawn("class Thing(object):\n    def __call__(self, event): return event\nhandler = Thing()")
    process.ready()

    answer = process.call(1)
    assert (4001, "FunctionLoadError") == (answer.code, answer.json["errorType"])


def test_a_type_error_inside_the_handler_is_4002(spawn: Spawn) -> None:
    process = spawn("def handler(event, context): return event + 1")
    process.ready()

    answer = process.call("text")
    assert (4002, "TypeError") == (answer.code, answer.json["errorType"])


def test_the_initializer_runs_once_before_the_calls(spawn: Spawn) -> None:
    source = """
        seen = []
        def init(context):
            seen.append(context.getRequestID())
            print("getting ready")
            context.getLogger().warn("nearly")
        def handler(event, context): return seen
    """
    process = spawn(source, initializer="index.init")
    process.ready()

    assert [(0, 0, "getting ready\n"), (0, 30, "nearly\n")] == [(x.call_id, x.level, x.text) for x in process.logs]
    assert ["init"] == process.call().json
    assert ["init"] == process.call().json


def test_an_initializer_without_a_function_name_is_none(spawn: Spawn) -> None:
    process = spawn(ECHO, initializer="index.")

    assert process.ready()


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("def init(context): raise KeyError('k')", "KeyError", "'k'"),
        ("import sys\ndef init(context): sys.exit('bye')", "SystemExit", "bye"),
        ("", "FunctionConfigError", "handler 'init' not found in module './index.py'"),
        ("def init(): pass", "FunctionLoadError", "initializer expect to have 1 parameter, but received 0"),
    ],
)
def test_an_initializer_that_fails_is_4009(spawn: Spawn, source: str, kind: str, message: str) -> None:
    code, error = failed_start(spawn(ECHO + source, initializer="index.init"))

    assert 4009 == code
    assert f"function initialization exception, error: {message}" == error["errorMessage"]
    assert kind == error["errorType"]
    assert ("stackTrace" in error) == (not kind.startswith("Function"))


def test_output_before_a_failed_start_is_sent(spawn: Spawn) -> None:
    process = spawn("import sys\nprint('one')\nsys.stdout.write('half')\nraise ValueError('x')")
    failed_start(process)

    assert ["one\n", "half\n"] == [log.text for log in process.logs]


def test_the_environment_is_exactly_what_init_says(spawn: Spawn) -> None:
    source = """
        import os, time
        def handler(event, context):
            return [dict(os.environ), time.strftime("%Z")]
    """
    env = {"A": "caf\u00e9", "TZ": "UTC", "RUNTIME_FUNC_NAME": "echo"}
    process = spawn(source, env=env)
    process.ready()

    environ, zone = process.call().json
    environ.pop("LD_LIBRARY_PATH", None)
    assert process.init["env"] == environ
    assert "UTC" == zone


def test_a_variable_that_no_process_can_have_is_left_out(spawn: Spawn) -> None:
    process = spawn("import os\ndef handler(e, c): return sorted(os.environ)", env={"N": "a\0b", "X=Y": "1", "": "2"})
    process.ready()

    assert "N" not in process.call().json


CONTEXT = """
    def handler(event, context):
        before = context.getRemainingTimeInMilliSeconds()
        context.set_state({"n": 1})
        context.mine = 3
        return {
            "strings": [
                context.getRequestID(), context.getFunctionName(), context.getVersion(), context.getPackage(),
                context.getProjectID(), context.getAlias(), context.get_instance_id(), context.get_invoke_id(),
            ],
            "secrets": [
                context.getAccessKey(), context.getSecretKey(), context.getSecurityAccessKey(),
                context.getSecuritySecretKey(), context.getSecurityToken(), context.getToken(),
            ],
            "more": [
                context.getWorkflowID(), context.getWorkflowRunID(), context.getWorkflowStateID(),
                context.get_trace_id(), context.get_invoke_property(), context.getInvokeType(),
            ],
            "numbers": [
                context.getMemorySize(), context.getCPUNumber(), context.getRunningTimeInSeconds(),
                context.getRunningTimeInSeconds(),
            ],
            "types": [type(context.getRequestID()) is str, type(context.getMemorySize()) is int],
            "remaining": before,
            "data": [context.getUserData("color"), context.getUserData("no"), context.getUserData("no", "default")],
            "state": context.get_state(),
        }
"""


def test_the_context_has_every_value(spawn: Spawn) -> None:
    extras = {
        "alias": "!prod", "access_key": "AK", "secret_key": "SK", "security_access_key": "SAK",
        "security_secret_key": "SSK", "security_token": "ST", "auth_token": "AT", "invoke_type": "async",
        "workflow_id": "w", "workflow_run_id": "wr", "workflow_state_id": "ws", "trace_id": "t",
    }  # fmt: skip
    process = spawn(CONTEXT)
    process.ready()

    value = process.call(extras=extras).json
    assert [REQUEST_ID, "echo", "latest", "default", "p" * 32, "!prod", "i-1", REQUEST_ID] == value["strings"]
    assert ["AK", "SK", "SAK", "SSK", "ST", "AT"] == value["secrets"]
    assert ["w", "wr", "ws", "t", "", "async"] == value["more"]
    assert [128, 300, 10000, 10000] == value["numbers"]
    assert [True, True] == value["types"]
    assert 0 < value["remaining"] <= 10000
    assert ["blue", None, "default"] == value["data"]
    assert {"n": 1} == value["state"]


def test_without_an_agency_credentials_are_empty_strings(spawn: Spawn) -> None:
    process = spawn(CONTEXT)
    process.ready()

    assert [""] * 6 == process.call().json["secrets"]


def test_remaining_time_may_become_negative(spawn: Spawn) -> None:
    process = spawn("def handler(event, context): return context.getRemainingTimeInMilliSeconds()")
    process.ready()

    assert process.call(timeout_s=-5).json <= -4000


def test_a_call_that_came_along_with_init_has_its_whole_time_from_its_beginning(spawn: Spawn) -> None:
    process = spawn("def handler(event, context): return context.getRemainingTimeInMilliSeconds()", timeout_s=7)
    process.ready()

    assert 6000 < process.call(timeout_s=0).json <= 7000


def test_the_end_of_loading_is_told_where_an_initializer_follows(spawn: Spawn) -> None:
    plain = spawn("def handler(event, context): return 1")
    plain.ready()
    both = spawn("def init(context): pass\ndef handler(event, context): return 1", initializer="index.init")
    both.ready()

    assert (False, True) == (plain.loaded, both.loaded)


def test_the_running_time_trap_is_logged_once(spawn: Spawn) -> None:
    process = spawn("def handler(event, context): return context.getRunningTimeInSeconds()")
    process.ready()
    process.call()
    process.call()

    assert [(1, 30)] == [(log.call_id, log.level) for log in process.logs]
    assert "milliseconds" in process.logs[0].text


def test_warming_up_leaves_nothing_behind(install: RuntimeInstall) -> None:
    source = (
        "import os, sys; sys.path.insert(0, os.environ.pop('FOLDER')); import bootstrap; bootstrap.preload();"
        " state = lambda: (dict(os.environ), sys.path[:], sorted(sys.modules), os.listdir('/proc/self/fd'));"
        " before = state(); bootstrap.warm_up(); assert before == state()"
    )
    library = {"LD_LIBRARY_PATH": str(install.prefix / "lib")} if install.library_path else {}
    command = [str(install.executable), "-E", "-s", "-B", "-c", source]
    done = subprocess.run(
        command,
        env={"FOLDER": str(install.runtime_dir), "LC_ALL": "C.UTF-8", **library},
        capture_output=True,
        text=True,
    )

    assert ("", 0) == (done.stderr, done.returncode)
