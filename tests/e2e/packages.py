"""Tiny packages that pip and npm install without a network."""

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, source: str, needs: str = "") -> None:
    """Writes a wheel of one module."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text.encode())}\n"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


#: Makes a wheel of the one module beside it, and leaves a mark that it was run.
_BACKEND = """\
import os, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    open(os.environ["BUILD_MARK"], "w").close()
    name = "{name}-1.0-py3-none-any.whl"
    info = "{name}-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        archive.writestr("{name}.py", open("{name}.py").read())
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "")
    return name
"""


def source_package(folder: Path, name: str, source: str) -> None:
    """Writes a package that has to be built, by a program of its own."""
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": _BACKEND.format(name=name),
        f"{name}.py": source,
    }
    _tar(folder / f"{name}-1.0.tar.gz", f"{name}-1.0", files)


def npm_package(folder: Path, name: str, source: str) -> Path:
    """Writes a package for npm whose install script would leave a mark; gives its file."""
    about = {
        "name": name,
        "version": "1.0.0",
        "main": "index.js",
        "bin": {name: "index.js"},
        "scripts": {"install": f"touch {folder}/script-ran"},
    }
    path = folder / f"{name}-1.0.0.tgz"
    _tar(path, "package", {"package.json": json.dumps(about), "index.js": source})
    return path


def _tar(path: Path, top: str, files: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
