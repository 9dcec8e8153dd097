"""What requests about topics may say: pure functions from the body of a request to checked values, or an error.

Source: the API reference of SMN, as the models of the official SDK (`huaweicloudsdksmn`) have it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from fgd.control import rules
from fgd.errors import BadParameter, BodyTooLarge, NotAcceptable, NotBuilt

FUNCTION: Final = "functionstage"
#: What messages can be sent by.
PROTOCOLS: Final = (FUNCTION, "http", "https")
DEFAULT: Final = "default"
#: Protocols of the cloud that there are not here, and why.
_NOT_HERE: Final = {
    "email": "fgd sends no e-mail",
    "sms": "fgd sends no text messages",
    "callnotify": "fgd makes no phone calls",
    "functiongraph": "fgd has no workflows; a function is functionstage",
    "dms": "fgd has no DMS queues",
    "application": "fgd has no mobile push",
    **dict.fromkeys(("wechat", "dingding", "dingTalkBot", "feishu", "welink"), "fgd knows no chat robots"),
}
MESSAGE_MAX_BYTES: Final = 256 * 1024
SUBJECT_MAX_BYTES: Final = 512
TTL_DEFAULT_S: Final = 3600
TTL_MAX_S: Final = 86400
ATTRIBUTES: Final = ("access_policy", "introduction")
_ATTRIBUTE_MAX_BYTES: Final = 30 * 1024
_DISPLAY_MAX_BYTES: Final = 192
_REMARK_MAX_BYTES: Final = 128
_HEADERS_MAX: Final = 10
_HEADERS_MAX_CHARS: Final = 1024
_TAGS_MAX: Final = 256
_TAG_MAX_BYTES: Final = 1024
_MESSAGE_ATTRIBUTES_MAX: Final = 10

_TOPIC: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}\Z")
_TEMPLATE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_TAG: Final = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9_.-]{0,20})\}")
_TAG_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}\Z")
_HEADER: Final = re.compile(r"[A-Za-z](?:-?[A-Za-z0-9])*\Z")
_PRINTABLE: Final = re.compile(r"[ -~]*\Z")
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*\Z")
_ATTRIBUTE_VALUE: Final = re.compile(r"\w{1,32}\Z")
#: Headers that a message has already, or that are the connection's.
_RESERVED: Final = frozenset(
    {"host", "content-type", "content-length", "user-agent", "connection", "transfer-encoding", "te", "trailer",
     "upgrade", "expect", "proxy-authorization", "proxy-connection", "keep-alive", "accept-encoding"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Publication:
    """A checked request to publish. `texts`: the message by protocol, `default` for the others."""

    subject: str
    texts: Mapping[str, str]
    ttl_s: int
    attributes: dict[str, object] | None
    #: The protocols that get it; None for all.
    protocols: frozenset[str] | None

    def text(self, protocol: str) -> str:
        """What subscribers of a protocol get."""
        return self.texts[protocol] if protocol in self.texts else self.texts[DEFAULT]


def topic_name(value: object) -> str:
    """1 to 255 letters, digits, - and _, a letter or digit first."""
    if not isinstance(value, str) or not _TOPIC.match(value):
        raise BadParameter(
            "name: must be 1 to 255 letters, digits, hyphens and underscores, a letter or digit first, not"
            f" {rules.shown(value)}"
        )
    return value


def limited(field: str, value: object, most: int, *, needed: bool = False) -> str:
    """A text of so many bytes of UTF-8; null is ""."""
    if value is None and not needed:
        return ""
    text = rules.text_of(field, value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadParameter(f"{field}: has characters that UTF-8 cannot hold") from error
    if size > most or (needed and not size):
        raise BadParameter(f"{field}: must be {1 if needed else 0} to {most} bytes of UTF-8, not {size}")
    return text


def display_name(value: object) -> str:
    """What a topic is called beside its name."""
    return limited("display_name", value, _DISPLAY_MAX_BYTES)


def remark(value: object) -> str:
    """A word about a subscription."""
    return limited("remark", value, _REMARK_MAX_BYTES)


def attribute(name: str, value: object) -> str:
    """The value of a topic's attribute."""
    if name not in ATTRIBUTES:
        raise BadParameter(f"name: must be one of {', '.join(ATTRIBUTES)}, not {rules.shown(name)}")
    return limited("value", value, _ATTRIBUTE_MAX_BYTES)


def protocol(value: object, *, default: bool = False) -> str:
    """One that messages can be sent by; with `default`, also the word that stands for all others."""
    if isinstance(value, str) and (value in PROTOCOLS or (default and value == DEFAULT)):
        return value
    names = ", ".join((DEFAULT, *PROTOCOLS) if default else PROTOCOLS)
    if isinstance(value, str) and value in _NOT_HERE:
        raise NotBuilt(f"protocol: {_NOT_HERE[value]}; there are {names}")
    raise BadParameter(f"protocol: must be one of {names}, not {rules.shown(value)}")


