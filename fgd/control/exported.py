"""An exported function as a file: one YAML with its settings, and its code package (user guide, section 8).

    <function name>.yaml    what create-function would be sent, without secrets
    <function name>.zip     the code package, byte for byte

Dependencies are written by name and version, since their ids are of one node. Of secret variables only the names are
written.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fgd.control.facet import Facet, show_all
from fgd.control.features import ECHOED
from fgd.control.upload import PACKAGE_MAX_BYTES
from fgd.control.yaml_text import read_yaml, write_yaml
from fgd.errors import (
    BadCode,
    BadConfiguration,
    CodeMissing,
    DependencyUnreadable,
    ManyConfigurations,
    NameNotInConfiguration,
    PackageTooLarge,
    RepeatedFunction,
)
from fgd.model import Function
from fgd.units import MIB
from fgd.urn import DEFAULT_PACKAGE

#: What an archive may unpack to, and how many files and folders it may have.
UNPACKED_MAX_BYTES: Final = PACKAGE_MAX_BYTES + MIB
FILES_MAX: Final = 100
#: Names of the variables that the function has to be given again.
SECRET_NAMES: Final = "encrypted_user_data_names"
#: What a disabled function returns to when it is enabled.
ENABLED_LIMIT: Final = "enabled_concurrency"
#: What facets show that create-function is not asked for, or that means nothing on another node.
_NOT_SETTINGS: Final = (
    "depend_version_list", "depend_list", "func_vpc_id", "reserved_instance_count", "reserved_instance_idle_mode",
)  # fmt: skip
_YAML: Final = (".yaml", ".yml")
_CODE: Final = (".zip", ".jar")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Exported:
    """A file to hand out."""

    filename: str
    data: bytes


def settings_of(
    function: Function, facets: Sequence[Facet], tags: Mapping[str, str], secret_names: Sequence[str]
) -> dict[str, object]:
    """A function as create-function would be asked for it. What is not set is not in it.

    Raises:
        DependencyUnreadable: it has a public dependency that was taken away from the node.
    """
    shown = show_all(facets, function)
    wire = {name for facet in facets for name in facet.wire}
    found: dict[str, object] = {
        "func_name": function.name,
        "package": function.package,
        "runtime": function.runtime,
        "handler": function.handler,
        "timeout": function.timeout_s,
        "memory_size": function.memory_mib,
        "description": function.description,
        "code_type": function.code_type,
        "code_filename": function.code_filename,
        "user_data": function.user_data,
        SECRET_NAMES: list(secret_names),
        "initializer_handler": function.initializer_handler,
        "initializer_timeout": function.initializer_timeout_s or None,
        "strategy_config": {"concurrency": function.max_instances, "concurrent_num": function.concurrent_num},
        ENABLED_LIMIT: function.enabled_max_instances if function.disabled else None,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
        **{name: value for name, value in function.echo.items() if name in ECHOED},
        **{name: value for name, value in shown.items() if name in wire},
    }
    for name in _NOT_SETTINGS:
        found.pop(name, None)
    found["dependencies"] = _by_name(function, shown.get("dependencies"))
    # What is off or 0 is said: it may not be what a later version begins with.
    return {name: value for name, value in found.items() if value is not None and value not in ("", [])}


def _by_name(function: Function, shown: object) -> list[dict[str, object]]:
    items = shown if isinstance(shown, list) else []
    if len(items) < len(function.dependencies):
        raise DependencyUnreadable(
            "depend_version_list: the function has a public dependency that is not on this node any more, so it has no"
            " name to export it by"
        )
    return [
        {
            "name": item["name"],
            "version": item["version"],
            "runtime": item["runtime"],
            "public": item["owner"] == "public",
        }
        for item in items
    ]


def pack(function: Function, settings: Mapping[str, object] | None, code: bytes | None) -> Exported:
    """The file: settings and code, the settings alone, or the code package alone (as it is, to be deployed again).

    The name is the function's with the MD5 of its code, as the cloud has it; with no code in the file it is the
    function's alone.

    Raises:
        PackageTooLarge: over 50 MB.
    """
    filename = f"{function.name}.zip"
    if code is not None:
        digest = hashlib.md5(code, usedforsecurity=False).hexdigest()
        filename = f"{function.name}_{digest}.zip"
    data = code or b""
    if settings is not None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            _write(archive, f"{function.name}.yaml", write_yaml(dict(settings)).encode())
            if code is not None:
                _write(archive, f"{function.name}.zip", code)
        data = target.getvalue()
    if len(data) > PACKAGE_MAX_BYTES:
        raise PackageTooLarge(
            f"function_urn: the exported file would have {len(data)} bytes; {PACKAGE_MAX_BYTES // MIB} MB are the most"
        )
    return Exported(filename, data)


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, wherever this runs
    info.external_attr = 0o100644 << 16
    archive.writestr(info, data)


def parts_of(files: Mapping[str, bytes]) -> tuple[object, bytes]:
    """The value of the YAML file and the code package of an unpacked file.

    Raises:
        ManyConfigurations: more than one YAML file.
        BadConfiguration: none, or not plain YAML.
        CodeMissing, BadCode: not one code package.
    """
    inside = [name for name in files if not name.startswith("__MACOSX/")]
    texts = [name for name in inside if name.lower().endswith(_YAML)]
    codes = [name for name in inside if name.lower().endswith(_CODE)]
    if len(texts) > 1:
        raise ManyConfigurations(f"file_code: must hold one YAML file, not {len(texts)}: {_listed(texts)}")
    if not texts:
        raise BadConfiguration("file_code: must hold a YAML file with the function's settings")
    if not codes:
        raise CodeMissing("file_code: must hold the code package, a .zip file beside the YAML file")
    if len(codes) > 1:
        raise BadCode(f"file_code: must hold one code package, not {len(codes)}: {_listed(codes)}")
    return read_yaml(_listed(texts), files[texts[0]]), files[codes[0]]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(ascii(name)[1:-1] for name in names)[:200]


def settings_for(document: object, name: str, package: str) -> dict[str, object]:
    """The settings of the function to import: those of the only function in the YAML, or of the one that has this
    package and name.

    Raises:
        BadConfiguration: no settings of a function.
        NameNotInConfiguration: several functions, and none of them is it; or one without a name.
        RepeatedFunction: the same function twice.
    """
    items = document.get("functions", [document]) if isinstance(document, dict) else document
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BadConfiguration("file_code: the YAML file must hold the settings of a function as names and values")
    found: dict[tuple[str, str], dict[str, object]] = {}
    for item in items:
        key = (str(item.get("package") or DEFAULT_PACKAGE), str(item.get("func_name") or ""))
        if key in found:
            raise RepeatedFunction(f"file_code: the YAML file holds the function {key[1]!r:.80} twice in one package")
        found[key] = item
    if len(items) == 1:
        if not items[0].get("func_name"):
            raise NameNotInConfiguration("file_code: the YAML file has no func_name")
        return dict(items[0])
    settings = found.get((package, name))
    if settings is None:
        raise NameNotInConfiguration(
            f"func_name: the YAML file holds {len(items)} functions, but none {name!r} in package {package!r}"
        )
    return settings
