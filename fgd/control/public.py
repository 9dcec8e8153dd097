"""Public dependencies: packages in a folder of the host that every project may use.

    <folder>/<runtime>/<name>/<version>.zip, such as Python3.12/Jinja2/1.zip

The folder is the operator's; it is read, never written. A package is unpacked into the code store when its file is new
or has changed, so later starts read no archive. What functions use stays in the code store though its file is gone.
"""

import logging
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from fgd.control.dependencies import Dependencies
from fgd.control.dependency_fields import dependency_name, dependency_runtime
from fgd.errors import BadCode, BadDependency, PlatformError, RequestError, StorageFull
from fgd.model import PUBLIC, Dependency

log = logging.getLogger(__name__)

#: Ids are made of names, so that they are the same on every start, and on every node with the same folder.
_NAMESPACE: Final = uuid.UUID("6f1c3f0e-6a0b-5d0e-9d6b-0f2a6f0d7c11")


@dataclass(frozen=True, slots=True)
class PublicFile:
    """One archive of the folder."""

    path: Path
    runtime: str
    name: str
    version: int
    size_bytes: int
    mtime_ns: int

    @property
    def dep_id(self) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self.runtime}/{self.name}"))


def scan(folder: Path, installed: Collection[str]) -> tuple[list[PublicFile], list[str]]:
    """The archives in a folder, and what else is in it, each with the rule that it breaks.

    Raises:
        OSError: the folder cannot be read.
    """
    found: list[PublicFile] = []
    wrong: list[str] = []
    for path in sorted(_below(folder, wrong)):
        runtime, name, file = path.relative_to(folder).parts
        try:
            dependency_runtime(runtime, installed)
            dependency_name(name)
            number = file.removesuffix(".zip")
            if not file.endswith(".zip") or not (number.isascii() and number.isdigit()) or not 0 < int(number) < 2**31:
                raise BadDependency("version: must be a whole number from 1, with .zip after it")
            status = path.stat()
            found.append(PublicFile(path, runtime, name, int(number), status.st_size, status.st_mtime_ns))
        except RequestError as error:
            wrong.append(f"{path}: {error}")
    return found, wrong


def _below(folder: Path, wrong: list[str]) -> list[Path]:
    """What is three levels down: of the two above, only folders count."""
    level = [folder]
    for _ in range(2):
        entries = _entries(level)
        wrong += [f"{entry}: must be a folder" for entry in entries if not entry.is_dir()]
        level = [entry for entry in entries if entry.is_dir()]
    return _entries(level)


def _entries(folders: list[Path]) -> list[Path]:
    return [entry for folder in folders for entry in folder.iterdir() if not entry.name.startswith(".")]


async def refresh_public(folder: Path | None, dependencies: Dependencies, installed: Collection[str]) -> None:
    """Makes the public dependencies what the folder holds; None: there are none. What is wrong is logged and left out;
    a folder that cannot be read changes nothing."""
    files: list[PublicFile] = []
    if folder is not None:
        try:
            files, wrong = await trio.to_thread.run_sync(scan, folder, installed)
        except OSError as error:
            log.error("public_dependencies: %s: %s", error.filename or folder, error.strerror)
            return
        for text in wrong:
            log.warning("public_dependencies: left out %s", text)
    known = {(one.dep_id, one.version): one for one in dependencies.public()}
    kept: set[str] = set()
    for file in files:
        old = known.get((file.dep_id, file.version))
        if old is not None and (old.source_bytes, old.source_mtime_ns) == (file.size_bytes, file.mtime_ns):
            kept.add(old.id)
            continue
        try:
            new = await _read(file, dependencies)
        except (BadCode, BadDependency, StorageFull, OSError) as error:
            log.warning("public_dependencies: left out %s: %s", file.path, error)
            continue
        kept.add(new.id)
        await dependencies.set_public([new], [] if old is None or old.id == new.id else [old.id])
        log.info("public_dependencies: %s for %s", new.label, new.runtime)
    gone = [one for one in dependencies.public() if one.id not in kept]
    if gone:
        await dependencies.set_public([], [one.id for one in gone])
        log.info("public_dependencies: no more %s", ", ".join(one.label for one in gone))


class PublicFolder:
    """The folder that a setting names ("" for none), read when `run` begins and after each `reload`."""

    def __init__(self, folder: str, dependencies: Dependencies, installed: Collection[str]) -> None:
        self._folder = Path(folder) if folder else None
        self._dependencies = dependencies
        self._installed = installed
        self._wanted = trio.Event()

    def reload(self) -> None:
        """Has it read again soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Reads it as often as is asked for, until cancelled."""
        while True:
            self._wanted = trio.Event()
            try:
                await refresh_public(self._folder, self._dependencies, self._installed)
            except PlatformError as error:
                log.error("public_dependencies: not all of the folder is taken over, reload to try again: %s", error)
            await self._wanted.wait()


async def _read(file: PublicFile, dependencies: Dependencies) -> Dependency:
    package, etag = await dependencies.packages.add_file(file.path)
    return Dependency(
        # Another package under the same number is another version for those who have the one before.
        id=str(uuid.uuid5(_NAMESPACE, f"{file.dep_id}/{file.version}/{package.digest}")),
        dep_id=file.dep_id,
        project_id=PUBLIC,
        name=file.name,
        version=file.version,
        runtime=file.runtime,
        digest=package.digest,
        etag=etag,
        size_bytes=package.size_bytes,
        last_modified_s=file.mtime_ns / 1e9,
        source_bytes=file.size_bytes,
        source_mtime_ns=file.mtime_ns,
    )
