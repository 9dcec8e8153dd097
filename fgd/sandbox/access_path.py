"""At which paths a function may see a mount. Standard library only: the API asks it, and the launcher once more."""

import re
from typing import Final

PATH_MAX_CHARS: Final = 200
DEPTH_MAX: Final = 8
#: What a sandbox has for itself. A mount is neither at one of these, nor below, nor above.
RESERVED: Final = (
    "/bin", "/boot", "/dev", "/etc", "/home/snuser", "/lib", "/lib32", "/lib64", "/libx32", "/opt/function", "/proc",
    "/run", "/sbin", "/sys", "/tmp", "/usr",
)  # fmt: skip
_PATH = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,63})+")


def why_not(path: str) -> str:
    """The rule that an access path breaks, "" if none."""
    if len(path) > PATH_MAX_CHARS or not _PATH.fullmatch(path) or path.count("/") > DEPTH_MAX:
        return (
            f"must be an absolute path of at most {DEPTH_MAX} names and {PATH_MAX_CHARS} characters; each name has 1 "
            "to 64 letters, digits, dots, hyphens and underscores and does not begin with a dot or hyphen"
        )
    for reserved in RESERVED:
        if overlap(path, reserved):
            return f"must not cover or lie below {reserved}, which the sandbox itself has"
    return ""


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies below the other."""
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
