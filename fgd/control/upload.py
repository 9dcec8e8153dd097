"""Code as it arrives (`code_type`, `code_filename`, `func_code`), checked and decoded; nothing is stored here."""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fgd.control.features import UNBUILT_CODE_TYPES
from fgd.control.languages import PYTHON_SAMPLE, inline_name
from fgd.control.rules import shown
from fgd.errors import (
    BadCode,
    BadCodeType,
    BadCodeUrl,
    BadFileType,
    CodeMissing,
    InlineCodeTooLarge,
    NotBuilt,
    PackageTooLarge,
)
from fgd.units import KIB, MIB

INLINE_MAX_BYTES: Final = 10 * KIB
PACKAGE_MAX_BYTES: Final = 50 * MIB
CODE_TYPES: Final = ("inline", "zip", "obs", "jar", "Custom-Image-Swr")
#: What a ZIP archive begins with: an entry, or the end of an empty one.
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class Upload:
    """Code ready to be stored. `inline_name` is the file that inline source becomes, "" for an archive."""

    code_type: str
    code_filename: str
    data: bytes
    inline_name: str
    #: The archive, where it is in a file; then `data` is empty.
    path: Path | None = None
    code_url: str = ""

    @property
    def size_bytes(self) -> int:
        return len(self.data) if self.path is None else self.path.stat().st_size


def stored_upload(body: Mapping[str, object], path: Path) -> Upload:
    """Code whose archive came from the object store.

    Raises:
        BadFileType: `code_filename` is no name of an archive.
    """
    url = str(body["code_url"])
    filename = _filename(body, "zip") or url.rpartition("/")[2][-128:]
    return Upload("obs", filename, b"", "", path, url)


def parse_upload(body: Mapping[str, object], runtime: str, handler: str, *, creating: bool) -> Upload | None:
    """The code of a request; None where a request to update keeps the code as it is.

    Raises:
        BadCodeType, BadFileType, CodeMissing, BadCode: see the messages.
        InlineCodeTooLarge, PackageTooLarge: over 10 KB of source or 50 MB of archive.
        NotBuilt: a code type that fgd does not take.
    """
    code_type = _code_type(body)
    data = _decode(body)
    if not creating and body.get("func_code") is None:
        # Terraform sends a code update for a new list of dependencies, without any code: the code stays.
        return None
    if code_type == "obs":
        raise CodeMissing("code_url: must name the object with the code when code_type is obs")
    if not code_type:
        code_type = "zip" if data.startswith(_ZIP_MAGIC) else "inline"
    if not data and not creating:
        raise CodeMissing(f"func_code.file: must hold the code in Base64 when code_type is {code_type}")
    filename = _filename(body, code_type)
    if code_type == "zip" or data.startswith(_ZIP_MAGIC):
        return _archive(code_type, filename, data)
    return _inline(filename, data, runtime, handler)


def exported_upload(settings: Mapping[str, object], archive: bytes) -> Upload:
    """The code of an exported function. It is an archive whatever its code type, and is stored byte for byte.

    Args:
        settings: of the function, with `code_type` and `code_filename`.

    Raises:
        as `parse_upload`.
    """
    # What once came from object storage is in the archive now.
    code_type = "zip" if settings.get("code_type") == "obs" else _code_type(settings) or "zip"
    return _archive(code_type, _filename(settings, code_type), archive)


def _code_type(body: Mapping[str, object]) -> str:
    value = body.get("code_type")
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or value not in CODE_TYPES:
        raise BadCodeType(f"code_type: must be one of {', '.join(CODE_TYPES)}, not {shown(value)}")
    if value in UNBUILT_CODE_TYPES:
        raise NotBuilt(
            f"code_type: {value} needs {UNBUILT_CODE_TYPES[value]}, which this version of fgd does not have; "
            "send inline or zip"
        )
    return value


def _decode(body: Mapping[str, object]) -> bytes:
    """The bytes of `func_code.file`; Base64 may be broken into lines."""
    if body.get("code_url"):
        raise BadCodeUrl("code_url: is possible with code_type obs only")
    code = body.get("func_code")
    if code is None:
        return b""
    if not isinstance(code, dict):
        raise BadCode(f'func_code: must be an object {{"file": "<Base64>"}}, not {shown(code)}')
    if code.get("link"):
        raise NotBuilt("func_code.link: is not taken; send func_code.file, or code_url with code_type obs")
    text = code.get("file")
    if text is None:
        return b""
    return decode_base64("func_code.file", text)


def decode_base64(field: str, text: object) -> bytes:
    """A package as it is sent; the Base64 may be broken into lines.

    Raises:
        BadCode: no Base64.
        PackageTooLarge: certainly over 50 MB.
    """
    if not isinstance(text, str):
        raise BadCode(f"{field}: must be a string of Base64, not {shown(text)}")
    if len(text) > PACKAGE_MAX_BYTES * 3 // 2:
        raise PackageTooLarge(f"{field}: the package must be at most {PACKAGE_MAX_BYTES // MIB} MB")
    try:
        raw = text.encode("ascii")
        if b"\n" in raw:
            raw = raw.translate(None, b"\r\n")
        return binascii.a2b_base64(raw, strict_mode=True)
    except (ValueError, binascii.Error) as error:
        raise BadCode(f"{field}: is not valid Base64: {error}") from error


def _filename(body: Mapping[str, object], code_type: str) -> str:
    value = body.get("code_filename")
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or len(value) > 128 or not value.isprintable() or set(value) & set("/\\"):
        raise BadFileType(f"code_filename: must be the name of a file, at most 128 characters, not {shown(value)}")
    if code_type == "zip" and not value.lower().endswith(".zip"):
        raise BadFileType(f"code_filename: must end with .zip when code_type is zip, not {shown(value)}")
    return value


def _archive(code_type: str, filename: str, data: bytes) -> Upload:
    if not data:
        raise CodeMissing(f"func_code.file: must hold the archive in Base64 when code_type is {code_type}")
    check_archive("func_code.file", data)
    return Upload(code_type, filename, data, "")


def check_archive(field: str, data: bytes) -> None:
    """A package's size and first bytes.

    Raises:
        PackageTooLarge: over 50 MB.
        BadCode: no ZIP.
    """
    if len(data) > PACKAGE_MAX_BYTES:
        raise PackageTooLarge(
            f"{field}: the package must be at most {PACKAGE_MAX_BYTES // MIB} MB, not {len(data)} bytes"
        )
    if not data.startswith(_ZIP_MAGIC):
        raise BadCode(f"{field}: must be a ZIP archive; it begins with {data[:4]!r}")


def _inline(filename: str, data: bytes, runtime: str, handler: str) -> Upload:
    if len(data) > INLINE_MAX_BYTES:
        raise InlineCodeTooLarge(
            f"func_code.file: inline code must be at most {INLINE_MAX_BYTES // KIB} KB, not {len(data)} bytes; "
            "send it as a zip"
        )
    name = inline_name(runtime, handler)
    if not data:
        data = (PYTHON_SAMPLE % handler.rpartition(".")[2]).encode()
    return Upload("inline", filename, data, name)
