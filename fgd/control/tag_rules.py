"""Tags as requests carry them: rules of keys and values (user guide, table 3-15), and searches (rest-api, 2.9)."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from fgd.control.asyncs import number
from fgd.control.rules import shown, text_of
from fgd.errors import BadParameter, TooManyTags

TAGS_MAX: Final = 20
KEY_MAX_CHARS: Final = 128
VALUE_MAX_CHARS: Final = 255
#: The tag that every function has by itself: the enterprise project that its settings name, "0" for none.
ENTERPRISE_PROJECT: Final = "_sys_enterprise_project_id"
_KEY_MARKS: Final = frozenset(" ._:=-+@")
_VALUE_MARKS: Final = _KEY_MARKS | {"/"}
#: The longest text that create-function takes in its field `tags`.
_TEXT_MAX_CHARS: Final = 32 * 1024
SEARCH_LIMIT_MAX: Final = 1000
_SEARCH_KEYS_MAX: Final = 20


def tag_key(field_name: str, value: object) -> str:
    """A key.

    Raises:
        BadParameter: it breaks a rule of the table.
    """
    text = text_of(field_name, value)
    if not 1 <= len(text) <= KEY_MAX_CHARS:
        raise BadParameter(f"{field_name}: must be 1 to {KEY_MAX_CHARS} characters, not {len(text)}")
    if text.startswith("_sys_"):
        raise BadParameter(f"{field_name}: must not begin with _sys_, which is for tags of the platform")
    if text[0] == " " or text[-1] == " ":
        raise BadParameter(f"{field_name}: must not begin or end with a space, as {shown(text)} does")
    return _of_letters(field_name, text, _KEY_MARKS, "._:=-+@")


def tag_value(field_name: str, value: object) -> str:
    """A value, which may be empty.

    Raises:
        BadParameter: it breaks a rule of the table.
    """
    text = text_of(field_name, value)
    if len(text) > VALUE_MAX_CHARS:
        raise BadParameter(f"{field_name}: must be at most {VALUE_MAX_CHARS} characters, not {len(text)}")
    return _of_letters(field_name, text, _VALUE_MARKS, "._:/=-+@")


def _of_letters(field_name: str, text: str, marks: frozenset[str], listed: str) -> str:
    for char in text:
        # Letters and digits of every script, with the marks that some scripts write their vowels with.
        if char not in marks and unicodedata.category(char)[0] not in "LMN":
            raise BadParameter(
                f"{field_name}: must be letters, digits, spaces and {listed}, so {shown(char)} is not possible"
            )
    return text


def parse_tags(field_name: str, value: object) -> dict[str, str]:
    """A list of `{"key", "value"}`; an absent value is an empty one.

    Raises:
        BadParameter: no such list, a key or value that breaks its rule, a key twice.
        TooManyTags: more than a function may have.
    """
    if not isinstance(value, list):
        raise BadParameter(f'{field_name}: must be a list of {{"key", "value"}}, not {shown(value)}')
    if len(value) > TAGS_MAX:
        raise TooManyTags(f"{field_name}: a function may have {TAGS_MAX} tags, not {len(value)}")
    found: dict[str, str] = {}
    for index, item in enumerate(value):
        name = f"{field_name}[{index}]"
        if not isinstance(item, dict):
            raise BadParameter(f'{name}: must be an object with "key" and "value", not {shown(item)}')
        key = tag_key(f"{name}.key", item.get("key"))
        if key in found:
            raise BadParameter(f"{name}.key: {shown(key)} is given twice; a key has one value")
        text = item.get("value")
        found[key] = tag_value(f"{name}.value", "" if text is None else text)
    return found


def parse_created_tags(value: object) -> dict[str, str]:
    """The field `tags` of create-function: a string, whose form no source states. JSON text is taken (an object of
    strings or a list as above), `key=value` pairs with commas between them, and such JSON itself.

    Raises:
        as `parse_tags`.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        if len(value) > _TEXT_MAX_CHARS:
            raise BadParameter(f"tags: must be at most {_TEXT_MAX_CHARS} characters, not {len(value)}")
        value = _decoded(text_of("tags", value))
    if isinstance(value, dict):
        value = [{"key": key, "value": text} for key, text in value.items()]
    return parse_tags("tags", value)


def _decoded(text: str) -> object:
    if text.lstrip()[:1] in ("{", "["):
        try:
            value: object = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadParameter(f"tags: begins like JSON but is not: {error}") from error
        return value
    pairs = [pair.partition("=") for pair in text.split(",")]
    return [{"key": key, "value": value} for key, _, value in pairs]


