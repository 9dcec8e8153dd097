"""What headers of requests to the object store say: metadata to keep, conditions, dates."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from fgd.store.object_types import META_MAX_BYTES, Conditions, ObjectError

_KEPT: Final = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")


def metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that are kept with an object and given back, names in lower case.

    Raises:
        ObjectError: too much.
    """
    found = {name: value for name, value in headers.items() if name in _KEPT or name.startswith("x-amz-meta-")}
    if "content-encoding" in found:
        codings = [one.strip() for one in found.pop("content-encoding").split(",")]
        if kept := ", ".join(one for one in codings if one != "aws-chunked"):
            found["content-encoding"] = kept
    if sum(len(name) + len(value) for name, value in found.items()) > META_MAX_BYTES:
        raise ObjectError("MetadataTooLarge", 400, f"x-amz-meta-: must be at most {META_MAX_BYTES} bytes together")
    return found


def conditions(headers: Mapping[str, str]) -> Conditions:
    """If-Match and If-None-Match."""

    def etags(name: str) -> tuple[str, ...] | None:
        value = headers.get(name)
        if value is None:
            return None
        return tuple(one.strip().removeprefix("W/").strip('"') for one in value.split(","))

    return Conditions(match=etags("if-match"), none_match=etags("if-none-match"))


def date_s(headers: Mapping[str, str], name: str) -> float | None:
    """The date in a header, epoch seconds; None where there is none."""
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None  # RFC 9110, 13.1.3: one that cannot be read is as if it were not there
