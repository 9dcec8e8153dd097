"""Finding interpreters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fgd.runtime import CLOUD_IDS, RUNTIMES_DIR, RuntimeFilesError, defaults_for, discover, how_to_get, load_languages
from tests.runtime.harness import INSTALLS

RUNNING = f"Python{sys.version_info[0]}.{sys.version_info[1]}"


def found(path: str, **environ: str) -> dict[str, Path]:
    return {item.id: item.executable for item in discover(environ={"PATH": path, **environ})}


def fake_interpreter(path: Path, version: str, prefix: Path) -> None:
    """An ELF program cannot be written in a line, so this is what discovery must pass over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{json.dumps({'version': version, 'prefix': str(prefix)})}'\n")
    path.chmod(0o755)


def test_the_running_interpreter_is_found_with_everything_a_sandbox_needs() -> None:
    install = next(item for item in discover(environ={"PATH": str(Path(sys.executable).parent)}) if item.id == RUNNING)

    short = RUNNING.removeprefix("Python")
    assert "Python" == install.language
    assert install.executable == Path(os.path.realpath(install.executable))
    assert install.executable.is_relative_to(install.prefix)
    assert f"/opt/function/runtime/python{short}/rtsp/python" == install.inside_prefix
    assert install.inside_prefix + "/bin/" + install.executable.name == install.inside_executable
    assert (install.runtime_dir / install.entry).is_file()
    assert ("index.handler", 3, 128) == (
        install.default_handler,
        install.default_timeout_s,
        install.default_memory_mib,
    )


def test_ids_are_ordered_by_version_and_unique() -> None:
    versions = [tuple(int(part) for part in item.version.split(".")) for item in INSTALLS]

    assert sorted(versions) == versions
    assert len({item.id for item in INSTALLS}) == len(INSTALLS)


@pytest.mark.slow
@pytest.mark.parametrize("copies", [False, True])
def test_a_virtual_environment_leads_to_the_interpreter_it_was_made_from(tmp_path: Path, copies: bool) -> None:
    venv = tmp_path / "venv"
    option = ["--copies"] if copies else []
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *option, venv], check=True)
    install = next(item for item in discover(environ={"PATH": str(venv / "bin")}) if item.id == RUNNING)

    assert not install.prefix.is_relative_to(tmp_path)
    assert not install.executable.is_relative_to(tmp_path)


def test_scripts_with_the_name_of_an_interpreter_are_passed_over(tmp_path: Path) -> None:
    fake_interpreter(tmp_path / "python3.99", "3.99.0", tmp_path)

    assert "Python3.99" not in found(str(tmp_path))


def test_programs_that_are_no_interpreter_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "python3.98").symlink_to("/bin/true")
    (tmp_path / "python3.97").symlink_to("/bin/false")
    (tmp_path / "python3.96").symlink_to(tmp_path / "nowhere")

    assert not {"Python3.98", "Python3.97", "Python3.96"} & set(found(str(tmp_path)))


def test_folders_of_pyenv_and_uv_are_searched(tmp_path: Path) -> None:
    real = next(item for item in INSTALLS if item.id == RUNNING).executable
    for folder in ("versions/x", "uv/y"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / real.name).symlink_to(real)

    assert RUNNING in found("", PYENV_ROOT=str(tmp_path))
    assert RUNNING in found("", UV_PYTHON_INSTALL_DIR=str(tmp_path / "uv"))


def test_what_an_interpreter_said_is_remembered_until_it_changes(tmp_path: Path) -> None:
    cache = tmp_path / "interpreters.json"
    environ = {"PATH": str(Path(sys.executable).parent)}
    first = discover(environ=environ, cache=cache)
    records = json.loads(cache.read_text())
    real = next(str(item.executable) for item in first if item.id == RUNNING)
    records[real]["facts"]["version"][2] = 99
    cache.write_text(json.dumps(records))
    second = {item.id: item.version for item in discover(environ=environ, cache=cache)}
    records[real]["stamp"][0] -= 1
    cache.write_text(json.dumps(records))
    third = discover(environ=environ, cache=cache)

    assert second[RUNNING].endswith(".99")
    assert first == third


@pytest.mark.parametrize("content", ["", "[]", "{", '{"/bin/true": 3}'])
def test_a_broken_cache_is_passed_over(tmp_path: Path, content: str) -> None:
    cache = tmp_path / "interpreters.json"
    cache.write_text(content)

    assert RUNNING in {i.id for i in discover(environ={"PATH": str(Path(sys.executable).parent)}, cache=cache)}


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    assert discover(cache=tmp_path / "no such folder" / "cache") == INSTALLS


def test_known_runtimes_say_how_to_get_them() -> None:
    assert "pyenv install 3.9" in (how_to_get("Python3.9") or "")
    assert "does not run" in (how_to_get("Java8") or "")
    assert all(how_to_get(name) for name in CLOUD_IDS)
    assert [None, None, None] == [how_to_get(name) for name in ("Python3.5", "Python", "python3.9")]


def test_defaults_are_those_of_the_language() -> None:
    assert ("index.handler", 3, 128) == defaults_for("Python3.12")
    assert defaults_for("Java8") is None


def test_runtime_files_cover_two_and_everything_from_three_six_on() -> None:
    python = next(item for item in load_languages() if item.name == "Python")

    assert [True, False, True, True] == [python.covers(v) for v in ((2, 7), (3, 5), (3, 6), (3, 14))]
    assert RUNTIMES_DIR / "python" == python.folder


@pytest.mark.parametrize("text", ["", "language = 3", "[", 'language = "X"\n[versions]\nexact = ["a"]'])
def test_a_broken_runtime_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "runtime.toml").write_text(text)

    with pytest.raises(RuntimeFilesError, match=r"x/runtime\.toml"):
        load_languages(tmp_path)