def headers(value: object) -> dict[str, str]:
    """`extension.header` of a subscription."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _HEADERS_MAX:
        raise BadParameter(f"extension.header: must be an object of at most {_HEADERS_MAX} texts")
    seen: set[str] = set()
    for name, text in value.items():
        lower = name.lower()
        if not _HEADER.match(name) or lower.startswith("x-smn") or lower in _RESERVED or lower in seen:
            raise BadParameter(
                f"extension.header: {rules.shown(name)} must be letters, digits and single hyphens, a letter first and"
                " no hyphen last, not begin with x-smn, nor be there twice or one that messages have already"
            )
        if not isinstance(text, str) or not _PRINTABLE.match(text):
            raise BadParameter(f"extension.header: {name}: must be printable ASCII, not {rules.shown(text)}")
        seen.add(lower)
    if sum(len(name) + len(text) for name, text in value.items()) > _HEADERS_MAX_CHARS:
        raise BadParameter(f"extension.header: must be at most {_HEADERS_MAX_CHARS} characters together")
    return dict(value)


def template_name(value: object) -> str:
    """1 to 64 letters, digits, - and _, a letter or digit first."""
    if not isinstance(value, str) or not _TEMPLATE.match(value):
        raise BadParameter(
            "message_template_name: must be 1 to 64 letters, digits, hyphens and underscores, a letter or digit first,"
            f" not {rules.shown(value)}"
        )
    return value


def template_content(value: object) -> str:
    """The text of a template, with at most 256 tags."""
    text = limited("content", value, MESSAGE_MAX_BYTES, needed=True)
    if len(tag_names(text)) > _TAGS_MAX:
        raise BadParameter(f"content: must have at most {_TAGS_MAX} different tags")
    return text


def tag_names(content: str) -> list[str]:
    """The names of the tags of a template, in their order."""
    return list(dict.fromkeys(_TAG.findall(content)))


def tags(value: object) -> dict[str, str]:
    """`tags` of a publication by a template."""
    if not isinstance(value, dict):
        raise BadParameter("tags: must be an object of texts, one for each tag of the template")
    for name, text in value.items():
        if not _TAG_NAME.match(name):
            raise BadParameter(f"tags: {rules.shown(name)} cannot be a tag: 1 to 21 letters, digits, _ . and -")
        limited(f"tags.{name}", text, _TAG_MAX_BYTES, needed=True)
    return value


def filled(content: str, values: Mapping[str, str]) -> str:
    """A template with its tags replaced, each once: a value that looks like a tag stays.

    Raises:
        BadParameter: a tag has no value, or the text is too long then.
    """
    missing = [name for name in tag_names(content) if name not in values]
    if missing:
        raise BadParameter(f"tags.{missing[0]}: is needed by the template")
    text = _TAG.sub(lambda match: values[match[1]], content)
    if len(text.encode()) > MESSAGE_MAX_BYTES:
        raise BodyTooLarge(f"tags: the message must be at most {MESSAGE_MAX_BYTES} bytes with them")
    return text


def message(value: object) -> str:
    """The message itself."""
    return limited("message", value, MESSAGE_MAX_BYTES, needed=True)


def structure(value: object) -> dict[str, str]:
    """`message_structure`: the text of a JSON object, a message for each protocol."""
    text = limited("message_structure", value, MESSAGE_MAX_BYTES, needed=True)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise NotAcceptable(f"message_structure: is not valid JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get(DEFAULT), str):
        raise BadParameter("message_structure: must be an object of texts by protocol, with one for default")
    for name, one in found.items():
        if name in (DEFAULT, *PROTOCOLS):
            limited(f"message_structure.{name}", one, MESSAGE_MAX_BYTES, needed=True)
        elif name not in _NOT_HERE and name != "welinkRed":
            raise BadParameter(f"message_structure: there is no protocol {rules.shown(name)}")
    return {name: one for name, one in found.items() if name in (DEFAULT, *PROTOCOLS)}


def time_to_live(value: object) -> int:
    """Seconds, as text or as a number; an hour when absent."""
    if value is None or value == "":
        return TTL_DEFAULT_S
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return rules.whole("time_to_live", value, 1, TTL_MAX_S, BadParameter, "seconds")


def message_attributes(value: object) -> tuple[dict[str, object] | None, frozenset[str] | None]:
    """Values by name, None for none; and the protocols that an attribute of the type PROTOCOL names."""
    if value is None or value == []:
        return None, None
    if not isinstance(value, list) or len(value) > _MESSAGE_ATTRIBUTES_MAX:
        raise BadParameter(f"message_attributes: must be a list of at most {_MESSAGE_ATTRIBUTES_MAX} objects")
    found: dict[str, object] = {}
    protocols: frozenset[str] | None = None
    for number, one in enumerate(value):
        where = f"message_attributes[{number}]"
        if not isinstance(one, dict):
            raise BadParameter(f"{where}: must be an object with name, type and value")
        name, kind, content = one.get("name"), one.get("type"), one.get("value")
        if not isinstance(name, str) or len(name) > 32 or not _ATTRIBUTE.match(name) or name in found:
            raise BadParameter(
                f"{where}.name: must be 1 to 32 small letters, digits and single underscores between them, and be there"
                f" once, not {rules.shown(name)}"
            )
        if kind == "STRING":
            fine = isinstance(content, str) and bool(_ATTRIBUTE_VALUE.match(content))
        elif kind in ("STRING_ARRAY", "PROTOCOL"):
            fine = isinstance(content, list) and 1 <= len(content) <= 10 and all(
                isinstance(item, str) and _ATTRIBUTE_VALUE.match(item) for item in content
            )  # fmt: skip
            fine = fine and len(set(content)) == len(content)  # type: ignore[arg-type]  # a list, as `fine` says
        else:
            raise BadParameter(f"{where}.type: must be STRING, STRING_ARRAY or PROTOCOL, not {rules.shown(kind)}")
        if not fine:
            raise BadParameter(
                f"{where}.value: must be letters, digits and underscores, 1 to 32, or a list of 1 to 10 different such"
                f" texts where the type is not STRING; not {rules.shown(content)}"
            )
        if kind == "PROTOCOL":
            protocols = frozenset(content) if protocols is None else protocols & frozenset(content)  # type: ignore[arg-type]  # a list of texts
        found[name] = content
    return found, protocols
