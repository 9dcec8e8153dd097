"""Dependencies as a user has them: built on the node, deployed beside code, imported by functions."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from tests.e2e.packages import npm_package, source_package, wheel

HANDLER = """\
import greeting
def handler(event, context):
    import helper
    return [greeting.words(), greeting.__file__, helper.__file__]
"""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which pip takes packages, and from nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for variable, value in {
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder),
        "BUILD_MARK": str(tmp_path / "built"), "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_CACHE_DIR": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    return folder


@pytest.fixture
def deployed(daemon: DaemonProcess, tmp_path: Path, name: str) -> Iterator[Callable[..., str]]:
    """Deploys source by the command; gives the function's name."""
    made: list[str] = []

    def run(source: str, *options: str) -> str:
        folder = tmp_path / "code"
        folder.mkdir(exist_ok=True)
        (folder / "index.py").write_text(source, "utf-8")
        daemon.cli("deploy", str(folder), "--name", name, "--runtime", "Python3.12", *options)
        made.append(name)
        return name

    yield run
    if made:
        daemon.cli("functions", "delete", name, check=False)


def called(daemon: DaemonProcess, name: str) -> Any:
    return json.loads(daemon.cli("invoke", name).stdout)


def names_of(archive: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.namelist()


def test_a_dependency_built_on_the_node_is_imported_as_if_it_lay_beside_the_code(
    daemon: DaemonProcess, deployed: Callable[..., str], index: Path, tmp_path: Path, name: str
) -> None:
    wheel(index, "greeting", "1.0", "import helper\ndef words():\n    return helper.WORD + ' world'\n", "helper")
    wheel(index, "helper", "2.0", "WORD = 'hello'\n")
    (tmp_path / "requirements.txt").write_text("greeting==1.0\n", "utf-8")
    build = ("dependency", "build", name, "-r", str(tmp_path / "requirements.txt"), "--runtime", "Python3.12")
    built = daemon.cli(*build, "--description", "for tests")
    again = daemon.cli(*build, "--json")
    etags = {
        one["etag"] for one in json.loads(daemon.cli("dependency", "versions", name, "--json").stdout)["dependencies"]
    }
    deployed(HANDLER, "--dependency", f"{name}:1")
    answer = called(daemon, name)
    shown = daemon.cli("functions", "show", name).stdout
    refused = daemon.cli("dependency", "delete", name, check=False)

    assert f"stored {name}:1 (Python3.12" in built.stdout
    assert "greeting" in built.stderr  # pip's own words, as they come
    assert 2 == json.loads(again.stdout)["version"]
    assert 1 == len(etags)  # the same packages make the same bytes
    assert ["hello world", "/opt/function/code/greeting.py", "/opt/function/code/helper.py"] == answer
    assert f"{name}:1" in shown
    assert 3 == refused.returncode
    assert f"default:{name} (latest)" in refused.stderr


def test_what_was_uploaded_can_be_listed_shown_downloaded_and_deleted(
    daemon: DaemonProcess, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "lib.js").write_text("module.exports = 1\n", "utf-8")
    daemon.cli("dependency", "upload", name, str(folder), "--runtime", "Node.js20.15", "--description", "of a folder")
    daemon.cli("dependency", "upload", name, str(folder), "--runtime", "Node.js20.15")
    listed = daemon.cli("dependency", "list", "--kind", "private").stdout
    shown = json.loads(daemon.cli("dependency", "show", f"{name}:1", "--json").stdout)
    daemon.cli("dependency", "download", name, "-o", str(tmp_path / "out.zip"))
    missing = daemon.cli("dependency", "show", f"{name}:9", check=False)
    daemon.cli("dependency", "delete", f"{name}:1")
    versions = json.loads(daemon.cli("dependency", "versions", name, "--json").stdout)["dependencies"]
    daemon.cli("dependency", "delete", name)
    gone = daemon.cli("dependency", "versions", name, check=False)

    assert name in listed
    assert ("of a folder", 1, "Node.js20.15") == (shown["description"], shown["version"], shown["runtime"])
    assert ["lib.js"] == names_of((tmp_path / "out.zip").read_bytes())
    assert (2, True) == (missing.returncode, "has the versions 2, 1" in missing.stderr)
    assert [2] == [one["version"] for one in versions]
    assert (2, True) == (gone.returncode, "no such dependency" in gone.stderr)


def test_another_version_replaces_the_instances_and_a_clash_changes_nothing(
    daemon: DaemonProcess, deployed: Callable[..., str], tmp_path: Path, name: str
) -> None:
    for number in (1, 2):
        (tmp_path / "lib").mkdir(exist_ok=True)
        (tmp_path / "lib" / "number.py").write_text(f"NUMBER = {number}\n", "utf-8")
        daemon.cli("dependency", "upload", name, str(tmp_path / "lib"), "--runtime", "Python3.12")
    (tmp_path / "lib" / "index.py").write_text("", "utf-8")
    daemon.cli("dependency", "upload", f"{name}-clash", str(tmp_path / "lib"), "--runtime", "Python3.12")
    source = "from number import NUMBER\ndef handler(event, context):\n    return NUMBER\n"
    deployed(source, "--dependency", f"{name}:1")
    first = called(daemon, name)
    deployed(source, "--dependency", name)
    second = called(daemon, name)
    clash = daemon.cli("functions", "update", name, "--dependency", f"{name}-clash", check=False)
    third = called(daemon, name)
    daemon.cli("functions", "update", name, "--no-dependencies")
    failed = daemon.cli("invoke", name, check=False)

    assert (1, 2, 2) == (first, second, third)
    assert (3, True) == (clash.returncode, f"index.py is in the code of '{name}' and in dependency" in clash.stderr)
    assert 1 == failed.returncode
    assert "No module named 'number'" in failed.stdout + failed.stderr


def test_a_published_version_keeps_the_dependency_it_was_published_with(
    api: Client, daemon: DaemonProcess, deployed: Callable[..., str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "lib").mkdir()
    for number in (1, 2):
        (tmp_path / "lib" / "number.py").write_text(f"NUMBER = {number}\n", "utf-8")
        daemon.cli("dependency", "upload", name, str(tmp_path / "lib"), "--runtime", "Python3.12")
    source = "from number import NUMBER\ndef handler(event, context):\n    return NUMBER\n"
    deployed(source, "--dependency", f"{name}:1")
    answer = api.functions("POST", f"/{name}/versions", {"version": "v1"})
    assert answer.status == 200, answer.text
    deployed(source, "--dependency", f"{name}:2")
    latest, published = called(daemon, name), called(daemon, f"{name}@v1")

    assert (2, 1) == (latest, published)


def test_packages_without_a_wheel_need_to_be_allowed(
    daemon: DaemonProcess, deployed: Callable[..., str], index: Path, tmp_path: Path, name: str
) -> None:
    source_package(index, "fromsource", "WORD = 'built'\n")
    build = ("dependency", "build", name, "-p", "fromsource", "--runtime", "Python3.12")
    refused = daemon.cli(*build, check=False)
    marked_before = (tmp_path / "built").exists()
    daemon.cli(*build, "--allow-source")
    deployed("import fromsource\ndef handler(event, context):\n    return [fromsource.WORD]\n", "--dependency", name)

    assert (2, False) == (refused.returncode, marked_before)
    assert "--allow-source" in refused.stderr
    assert (tmp_path / "built").exists()
    assert ["built"] == called(daemon, name)


def test_bytecode_can_be_added_and_names_files_as_they_are_inside(
    daemon: DaemonProcess, deployed: Callable[..., str], index: Path, tmp_path: Path, name: str
) -> None:
    wheel(index, "greeting", "1.0", "def words():\n    return 'hello'\n")
    daemon.cli("dependency", "build", name, "-p", "greeting", "--runtime", "Python3.12", "--compile")
    daemon.cli("dependency", "download", name, "-o", str(tmp_path / "out.zip"))
    source = """\
import pathlib
import greeting
def handler(event, context):
    flags = pathlib.Path(greeting.__cached__).read_bytes()[4:8]
    return [greeting.words.__code__.co_filename, int.from_bytes(flags, "little")]
"""
    deployed(source, "--dependency", name)

    assert "__pycache__/greeting.cpython-312.pyc" in names_of((tmp_path / "out.zip").read_bytes())
    assert ["/opt/function/code/greeting.py", 1] == called(daemon, name)  # 1: by hash, and not compared with the source


def test_npm_packages_are_laid_out_as_node_modules_and_their_scripts_not_run(
    daemon: DaemonProcess, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm on this host")
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    package = npm_package(tmp_path, "tiny", "module.exports = 7\n")
    about = tmp_path / "package.json"
    about.write_text(json.dumps({"dependencies": {"tiny": f"file:{package}"}}), "utf-8")
    build = ("dependency", "build", name, "--runtime", "Node.js20.15")
    daemon.cli(*build, "--package-json", str(about))
    daemon.cli("dependency", "download", name, "-o", str(tmp_path / "out.zip"))
    wrong = daemon.cli(*build, "-r", str(about), check=False)

    assert ["node_modules/tiny/index.js", "node_modules/tiny/package.json"] == names_of(
        (tmp_path / "out.zip").read_bytes()
    )
    assert not (tmp_path / "script-ran").exists()
    assert (2, True) == (wrong.returncode, "-r is for Python" in wrong.stderr)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--runtime", "Python3.12"), "-r FILE"),
        (("--runtime", "Python9.9", "-p", "x"), "is not on this node"),
        (("--runtime", "Java17", "-p", "x"), "only packages of Python and Node.js"),
        (("--runtime", "Python3.12", "-r", "/absent.txt"), "there is no such file"),
        (("--runtime", "Python3.12", "-p=--index-url=x"), "not an option"),
        (("--runtime", "Node.js20.15", "-p", "x", "--allow-source"), "--allow-source"),
        (("--runtime", "Python3.6", "-p", "x", "--compile"), "--compile"),
    ],
)
def test_a_build_that_cannot_be_says_what_to_do(daemon: DaemonProcess, words: tuple[str, ...], message: str) -> None:
    ran = daemon.cli("dependency", "build", "never", *words, check=False)

    assert 2 == ran.returncode
    assert message in ran.stderr
