"""`fgd plugins`: the list, one plugin, and a new package that works as it is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.api import Api
from tests.cli.conftest import Fgd

ROOT = Path(__file__).parents[2]
PROJECT = "/v2/p1/fgs"


def _plugin(name: str, **fields: object) -> dict[str, Any]:
    figures = dict.fromkeys(("triggers", "waiting", "restarts", "events", "blocked", "leaked_tasks"), 0)
    return {
        "name": name, "version": "1.0", "builtin": False, "package": f"fgd-{name}", "file": f"/site/fgd_{name}.py",
        "hooks": ["fgd_trigger_types"], "trigger_types": [], "destinations": [], "disk_drivers": [], "error": "",
        "problems": [], "figures": {**figures, "leaked_threads": 0, "longest_step_ms": 0.0},
    } | fields  # fmt: skip


@pytest.mark.parametrize("words", [("plugins",), ("plugins", "list")])
def test_plugins_are_listed_with_what_is_wrong(api: Api, fgd: Fgd, words: tuple[str, ...]) -> None:
    plugins = [
        _plugin("destinations", builtin=True, destinations=["OBS"]),
        _plugin("x", error="cannot be loaded"),
    ]
    api.answer("GET /fgd/v1/plugins", {"plugins": plugins})
    lines = fgd(*words).out.splitlines()

    assert ["destinations", "built", "in", "OBS", "ok"] == lines[1].split()
    assert ["x", "1.0", "cannot", "be", "loaded"] == lines[2].split()
    assert {"plugins": plugins} == json.loads(fgd(*words, "--json").out)


def test_one_is_shown_with_its_problems_and_the_triggers_that_are_not_well(api: Api, fgd: Fgd) -> None:
    plugin = _plugin("x", trigger_types=["X"], error="a; b", problems=["it blocks", "it leaks"])
    plugin["figures"] |= {"triggers": 2, "blocked": 3, "leaked_threads": 1, "longest_step_ms": 250.5}
    urn = "urn:fss:local:p1:function:default:hello:latest"
    triggers = [
        {"trigger_id": str(number), "trigger_type_code": code, "func_urn": urn, "event_data": {},
         "trigger_status": "ACTIVE", "state": {"state": "waiting", "error": error, "note": ""}}
        for number, (code, error) in enumerate([("X", "no route"), ("X", ""), ("OTHER", "not mine")])
    ]  # fmt: skip
    api.answer("GET /fgd/v1/plugins/x", plugin)
    api.answer(f"GET {PROJECT}/triggers", {"triggers": triggers})
    shown = fgd("plugins", "show", "x").out

    for line in (
        "package                                 fgd-x",
        "problem                                 it blocks",
        "problem                                 it leaks",
        "steps that kept the daemon from working  3",
        "threads left behind                     1",
        "longest step                            250.5 ms",
    ):
        assert " ".join(line.split()) in [" ".join(one.split()) for one in shown.splitlines()]
    assert "no route" in shown
    assert "not mine" not in shown
    assert {"0", "1"} == {
        one["trigger_id"] for one in json.loads(fgd("plugins", "show", "x", "--json").out)["triggers"]
    }


def test_a_new_package_passes_its_own_test_and_our_checks(fgd: Fgd, tmp_path: Path) -> None:
    ran = fgd("plugins", "new", "mail-box", "--dir", str(tmp_path))
    folder = tmp_path / "fgd-mail-box"
    files = ["README.md", "fgd_mail_box.py", "pyproject.toml", "test_fgd_mail_box.py"]
    done = subprocess.run(
        [sys.executable, "-m", "unittest"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    config = str(ROOT / "pyproject.toml")
    sources = [str(folder / name) for name in files if name.endswith(".py")]
    checks = [
        ["ruff", "check", "--config", config, "--no-cache"],
        ["ruff", "format", "--check", "--config", config, "--no-cache"],
        ["mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache")],
    ]
    wrong = [
        (check[0], result.stdout + result.stderr)
        for check in checks
        if (
            result := subprocess.run(
                [sys.executable, "-m", *check, *sources],
                cwd=folder,
                env={**os.environ, "MYPYPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
        ).returncode
    ]

    assert 0 == ran.code, ran.err
    assert files == sorted(path.name for path in folder.iterdir() if path.is_file())
    assert 0 == done.returncode, done.stderr
    assert "Ran 4 tests" in done.stderr
    assert [] == wrong


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Mail", "NAME: must be at most 40 lower-case letters"),
        ("-mail", "usage"),
        ("ma--il", "NAME: must be"),
        ("m" * 41, "NAME: must be"),
        ("../mail", "NAME: must be"),
        ("kafka", "NAME: KAFKA is a trigger type of fgd's own"),
    ],
)
def test_a_name_that_cannot_be_is_refused(fgd: Fgd, tmp_path: Path, name: str, says: str) -> None:
    ran = fgd("plugins", "new", name, "--dir", str(tmp_path))

    assert 2 == ran.code
    assert says in ran.err
    assert [] == [path for path in tmp_path.iterdir() if path.name != "fgd.sock"]


def test_a_folder_that_is_there_is_left_alone(fgd: Fgd, tmp_path: Path) -> None:
    (tmp_path / "fgd-mail").mkdir()
    there = fgd("plugins", "new", "mail", "--dir", str(tmp_path))
    nowhere = fgd("plugins", "new", "mail", "--dir", str(tmp_path / "nowhere"))

    assert (2, 2) == (there.code, nowhere.code)
    assert "is there already" in there.err
    assert "--dir: " in nowhere.err
    assert [] == list((tmp_path / "fgd-mail").iterdir())
