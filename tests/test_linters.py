"""Rules of the house that formatter, linter and type checker do not know."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_OURS = ("fgd", "tests", "bench", "tools", "docs", "runtimes", "plugins", "systemd", "examples", ".ci")
_LOCKS = ("requirements.lock", "requirements-service.lock")
_TEXT = {".py", ".md", ".sh", ".toml", ".service", ".socket", ".slice", ".sysusers", ".tmpfiles", ""}
#: Files that may be longer than 600 lines, with the reason.
_LONG = {
    "fgd/errors.py": "a short class for each code of the API, to be looked up like a table",
    "tests/lab/vm.sh": "one script that can be carried elsewhere",
}


def _files() -> Iterator[Path]:
    for path in (*ROOT.glob("*"), *(inner for name in _OURS for inner in (ROOT / name).rglob("*"))):
        relative = path.relative_to(ROOT).as_posix()
        if path.is_file() and path.suffix in _TEXT and "__pycache__" not in relative and relative != ".gitignore":
            yield path


def _matches(pattern: str, *, but: frozenset[str] = frozenset({"tests/test_linters.py"})) -> list[str]:
    found = []
    wanted = re.compile(pattern)
    for path in _files():
        relative = path.relative_to(ROOT).as_posix()
        if relative in but or path.name in (*_LOCKS, "LICENSE"):
            continue
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
        found += [f"{relative}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if wanted.search(line)]
    return found


def test_nothing_is_left_to_do_later() -> None:
    assert [] == _matches(r"\b(TODO|FIXME|XXX)\b")


def test_no_path_of_one_machine() -> None:
    assert [] == _matches(r"/work/(main|shared)\b|/root/\.(pyenv|cache|local)|/home/(?!snuser\b|test\b)[a-z]")


@pytest.mark.parametrize("name", _LOCKS)
def test_lock_files_name_no_host_and_have_hashes(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    pins = re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", text, re.MULTILINE)

    assert "://" not in text
    assert "index-url" not in text
    assert pins
    for entry in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry[:80]


def test_lock_files_hold_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name, wanted in (
        ("requirements-service.lock", project["dependencies"]),
        ("requirements.lock", [*project["dependencies"], *project["optional-dependencies"]["dev"]]),
    ):
        pinned = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / name).read_text("utf-8"), re.MULTILINE))

        assert {re.split(r"[\[>=<~!]", one)[0].lower() for one in wanted} <= pinned, name


def test_files_stay_readable() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for path in _files()
        if path.suffix in (".py", ".sh") and len(path.read_bytes().splitlines()) > 600
    }

    assert set() == long - _LONG.keys()


def test_shell_scripts_parse_and_can_be_run() -> None:
    scripts = [path for path in _files() if path.suffix == ".sh" or path.parent.name == ".ci"]

    assert scripts
    for path in scripts:
        shell = path.read_text("utf-8").split("\n", 1)[0].rpartition("/")[2].split()[-1]
        subprocess.run([shell, "-n", str(path)], check=True, timeout=30)
        assert path.stat().st_mode & 0o111, f"{path} is not executable"


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^{target}:[^#\n]*## \S", makefile, re.MULTILINE), target
