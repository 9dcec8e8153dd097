"""Packages with plugins, installed by pip into a folder that a daemon finds."""

import shutil
import subprocess
import sys
from pathlib import Path


def install(source: Path, folder: Path) -> Path:
    """Builds and installs a package; gives the folder for PYTHONPATH, which the daemon's user can read."""
    folder.chmod(0o755)
    copy = folder / "source" / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))  # pip builds beside the source
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "--target", str(folder / "site"), str(copy),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=60)
    return folder / "site"
