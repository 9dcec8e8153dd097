"""YAML as far as settings need it: written plainly, and read from strangers.

Theory of operation: a parser for the whole of YAML is a large thing, and much of YAML is dangerous from a stranger:
anchors make a few lines stand for gigabytes, tags name types, nesting ends the C stack. So the text is first run
through as a stream of events, which neither recurses nor keeps anything; whatever is not plain ends it there. Only
what is left is built into values.
"""

from typing import Any, Final

import yaml

from fgd.errors import BadConfiguration, ImportTooLarge
from fgd.units import KIB

MAX_BYTES: Final = 256 * KIB
_DEPTH_MAX: Final = 16
_EVENTS_MAX: Final = 20_000
_MERGE: Final = "tag:yaml.org,2002:merge"


def write_yaml(value: dict[str, object]) -> str:
    """A mapping as YAML, its keys in their order."""
    text: str = yaml.dump(
        value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
    return text


def read_yaml(name: str, data: bytes) -> object:
    """The value of a YAML document: mappings with text for keys, lists, texts, numbers, true, false and null.

    Args:
        name: of the file, for messages.

    Raises:
        ImportTooLarge: over 256 KB, or more entries than settings could have.
        BadConfiguration: not YAML, not one document, or something in it that is not plain.
    """
    if len(data) > MAX_BYTES:
        raise ImportTooLarge(f"file_code: {name} must be at most {MAX_BYTES // KIB} KB, not {len(data)} bytes")
    try:
        text = data.decode("utf-8-sig")
        _check_events(name, text)
        return _Loader(text, name).get_single_data()
    except UnicodeDecodeError as error:
        raise BadConfiguration(f"file_code: {name} must be UTF-8; byte {error.start} is not") from error
    except yaml.YAMLError as error:
        # The parser's message has the place in its later lines.
        raise BadConfiguration(f"file_code: {name} is not valid YAML: {' '.join(str(error).split())[:300]}") from error
    except (ValueError, OverflowError) as error:  # a number or date that looks like one and is none
        raise BadConfiguration(f"file_code: {name} has a value that cannot be: {str(error)[:200]}") from error


def _check_events(name: str, text: str) -> None:
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        if number > _EVENTS_MAX:
            raise ImportTooLarge(f"file_code: {name} has more than {_EVENTS_MAX} entries")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadConfiguration(f"file_code: {name} has an anchor or alias (& or *); write the value out")
        if getattr(event, "tag", None):
            raise BadConfiguration(f"file_code: {name} has a tag ({str(event.tag)[:40]}); write a plain value")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH_MAX:
                raise BadConfiguration(f"file_code: {name} is nested more than {_DEPTH_MAX} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadConfiguration(f"file_code: {name} must be one YAML document")


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # the library has no types
    """The safe loader, and every key is a text that is there once."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self._file = name

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise BadConfiguration(f"file_code: {self._file} has a key that is no text: {key_node.value!s:.40}")
            if key in found:
                raise BadConfiguration(f"file_code: {self._file} has the key {key!r:.40} twice")
            found[key] = self.construct_object(value_node, deep=True)
        return found
