"""Time zones by their names in the tz database, of the host or, where it has none, of the package tzdata."""

import re
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: Names are paths below a folder; nothing that could lead out of it.
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,3}\Z")
_NAME_CHARS_MAX: Final = 64


class BadZone(ValueError):
    """No time zone has this name."""


def zone_named(name: str) -> ZoneInfo:
    """The time zone of a name such as `Asia/Shanghai`.

    Raises:
        BadZone: there is none.
    """
    if len(name) > _NAME_CHARS_MAX or not _NAME.match(name):
        raise BadZone(f"must be the name of a time zone such as Asia/Shanghai, not {name[:_NAME_CHARS_MAX]!r}")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, such as America
        raise BadZone(f"no time zone is named {name!r}") from None
