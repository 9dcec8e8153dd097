"""The page that leads to a plugin of one's own works as it is written."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fgd.testing.daemon import DaemonProcess
from tests.e2e.packaging import install
from tests.test_docs import DOCS, _fits

FILE = "/tmp/fgd-lines.txt"


def test_the_plugin_tutorial_works_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the service is played by that of the tests, and pip installs into a folder beside it."""
    text = (DOCS / "plugin-tutorial.md").read_text("utf-8")
    blocks = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    module = tmp_path / "fgd-log-lines" / "fgd_log_lines.py"
    replaced = ""
    with tempfile.TemporaryDirectory(prefix="fgd-plugin-") as name:
        tmp_path.chmod(0o755)
        lines = Path(name, "lines.txt")  # where every user can read
        daemon = DaemonProcess(tmp_path / "daemon", {"drain_s": 1.0})
        environ = os.environ | {
            "FGD_ADMIN_SOCKET": str(daemon.admin_socket),
            "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}",
        }
        with daemon:
            for language, label, body in blocks:
                if label == "replace":
                    replaced = body
                elif label == "with":
                    source = module.read_text()
                    assert replaced in source
                    module.write_text(source.replace(replaced, body))
                elif language == "python":
                    (tmp_path / label).parent.mkdir()
                    (tmp_path / label).write_text(body)
                else:
                    for entry in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                        line, _, expected = entry.partition("\n")
                        line, _, code = line.partition("    # exit code ")
                        status = int(code or 0)
                        if line.startswith("/opt/fgd/venv/bin/pip install "):
                            source_folder = tmp_path / line.rpartition("/")[2]
                            monkeypatch.setenv("PYTHONPATH", str(install(source_folder, Path(name))))
                            continue
                        if line == "systemctl restart fgd":
                            daemon.stop()
                            daemon.start()
                            continue
                        line = line.replace("/opt/fgd/venv/bin/python", sys.executable).replace(FILE, str(lines))
                        done = subprocess.run(
                            ["bash", "-c", f"exec 2>&1; {line}"], cwd=tmp_path, env=environ, capture_output=True,
                            text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
                        )  # fmt: skip

                        assert status == done.returncode, f"$ {line}\n{done.stdout}\n{daemon.log_tail()}"
                        assert done.stdout == expected or _fits(expected.replace(FILE, str(lines)), done.stdout), (
                            f"$ {line}\nexpected:\n{expected}\ngot:\n{done.stdout}"
                        )
    assert replaced