def parse_removal(body: Mapping[str, object]) -> dict[str, str | None]:
    """The body of delete-tags: key -> the value that it must have, None where any will do.

    Raises:
        as `parse_tags`; BadParameter for a wrong `action`.
    """
    _check_action(body, "delete")
    tags = body.get("tags")
    found: dict[str, str | None] = dict(parse_tags("tags", [] if tags is None else tags))
    for item in tags if isinstance(tags, list) else ():
        if not item.get("value"):
            found[item["key"]] = None
    return found


def parse_addition(body: Mapping[str, object]) -> dict[str, str]:
    """The body of create-tags.

    Raises:
        as `parse_tags`; BadParameter for a wrong `action`.
    """
    _check_action(body, "create")
    tags = body.get("tags")
    return parse_tags("tags", [] if tags is None else tags)


def _check_action(body: Mapping[str, object], action: str) -> None:
    if body.get("action") not in (None, "", action):
        raise BadParameter(f"action: must be {action}, not {shown(body.get('action'))}")
    if body.get("sys_tags"):
        raise BadParameter("sys_tags: are set by the platform; leave them out")


@dataclass(frozen=True, slots=True)
class TagSearch:
    """What to look for: all of it must hold.

    `tags` has, for each key, the values of which the function must have one; none means any value.
    """

    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    without_any_tag: bool = False
    #: Texts in the function's name.
    name_parts: tuple[str, ...] = ()
    #: Ids of enterprise projects; empty for any.
    enterprise_projects: frozenset[str] = frozenset()
    offset: int = 0
    limit: int = SEARCH_LIMIT_MAX


def parse_search(body: Mapping[str, object], action: str) -> TagSearch:
    """The body of a search for functions by tags.

    Raises:
        BadParameter, BadQuery: name the field.
    """
    if action not in ("filter", "count"):
        raise BadParameter(f"action: must be filter or count, not {shown(action)}")
    if body.get("action") not in (None, "", action):
        raise BadParameter(f"action: is {action} in the path and {shown(body.get('action'))} in the body")
    without = body.get("without_any_tag")
    if without is not None and type(without) is not bool:
        raise BadParameter(f"without_any_tag: must be true or false, not {shown(without)}")
    wanted = _values_by_key("tags", body.get("tags"))
    system = _values_by_key("sys_tags", body.get("sys_tags"))
    for key in system.keys() - {ENTERPRISE_PROJECT}:
        raise BadParameter(f"sys_tags: there is no system tag {shown(key)}; possible is {ENTERPRISE_PROJECT}")
    limit = _count(body, "limit", SEARCH_LIMIT_MAX)
    if not 1 <= limit <= SEARCH_LIMIT_MAX:
        raise BadParameter(f"limit: must be 1 to {SEARCH_LIMIT_MAX}, not {limit}")
    return TagSearch(
        tags=wanted,
        without_any_tag=bool(without),
        name_parts=_name_parts(body.get("matches")),
        enterprise_projects=system.get(ENTERPRISE_PROJECT, frozenset()),
        offset=_count(body, "offset", 0),
        limit=limit,
    )


def _count(body: Mapping[str, object], name: str, default: int) -> int:
    """A number, which samples send as one and the SDK as text."""
    value = body.get(name)
    if value is None:
        return default
    if type(value) is int:
        value = str(value)
    return number({name: text_of(name, value)}, name, default)


def _values_by_key(field_name: str, value: object) -> dict[str, frozenset[str]]:
    if value is None:
        return {}
    if not isinstance(value, list) or len(value) > _SEARCH_KEYS_MAX:
        raise BadParameter(f'{field_name}: must be a list of at most {_SEARCH_KEYS_MAX} {{"key", "values"}}')
    found: dict[str, frozenset[str]] = {}
    for index, item in enumerate(value):
        name = f"{field_name}[{index}]"
        if not isinstance(item, dict):
            raise BadParameter(f'{name}: must be an object with "key" and "values", not {shown(item)}')
        key = text_of(f"{name}.key", item.get("key"))
        values = item.get("values", [item["value"]] if item.get("value") is not None else [])
        if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
            raise BadParameter(f"{name}.values: must be a list of strings, not {shown(values)}")
        if not key or key in found:
            raise BadParameter(f"{name}.key: must be a text that no other key has, not {shown(key)}")
        found[key] = frozenset(values)
    return found


def _name_parts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _SEARCH_KEYS_MAX:
        raise BadParameter(f'matches: must be a list of at most {_SEARCH_KEYS_MAX} {{"key": "resource_name", "value"}}')
    parts = []
    for index, item in enumerate(value):
        key, text = (item.get("key"), item.get("value")) if isinstance(item, dict) else (None, None)
        if key != "resource_name":
            raise BadParameter(f"matches[{index}].key: must be resource_name, not {shown(key)}")
        parts.append(text_of(f"matches[{index}].value", text))
    return tuple(parts)
