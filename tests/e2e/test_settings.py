"""Variables, initializer and limits of a function."""

import json
from collections.abc import Callable

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.sources import ACTOR, INITIALIZED


def test_preset_environment(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ACTOR, memory_size=256, timeout=7)
    names = ["RUNTIME_FUNC_NAME", "RUNTIME_FUNC_VERSION", "RUNTIME_TIMEOUT", "RUNTIME_MEMORY", "RUNTIME_CPU",
             "RUNTIME_PROJECT_ID", "RUNTIME_CODE_ROOT", "RUNTIME_HANDLER", "RUNTIME_PACKAGE"]  # fmt: skip
    found = api.invoke(urn, {"do": "env", "names": names}).json()

    assert found == {
        "RUNTIME_FUNC_NAME": urn.split(":")[6], "RUNTIME_FUNC_VERSION": "latest", "RUNTIME_TIMEOUT": "7",
        "RUNTIME_MEMORY": "256", "RUNTIME_CPU": "400", "RUNTIME_PROJECT_ID": api.project_id,
        "RUNTIME_CODE_ROOT": "/opt/function/code", "RUNTIME_HANDLER": "index.handler", "RUNTIME_PACKAGE": "default",
    }  # fmt: skip


def test_user_data_is_read_and_changes_with_the_configuration(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ACTOR, user_data=json.dumps({"colour": "green", "size": "7"}))
    ask = {"do": "user-data", "names": ["colour", "size", "unset"]}
    assert api.invoke(urn, ask).json() == {"colour": "green", "size": "7", "unset": None}
    assert api.invoke(urn, {"do": "env", "names": ["colour"]}).json() == {"colour": "green"}

    assert api.configure(urn, user_data=json.dumps({"colour": "red"})).status == 200
    assert api.invoke(urn, ask).json() == {"colour": "red", "size": None, "unset": None}


def test_encrypted_user_data_reaches_the_function_and_nothing_else(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    secret = "sesame-9f3c21"
    urn = deploy(ACTOR, encrypted_user_data=json.dumps({"password": secret}))

    assert api.invoke(urn, {"do": "user-data", "names": ["password"]}).json() == {"password": secret}
    assert secret not in api.functions("GET", f"/{urn}/config").text
    files = [path for path in daemon.state_dir.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert secret not in daemon.log_file.read_text("utf-8")


def test_initializer_runs_once_per_instance(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(INITIALIZED, initializer_handler="index.init", initializer_timeout=5)
    name = urn.split(":")[6]

    assert api.invoke(urn).json() == [name]
    assert api.invoke(urn).json() == [name]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [("func_name", "-x", "FSS.1002"), ("func_name", "x" * 61, "FSS.1002"), ("runtime", "Cobol85", "FSS.1005"),
     ("memory_size", 100, "FSS.1007"), ("timeout", 2, "FSS.1008"), ("timeout", 259201, "FSS.1008"),
     ("handler", "nodot", "FSS.1003"), ("user_data", "[1]", "FSS.1009"), ("user_data", '{"1x":"a"}', "FSS.1009"),
     ("description", "d" * 513, "FSS.1019"), ("code_type", "floppy", "FSS.1006"),
     ("initializer_timeout", 301, "FSS.1405")],
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(api: Client, name: str, field: str, value: object, code: str) -> None:
    body = {"func_name": name, "package": "default", "runtime": "Python3.12", "timeout": 10, "handler": "index.handler",
            "memory_size": 128, "code_type": "inline", "func_code": {"file": "cHJpbnQoMSkK"},
            "initializer_handler": "index.init", "initializer_timeout": 5}  # fmt: skip
    answer = api.functions("POST", body=body | {field: value})

    assert answer.status == 400, answer.text
    assert answer.error_code == code
    assert answer.json()["error_msg"].startswith(field)
    assert api.functions("GET", f"/{name}/config").status == 404


@pytest.mark.parametrize("file", ["bm90IGEgemlw", "UEsDBAoAAAA", "%%%"])
def test_broken_archive_is_refused_and_nothing_is_left(
    api: Client, daemon: DaemonProcess, name: str, file: str
) -> None:
    body = {"func_name": name, "package": "default", "runtime": "Python3.12", "timeout": 10, "handler": "index.handler",
            "memory_size": 128, "code_type": "zip", "code_filename": "index.zip",
            "func_code": {"file": file}}  # fmt: skip
    answer = api.functions("POST", body=body)

    assert answer.status == 400
    assert answer.error_code in ("FSS.1011", "FSS.1013")
    assert api.functions("GET", f"/{name}/config").status == 404
    assert eventually(lambda: not list((daemon.state_dir / "tmp").glob("*")), 3.0)


def test_second_function_of_the_same_name_is_a_conflict(api: Client, deploy: Callable[..., str]) -> None:
    name = deploy(ACTOR).split(":")[6]
    body = {"func_name": name, "package": "default", "runtime": "Python3.12", "timeout": 10, "handler": "index.handler",
            "memory_size": 128, "code_type": "inline", "func_code": {"file": "cHJpbnQoMSkK"}}  # fmt: skip
    answer = api.functions("POST", body=body)

    assert (answer.status, answer.error_code) == (409, "FSS.1061")


def test_disk_of_an_instance_is_limited_in_bytes_and_files(api: Client, deploy: Callable[..., str]) -> None:
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    made = 0\n"
        "    try:\n"
        "        for made in range(200000):\n"
        "            open('/tmp/%d' % made, 'w').close()\n"
        "    except OSError as error:\n"
        "        return {'made': made, 'errno': error.errno}\n"
        "    return {'made': made}\n"
    )
    made = api.invoke(deploy(source, memory_size=1024, timeout=60)).json()

    assert made.get("errno") == 28
    assert made["made"] <= 65536


def test_code_and_system_are_read_only(api: Client, deploy: Callable[..., str]) -> None:
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    found = {}\n"
        "    for path in ('/opt/function/code/x', '/usr/x', '/etc/x', '/x', '/home/snuser/runtime/x', '/opt/x'):\n"
        "        try:\n"
        "            open(path, 'w')\n"
        "            found[path] = 'written'\n"
        "        except OSError as error:\n"
        "            found[path] = error.errno\n"
        "    return found\n"
    )
    found = api.invoke(deploy(source)).json()

    assert set(found.values()) <= {2, 13, 30}, found
