"""Export and import of functions (user guide, section 8; rest-api, 2.11)."""

import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import trio

from fgd.control import rules, variables
from fgd.control.dependencies import Dependencies
from fgd.control.exported import (
    ENABLED_LIMIT,
    FILES_MAX,
    SECRET_NAMES,
    UNPACKED_MAX_BYTES,
    Exported,
    pack,
    parts_of,
    settings_for,
    settings_of,
)
from fgd.control.fields import NewFunction, parse_new
from fgd.control.functions import Functions
from fgd.control.tag_rules import parse_created_tags
from fgd.control.tags import Tags
from fgd.control.upload import PACKAGE_MAX_BYTES, exported_upload
from fgd.errors import BadCode, BadDependency, BadFileType, BadImportedPackage, BadPackage, BadQuery, ImportTooLarge
from fgd.model import DISABLED, Function
from fgd.store.archives import ArchiveReader
from fgd.units import MIB
from fgd.urn import DEFAULT_PACKAGE, FunctionUrn

_FILE_NAME_MAX_CHARS: Final = 255
#: Where the code comes from; here it comes out of the archive.
_CODE_FIELDS: Final = frozenset({"func_code", "code_url"})


@dataclass(frozen=True, slots=True)
class Imported:
    """A function that was made, and the names of secret variables that it still needs."""

    function: Function
    missing_secrets: tuple[str, ...]


