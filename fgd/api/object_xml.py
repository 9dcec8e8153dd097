"""XML of the object store's answers and requests."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from fgd.store.object_types import ObjectError

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

type Node = tuple[str, "str | Sequence[Node]"]


def document(name: str, *children: Node) -> bytes:
    """A document; a node is a name with text or with nodes."""
    inner = "".join(_text(child) for child in children)
    # Errors are in no namespace; some clients find nothing in them otherwise.
    namespace = "" if name == "Error" else f' xmlns="{_NAMESPACE}"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{namespace}>{inner}</{name}>'.encode()


def _text(node: Node) -> str:
    name, value = node
    inner = escape(value) if isinstance(value, str) else "".join(_text(child) for child in value)
    return f"<{name}>{inner}</{name}>"


def iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(at_s * 1000) % 1000:03}Z"


def http_date(at_s: float) -> str:
    return formatdate(at_s, usegmt=True)


def encoded(text: str, encoding: str) -> str:
    """A key as the client asked for it: `url`, or as it is."""
    return quote(text, safe="/") if encoding == "url" else text


def parse(body: bytes) -> ET.Element:
    """A request's document.

    Raises:
        ObjectError: no XML, or one with declarations, which no request needs.
    """
    try:
        if b"<!" in body:
            raise ValueError("declarations")
        return ET.fromstring(body)
    except (ET.ParseError, ValueError):
        raise ObjectError("MalformedXML", 400, "body: must be XML without declarations") from None


def children(element: ET.Element, name: str) -> Iterable[ET.Element]:
    """Those of a name, whatever their namespace."""
    return (one for one in element if one.tag.rpartition("}")[2] == name)


def field(element: ET.Element, name: str) -> str:
    """The text of the first child of a name, "" without one."""
    return next((one.text or "" for one in children(element, name)), "")
