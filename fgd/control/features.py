"""Fields that fgd stores without acting on them, and fields whose value would need a part that is not built.

Terraform sends many of them empty; only a value that means something is refused.
"""

from collections.abc import Mapping
from typing import Final

from fgd.control.rules import shown, text_of
from fgd.errors import BadParameter, NotBuilt

#: Field -> what it needs. A value that says nothing (null, "", 0, false, [], or an object of such) is accepted.
UNBUILT: Final = {
    "custom_image": "container images",
    "gpu_memory": "GPUs",
    "gpu_type": "GPUs",
    "restore_hook_handler": "snapshots",
    "restore_hook_timeout": "snapshots",
    "enable_class_isolation": "Java",
    "enable_auth_in_header": "container images",
    "is_stateful_function": "sticky sessions",
    "is_return_stream": "streamed answers",
}

#: Field -> type; kept with the function and given back.
ECHOED: Final[Mapping[str, type]] = {
    "enterprise_project_id": str,
    "lts_custom_tag": dict,
    "enable_lts_log": bool,
    "user_data_encrypt_kms_key_id": str,
    "code_encrypt_kms_key_id": str,
    "extend_config": str,
}

#: Code types that need something else than an upload.
UNBUILT_CODE_TYPES: Final = {
    "jar": "Java",
    "Custom-Image-Swr": "container images",
}
ECHO_MAX_CHARS: Final = 4096
_TAG_MAX_CHARS: Final = 256


def says_nothing(value: object) -> bool:
    """Whether a JSON value holds nothing but nulls, empty text, zeros and false."""
    # No recursion: a client may send lists in lists as deep as the parser goes.
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif one:
            return False
    return True


def refuse_unbuilt(body: Mapping[str, object]) -> None:
    """Stops a request that asks for a part that fgd does not have.

    Raises:
        NotBuilt: names the field.
    """
    for field, part in UNBUILT.items():
        value = body.get(field)
        if not says_nothing(value):
            raise NotBuilt(f"{field}: this version of fgd has no {part}; leave the field out or empty")


def echo_of(body: Mapping[str, object]) -> dict[str, object]:
    """The stored-only fields of a request, checked for their type; empty values are kept as None.

    Raises:
        BadParameter: wrong type, too long.
    """
    found: dict[str, object] = {}
    for field, kind in ECHOED.items():
        value = body.get(field)
        if value is None:
            continue
        if type(value) is not kind:
            raise BadParameter(f"{field}: must be {_kind_name(kind)}, not {shown(value)}")
        if isinstance(value, str) and len(text_of(field, value)) > ECHO_MAX_CHARS:
            raise BadParameter(f"{field}: must be at most {ECHO_MAX_CHARS} characters, not {len(value)}")
        if isinstance(value, dict):
            _check_log_tags(field, value)
        found[field] = value if value not in ("", {}) else None
    if body.get("type") not in (None, "", "v1", "v2"):
        raise BadParameter(f"type: must be v1 or v2, not {shown(body.get('type'))}")
    return found


def _kind_name(kind: type) -> str:
    return {str: "a string", bool: "true or false", int: "a whole number", dict: "an object"}[kind]


def _check_log_tags(field: str, value: Mapping[object, object]) -> None:
    texts = (*value.keys(), *value.values())
    if len(value) > 10 or not all(isinstance(text, str) and len(text) <= _TAG_MAX_CHARS for text in texts):
        raise BadParameter(f"{field}: must be an object of at most 10 strings of at most {_TAG_MAX_CHARS} characters")