def parse_export(query: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether settings and whether code are wanted; without any parameter both.

    Raises:
        BadQuery: not `true` or `false`, neither of them wanted, or both styles of parameters at once.
    """
    kind = query.get("type", "")
    if kind:
        if kind not in ("code", "config"):
            raise BadQuery(f"type: must be code or config, not {rules.shown(kind)}")
        if query.get("config") or query.get("code"):
            raise BadQuery("type: goes not together with config and code")
        return kind == "config", kind == "code"
    for name in ("config", "code"):
        if query.get(name, "") not in ("", "true", "false"):
            raise BadQuery(f"{name}: must be true or false, not {rules.shown(query[name])}")
    config, code = query.get("config", ""), query.get("code", "")
    if not config and not code:
        return True, True
    if "true" not in (config, code):
        raise BadQuery("config: one of config and code must be true")
    return config == "true", code == "true"


class Transfer:
    """Functions as files, out and in."""

    def __init__(
        self,
        functions: Functions,
        tags: Tags,
        archives: ArchiveReader,
        dependencies: Dependencies,
    ) -> None:
        self._functions = functions
        self._tags = tags
        self._archives = archives
        self._dependencies = dependencies

    async def export(self, urn: FunctionUrn, query: Mapping[str, str]) -> Exported:
        """A function version as a file; of an alias its main version.

        Raises:
            BadQuery: as `parse_export`.
            PackageTooLarge: over 50 MB.
        """
        config, code = parse_export(query)
        function = self._functions.resolve(urn)
        settings = None
        if config:
            names = sorted(self._functions.secret_names(function))
            settings = settings_of(function, self._functions.facets, self._tags.of(function), names)
        archive = await self._functions.code(function) if code else None
        return await trio.to_thread.run_sync(pack, function, settings, archive)

    async def load(self, project_id: str, body: Mapping[str, object], installed: Collection[str]) -> Imported:
        """Makes a function of an exported file: with the request's name, in the request's package.

        Args:
            installed: runtime ids that this node can run.

        Raises:
            RequestError: FSS.1022 to 1027, 1057, 1058 for the file, and as the creation of a function. Nothing has
                changed then.
        """
        name = rules.function_name(body.get("func_name"))
        package = _package(body.get("package"), "package")
        _check_file(body)
        given = variables.parse("encrypted_user_data", body.get("encrypted_user_data") or "")
        document, archive = parts_of(await self._unpacked(body.get("file_code")))
        settings = settings_for(document, name, package)
        _package(settings.get("package"), "file_code: package")
        wanted = {**{key: value for key, value in settings.items() if key not in _CODE_FIELDS}}
        wanted |= {"func_name": name, "package": package}
        for field in ("user_data", "encrypted_user_data"):
            # Whoever writes YAML by hand writes names and values, not JSON in a string.
            if isinstance(variable := wanted.get(field), dict):
                wanted[field] = variables.text_of(variable)
        self._name_dependencies(project_id, wanted)
        missing = _secrets(wanted, given)
        new = parse_new(wanted, installed, self._functions.facets, project_id, exported_upload(wanted, archive))
        companion = self._tags.companion(parse_created_tags(wanted.get("tags")))
        function = await self._functions.create(project_id, _with_limit(new, wanted), companion)
        return Imported(function, missing)

    async def _unpacked(self, value: object) -> dict[str, bytes]:
        if not isinstance(value, str) or not value:
            raise BadCode(f"file_code: must be a string, the file in Base64, not {rules.shown(value)}")
        if len(value) > PACKAGE_MAX_BYTES * 3 // 2:
            raise ImportTooLarge(f"file_code: the file must be at most {PACKAGE_MAX_BYTES // MIB} MB")
        try:
            data = binascii.a2b_base64(value.encode("ascii").translate(None, b"\r\n"), strict_mode=True)
        except (ValueError, binascii.Error) as error:
            raise BadCode(f"file_code: is not valid Base64: {error}") from error
        if len(data) > PACKAGE_MAX_BYTES:
            raise ImportTooLarge(
                f"file_code: the file must be at most {PACKAGE_MAX_BYTES // MIB} MB, not {len(data)} bytes"
            )
        try:
            return await self._archives.files(data, max_bytes=UNPACKED_MAX_BYTES, max_files=FILES_MAX)
        except BadCode as error:
            raise BadCode(f"file_code: {error}") from error

    def _name_dependencies(self, project_id: str, wanted: dict[str, object]) -> None:
        """Puts the ids that dependencies have on this node in the place of their names and versions."""
        named = wanted.pop("dependencies", None)
        if not named:
            return
        if not isinstance(named, list):
            raise BadDependency('file_code: dependencies: must be a list of {"name", "version"}')
        ids = []
        for index, item in enumerate(named):
            field = f"file_code: dependencies[{index}]"
            name, version = (item.get("name"), item.get("version")) if isinstance(item, dict) else (None, None)
            if not isinstance(name, str) or type(version) is not int:
                raise BadDependency(f"{field}: must have a name and a version, a whole number")
            runtime, public = item.get("runtime"), item.get("public")
            found = self._dependencies.find(
                project_id,
                name,
                version,
                runtime=runtime if isinstance(runtime, str) else "",
                public=public if isinstance(public, bool) else None,
            )
            if found is None:
                raise BadDependency(f"{field}: {name!r:.100} version {version} is not on this node; upload it first")
            ids.append(found.id)
        wanted["depend_version_list"] = ids


def _package(value: object, field: str) -> str:
    try:
        return rules.package_name(DEFAULT_PACKAGE if value is None or value == "" else value)
    except BadPackage as error:
        raise BadImportedPackage(str(error).replace("package", field, 1)) from error


def _check_file(body: Mapping[str, object]) -> None:
    name, kind = body.get("file_name"), body.get("file_type")
    if not isinstance(name, str) or not name or len(name) > _FILE_NAME_MAX_CHARS or not name.isprintable():
        raise BadFileType(f"file_name: must be the name of a file, not {rules.shown(name)}")
    if kind != "zip":
        raise BadFileType(f"file_type: must be zip, not {rules.shown(kind)}")


def _secrets(wanted: dict[str, object], given: Mapping[str, str]) -> tuple[str, ...]:
    """Puts the secret variables together: those of the request, then those of a file that somebody wrote them into.

    Gives the names that have no value. A mask is none.
    """
    written = variables.parse("encrypted_user_data", wanted.pop("encrypted_user_data", None) or "")
    names = wanted.pop(SECRET_NAMES, None) or []
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    known = {**{key: text for key, text in written.items() if text != variables.MASK}, **given}
    if known:
        wanted["encrypted_user_data"] = variables.text_of(known)
    return tuple(sorted({*listed, *written} - known.keys()))


def _with_limit(new: NewFunction, wanted: Mapping[str, object]) -> NewFunction:
    """The limit that a disabled function returns to."""
    limit = wanted.get(ENABLED_LIMIT)
    if new.max_instances != DISABLED or limit is None:
        return new
    limit = rules.max_instances(ENABLED_LIMIT, limit)
    return replace(new, facets={**new.facets, "enabled_max_instances": limit}) if limit != DISABLED else new
