"""Completion scripts say what the parser says, and the shells that are here accept them."""

import shutil
import subprocess
import sys

import pytest

from fgd.cli.completion import command_words
from fgd.cli.parser import build_parser


def _script(shell: str) -> str:
    command = [sys.executable, "-m", "fgd", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_every_command_is_known_with_its_options() -> None:
    words = command_words(build_parser())

    assert {"serve", "deploy", "invoke", "functions", "logs", "--json"} <= set(words[""])
    assert {"list", "show", "delete"} <= set(words["functions"])
    assert {"--tail", "--async", "--data"} <= set(words["invoke"])
    assert {"bash", "zsh", "fish"} <= set(words["completion"])


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["fgd", "func"], "functions"),
        (["fgd", "functions", "dis"], "disable"),
        (["fgd", "invoke", "x", "--ta"], "--tail"),
    ],
)
def test_bash_completes(typed: list[str], offered: str) -> None:
    words = " ".join(f"'{word}'" for word in typed)
    lines = f"{_script('bash')}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _fgd; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True, timeout=30)

    assert offered == done.stdout.strip()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_name_every_command(shell: str) -> None:
    script = _script(shell)

    assert all(path.rpartition(" ")[2] in script for path in command_words(build_parser()) if path)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=30)
