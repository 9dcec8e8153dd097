"""Requests about dependencies, parsed once (user guide, sections 9.1 and 9.2; rest-api, 2.8)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fgd.control import rules
from fgd.control.upload import check_archive, decode_base64
from fgd.errors import BadDependency, BadDependencyType, BadRuntime, CodeMissing
from fgd.runtime import CLOUD_IDS

NAME_MAX_CHARS: Final = 96
#: In one package.
FILES_MAX: Final = 30_000
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class NewDependency:
    """A version to be made."""

    name: str
    runtime: str
    description: str
    archive: bytes | Path


@dataclass(frozen=True, slots=True)
class DependencyChange:
    """What the older API changes of a dependency; None stays. An archive makes a new version."""

    name: str | None
    runtime: str | None
    description: str | None
    archive: bytes | Path | None


def parse_dependency(
    body: Mapping[str, object], installed: Collection[str], stored: Path | None = None
) -> NewDependency:
    """The body of create-dependency-version; `stored`: its package, where that came from the object store.

    Raises:
        BadDependency, BadRuntime, BadDependencyType, DescriptionTooLong, BadCode, CodeMissing, PackageTooLarge: begins
            with the field's name.
    """
    archive = _archive(body) if stored is None else stored
    if archive is None:
        raise CodeMissing("depend_file: must hold the ZIP archive in Base64")
    return NewDependency(
        name=dependency_name(body.get("name")),
        runtime=dependency_runtime(body.get("runtime"), installed),
        description=rules.description(body.get("description") or ""),
        archive=archive,
    )


def parse_dependency_change(
    body: Mapping[str, object], installed: Collection[str], stored: Path | None = None
) -> DependencyChange:
    """The body of the older update-dependency; raises as `parse_dependency`."""
    name, runtime, description = (body.get(field) for field in ("name", "runtime", "description"))
    return DependencyChange(
        name=None if name is None else dependency_name(name),
        runtime=None if runtime is None else dependency_runtime(runtime, installed),
        description=None if description is None else rules.description(description),
        archive=stored or (_archive(body) if body.get("depend_file") or body.get("depend_link") else None),
    )


def dependency_name(value: object) -> str:
    """User guide, section 9.2."""
    if not isinstance(value, str) or len(value) > NAME_MAX_CHARS or not _NAME.match(value):
        raise BadDependency(
            f"name: must be 1 to {NAME_MAX_CHARS} letters, digits, hyphens, periods and underscores, begin with a"
            f" letter and end with a letter or digit, not {rules.shown(value)}"
        )
    return value


def dependency_runtime(value: object, installed: Collection[str]) -> str:
    """A runtime of the cloud or of this node; the node need not have it."""
    if not isinstance(value, str) or (value not in CLOUD_IDS and value not in installed):
        known = ", ".join(dict.fromkeys((*CLOUD_IDS, *sorted(installed))))
        raise BadRuntime(f"runtime: must be one of {known} (spelled so), not {rules.shown(value)}")
    return value


def _archive(body: Mapping[str, object]) -> bytes | None:
    kind = body.get("depend_type")
    if kind == "obs":
        raise CodeMissing("depend_link: must name the object with the package when depend_type is obs")
    if body.get("depend_link"):
        raise BadDependencyType("depend_type: must be obs where there is a depend_link")
    if kind != "zip":
        raise BadDependencyType(f"depend_type: must be zip or obs, not {rules.shown(kind)}")
    if not body.get("depend_file"):
        return None
    data = decode_base64("depend_file", body["depend_file"])
    check_archive("depend_file", data)
    return data
