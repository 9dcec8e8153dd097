"""Dependencies when daemons die in the middle of an upload, and the public ones of a folder across restarts."""

import base64
import http.client
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.store.zips import make_zip

LIBRARY = {"library.py": "WORD = 'whole'\n", **{f"data/{number}.txt": "x" * 200 for number in range(2000)}}
HANDLER = "import library\ndef handler(event, context):\n    return library.WORD\n"


def dependencies(api: Client, method: str, rest: str = "", body: Any = None) -> Any:
    answer = api.request(method, f"/v2/{api.project_id}/fgs/dependencies{rest}", body)
    assert answer.status in (200, 204), answer.text
    return answer.json() if answer.status == 200 else None


@pytest.mark.parametrize("moment_s", [0.05, 0.3])
def test_an_upload_that_a_kill_interrupts_is_whole_or_not_there(daemon: DaemonProcess, moment_s: float) -> None:
    archive = make_zip(LIBRARY)
    body = {
        "name": "library", "runtime": "Python3.12", "depend_type": "zip",
        "depend_file": base64.b64encode(archive).decode(),
    }  # fmt: skip
    daemon.start()
    api = daemon.client(daemon.create_keys())

    def upload() -> None:
        with suppress(OSError, http.client.HTTPException, AssertionError):
            dependencies(api, "POST", "/version", body)

    thread = threading.Thread(target=upload)
    thread.start()
    thread.join(moment_s)
    daemon.kill9()
    thread.join()
    api.close()
    assert daemon.wait_gone() == []
    daemon.start()
    found = dependencies(api, "GET")["dependencies"]
    left = list((daemon.state_dir / "tmp").iterdir())
    made = dependencies(api, "POST", "/version", body)
    urn = api.deploy("user", HANDLER, depend_version_list=[made["id"]])
    answer = api.invoke(urn)
    api.close()

    assert [] == left
    assert len(found) + 1 == made["version"]
    assert "whole" == answer.text
    for one in found:
        assert len(archive) == one["size"]


def test_a_function_has_its_dependencies_after_the_daemon_was_killed(daemon: DaemonProcess) -> None:
    daemon.start()
    api = daemon.client(daemon.create_keys())
    body = {
        "name": "library", "runtime": "Python3.12", "depend_type": "zip",
        "depend_file": base64.b64encode(make_zip(LIBRARY)).decode(),
    }  # fmt: skip
    made = dependencies(api, "POST", "/version", body)
    urn = api.deploy("user", HANDLER, depend_version_list=[made["id"]])
    before = api.invoke(urn).text
    api.close()
    daemon.kill9()
    assert daemon.wait_gone() == []
    daemon.start()
    after = api.invoke(urn).text
    refused = api.request("DELETE", f"/v2/{api.project_id}/fgs/dependencies/{made['dep_id']}/version/1")
    api.close()

    assert ("whole", "whole") == (before, after)
    assert (412, "FSS.1033") == (refused.status, refused.error_code)


def test_public_dependencies_are_read_at_the_start_and_on_reload(daemon: DaemonProcess, tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "public"
    (tmp_path / "shared").mkdir(mode=0o700)  # the daemon's account could not pass it by itself
    place = folder / "Python3.12" / "library"
    place.mkdir(parents=True)
    (place / "1.zip").write_bytes(make_zip({"library.py": "WORD = 'public'\n"}))
    daemon.settings["public_dependencies"] = str(folder)
    daemon.start()
    api = daemon.client(daemon.create_keys())

    def versions() -> list[int]:
        found = dependencies(api, "GET", "?dependency_type=public")["dependencies"]
        return [one["version"] for one in found if one["name"] == "library"]

    assert eventually(lambda: versions() == [1])
    (place / "2.zip").write_bytes(make_zip({"library.py": "WORD = 'newer'\n"}))
    daemon.reload()
    assert eventually(lambda: versions() == [2])
    source = daemon.folder / "code"
    source.mkdir()
    (source / "index.py").write_text(HANDLER, "utf-8")
    daemon.cli("deploy", str(source), "--name", "user", "--runtime", "Python3.12", "--dependency", "library:1")
    first = api.invoke("user").text
    refused = daemon.cli("dependency", "delete", "library", check=False)
    listed = daemon.cli("dependency", "list", "--kind", "public").stdout
    (place / "1.zip").unlink()
    api.close()
    assert daemon.stop() == 0
    daemon.start()
    second = api.invoke("user").text
    api.close()

    assert ("public", "public") == (first, second)  # what a function has stays with it
    assert (3, True) == (refused.returncode, "is public" in refused.stderr)
    assert "public" in listed
