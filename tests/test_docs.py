"""The documentation is current, and what it shows works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fgd.cli.completion import command_words
from fgd.cli.parser import build_parser
from fgd.testing.daemon import DaemonProcess

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGES.md", *DOCS.rglob("*.md")])


def test_generated_pages_are_current() -> None:
    command = [sys.executable, str(ROOT / "tools" / "docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)

    assert "" == done.stderr
    assert 0 == done.returncode


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page

        assert other.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(other), f"{page.name}: {target}"


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", page.read_text("utf-8"))
        waiting += [(page.parent / link).resolve() for link in links]

    assert set() == set(DOCS.rglob("*.md")) - seen


def test_commands_in_the_pages_exist() -> None:
    """Every line of a code block that begins with `fgd` names a command and options that the parser knows."""
    known = command_words(build_parser())
    for page in PAGES:
        text = page.read_text("utf-8")
        fenced = "\n".join(re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        lines = re.findall(r"^(?:\$ )?fgd ([a-z].*)$", fenced, re.MULTILINE)
        for line in lines + re.findall(r"^ {4,}fgd ([a-z].*)$", text, re.MULTILINE):
            words = line.split()
            path = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in known), words[0])

            assert path in known, f"{page.name}: fgd {line}"
            for option in re.findall(r"(?<!\S)(--[a-z-]+)", line.partition("#")[0]):
                assert option in known[path], f"{page.name}: fgd {line}"


def test_tests_named_by_the_security_page_exist() -> None:
    folders = re.findall(r"`(tests/[a-z/]+)`", (DOCS / "security.md").read_text("utf-8"))

    assert folders
    for folder in folders:
        assert list((ROOT / folder).rglob("*.py")), folder


def _fits(expected: str, shown: str) -> bool:
    """Whether output is what a page shows: `...` stands for anything, and alone on a line for any number of lines."""
    lines = [
        "(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
        for line in expected.rstrip("\n").splitlines()
    ]
    return re.fullmatch("".join(lines), shown.rstrip("\n") + "\n") is not None


@pytest.mark.host
@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    text = (DOCS / "tutorial.md").read_text("utf-8")
    for name, body in re.findall(r"^```python (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body)
    daemon = DaemonProcess(tmp_path / "daemon")
    with daemon:
        environ = os.environ | {
            "FGD_ADMIN_SOCKET": str(daemon.admin_socket),
            "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}",
        }
        commands = [
            entry
            for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        ]
        for entry in commands:
            line, _, expected = entry.partition("\n")
            status = 1 if "# exit code 1" in line else 0
            done = subprocess.run(
                ["bash", "-c", f"{line.partition('    #')[0]} 2>&1"], cwd=tmp_path, env=environ, capture_output=True,
                text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
            )  # fmt: skip

            assert status == done.returncode, f"$ {line}\n{done.stdout}\n{daemon.log_tail()}"
            assert _fits(expected, done.stdout), f"$ {line}\nexpected:\n{expected}\ngot:\n{done.stdout}"

    assert commands


def test_the_license_is_the_whole_text() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")

    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_make_help_lists_the_targets_of_the_readme() -> None:
    make = shutil.which("make")

    assert make is not None
    shown = subprocess.run([make, "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    named = set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))

    assert {"demo", "serve", "bench", "check", "test", "lab"} <= named
    assert all(f"make {target} " in shown for target in named)
