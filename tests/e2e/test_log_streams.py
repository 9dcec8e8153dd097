"""Log streams and the audit log with a whole daemon: functions write, triggers read, the command shows."""

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.sources import ECHO

SAYING = """
def handler(event, context):
    print("said", event["word"])
    return "done"
"""
#: Prints the messages of the lines of its event.
READING = """
import base64, json
def handler(event, context):
    document = json.loads(base64.b64decode(event["lts"]["data"]))
    for line in json.loads(document["logs"]):
        print("read:", line["message"])
"""
NOTING = """
def handler(event, context):
    print("noted:", event["cts"]["trace_name"], event["cts"]["resource_name"])
"""


def stream(daemon: DaemonProcess, name: str) -> tuple[str, str]:
    """Ids of a new group and of a stream of it, both made by the command."""
    group = json.loads(daemon.cli("lts", "groups", name, "--create", "--days", "2", "--json").stdout)["log_group_id"]
    made = json.loads(daemon.cli("lts", "streams", name, "lines", "--create", "--json").stdout)["log_stream_id"]
    return group, made


def lines(daemon: DaemonProcess, where: str) -> list[str]:
    return daemon.cli("lts", "read", where, "--limit", "1000").stdout.splitlines()


def printed(daemon: DaemonProcess, urn: str, word: str) -> list[str]:
    """What a function printed after a word."""
    answer = daemon.cli("logs", urn, "--match", word, "--limit", "5000").stdout
    return [line.partition(f"{word}: ")[2] for line in answer.splitlines() if f"{word}: " in line]


def test_a_functions_log_goes_into_its_stream_and_from_there_into_another_function(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    group_id, stream_id = stream(daemon, "e2e-chosen")
    saying, reading = deploy(SAYING), deploy(READING)
    daemon.cli("functions", "update", saying, "--log-stream", "e2e-chosen/lines")
    daemon.cli(
        "triggers", "create", reading, "LTS", "--set", f"log_group_id={group_id}", "--set",
        f"log_topic_id={stream_id}", "--set", "batch_interval_ms=100",
    )  # fmt: skip
    api.invoke(saying, {"word": "hello"})

    assert eventually(lambda: any("said hello" in line for line in lines(daemon, "e2e-chosen/lines")), 10)
    found = lines(daemon, "e2e-chosen/lines")
    assert any("Start invoke request" in line for line in found)
    assert any("Finish invoke request" in line for line in found)
    assert eventually(lambda: any("said hello" in one for one in printed(daemon, reading, "read")), 10)
    assert "log stream" in daemon.cli("functions", "show", saying).stdout


def test_a_function_reads_the_own_stream_of_another(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    saying, reading = deploy(SAYING), deploy(READING)
    detail = api.functions("GET", f"/{saying}/lts-log-detail").json()
    body = {
        "trigger_type_code": "LTS",
        "event_data": {
            "log_group_id": detail["group_id"], "log_topic_id": detail["stream_id"], "batch_interval_ms": 0,
        },
    }  # fmt: skip
    made = api.request("POST", f"/v2/{api.project_id}/fgs/triggers/{reading}", body)
    assert 201 == made.status, made.text
    api.invoke(saying, {"word": "direct"})

    assert eventually(lambda: any("said direct" in one for one in printed(daemon, reading, "read")), 10)


def test_lines_of_a_file_come_in_and_out(daemon: DaemonProcess, tmp_path: Path) -> None:
    stream(daemon, "e2e-file")
    (tmp_path / "many.log").write_text("".join(f"line {number}\n" for number in range(25_000)), "utf-8")
    sent = daemon.cli("lts", "ingest", "e2e-file/lines", str(tmp_path / "many.log")).stdout
    answer = json.loads(
        daemon.cli("lts", "read", "e2e-file/lines", "--after", "0", "--limit", "10000", "--json").stdout
    )
    listed = daemon.cli("lts", "streams", "e2e-file").stdout

    assert "25000 lines\n" == sent
    assert [f"line {number}" for number in range(10_000)] == [one["message"] for one in answer["lines"]]
    assert "line 24999" in lines(daemon, "e2e-file/lines")[-1]
    assert "lines" in listed
    daemon.cli("lts", "groups", "e2e-file", "--delete")
    assert 2 == daemon.cli("lts", "read", "e2e-file/lines", check=False).returncode


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_the_audit_log_is_shown_and_exported(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str], tmp_path: Path, suffix: str
) -> None:
    urn = deploy(ECHO, description="=HYPERLINK(1)")
    name = urn.split(":")[-2] if urn.endswith(":latest") else urn.split(":")[-1]
    shown = daemon.cli("audit", "--resource", name).stdout
    path = tmp_path / f"traces.{suffix}"
    daemon.cli("audit", "--resource", name, "--since", "1h", "--export", str(path))
    [trace] = json.loads(daemon.cli("audit", "--resource", name, "--json").stdout)["traces"]

    assert "createFunction" in shown
    assert "127.0.0.1" == trace["source_ip"]
    if suffix == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    else:
        rows = _sheet(path)
    assert ["Trace Name", "createFunction"] == [row[0] for row in rows]
    assert name == rows[1][4]
    assert name == json.loads(rows[1][11])["func_name"]


def _sheet(path: Path) -> list[list[str]]:
    space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(path) as archive:
        for part in archive.namelist():
            ElementTree.fromstring(archive.read(part))
        root = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    return [["".join(cell.itertext()) for cell in row.findall("m:c", space)] for row in root.findall(".//m:row", space)]


def test_an_operation_invokes_a_function(api: Client, daemon: DaemonProcess, deploy: Callable[..., str]) -> None:
    noting = deploy(NOTING)
    daemon.cli(
        "triggers", "create", noting, "CTS", "--set", "name=watch", "--set",
        'operations=["FunctionGraph:Functions:createFunction;deleteFunction"]',
    )  # fmt: skip
    other = api.deploy("e2e-noted", ECHO)
    api.functions("DELETE", f"/{other.rpartition(':')[0]}")

    def noted() -> list[str]:
        return [one for one in printed(daemon, noting, "noted") if one.endswith(" e2e-noted")]

    assert eventually(lambda: ["createFunction e2e-noted", "deleteFunction e2e-noted"] == noted(), 10)
