"""Environment variables: the rules of `user_data` and `encrypted_user_data`, and how secrets are shown.

Both are strings that hold a JSON object of strings. Source: user guide, section 3.6 (names, 4,096 characters in all,
no preset name) and the create-function API (at most 20 entries a field).
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from fgd.control.rules import shown
from fgd.errors import BadUserData, UserDataTooLarge, UserDataTooMany

MAX_CHARS: Final = 4096
MAX_ENTRIES: Final = 20
#: The longest JSON text that can hold those characters: each escaped twice (`\\ud83d\\ude00`), and room for the rest.
_JSON_MAX_CHARS: Final = 12 * MAX_CHARS + 4096
#: What stands for a secret value in every answer.
MASK: Final = "******"
#: The variables that the platform sets (user guide, table 3-7, and the runtimes' own).
PRESET: Final = frozenset(
    "RUNTIME_" + name
    for name in (
        "PROJECT_ID", "FUNC_NAME", "FUNC_VERSION", "PACKAGE", "HANDLER", "TIMEOUT", "USERDATA", "CPU", "MEMORY",
        "MAX_RESP_BODY_SIZE", "INITIALIZER_HANDLER", "INITIALIZER_TIMEOUT", "ROOT", "CODE_ROOT", "LOG_DIR", "API_ADDR",
    )
) | {"FGD_API_ENDPOINT"}  # fmt: skip
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def parse(field: str, value: object) -> dict[str, str]:
    """The variables of one field; "" means none.

    Raises:
        BadUserData: not such a string, a bad or preset name, a value that is no string.
        UserDataTooMany: more than 20.
        UserDataTooLarge: more than 4,096 characters of names and values.
    """
    if value == "":
        return {}
    if isinstance(value, str) and len(value) > _JSON_MAX_CHARS:
        raise UserDataTooLarge(f"{field}: must be at most {MAX_CHARS} characters of names and values")
    try:
        found = msgspec.json.decode(value) if isinstance(value, str) else None
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadUserData(
            f'{field}: must be a string that holds a JSON object of strings, such as "{{\\"key\\":\\"value\\"}}", '
            f"not {'something else' if field.startswith('encrypted') else shown(value)}"
        )
    for key, text in found.items():
        if not _KEY.match(key):
            raise BadUserData(f"{field}: the name {shown(key)} must be letters, digits and _ and begin with a letter")
        if key in PRESET:
            raise BadUserData(f"{field}: {key} is set by the platform and cannot be a variable of the function")
        if not isinstance(text, str) or "\0" in text:
            raise BadUserData(f"{field}: the value of {shown(key)} must be a string without NUL characters")
    if len(found) > MAX_ENTRIES:
        raise UserDataTooMany(f"{field}: must be at most {MAX_ENTRIES} variables, not {len(found)}")
    return found


def check_together(plain: Mapping[str, str], secret: Mapping[str, str]) -> None:
    """What holds for both fields in all.

    Raises:
        BadUserData: a name is in both.
        UserDataTooLarge: more than 4,096 characters of names and values.
    """
    for key in plain:
        if key in secret:
            raise BadUserData(f"encrypted_user_data: {key} is in user_data too; a variable is either plain or secret")
    chars = sum(len(key) + len(text) for part in (plain, secret) for key, text in part.items())
    if chars > MAX_CHARS:
        raise UserDataTooLarge(
            f"user_data: names and values, encrypted ones included, must be at most {MAX_CHARS} characters, not {chars}"
        )


def text_of(values: Mapping[str, object]) -> str:
    """Variables as the fields carry them."""
    return msgspec.json.encode(dict(values)).decode()


def masked(names: Mapping[str, str]) -> str:
    """The JSON text that answers carry instead of secrets."""
    return msgspec.json.encode(dict.fromkeys(names, MASK)).decode()


def unmask(sent: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """Secrets as sent, where the mask of an existing one stands for its stored value: reading a configuration and
    sending it back changes nothing."""
    return {key: stored[key] if text == MASK and key in stored else text for key, text in sent.items()}
