"""Events and results: JSON text to Python values and back, and what a result may be.

The encoder and the decoder are made once, before the fork, and held here, so that user code which replaces parts of
the `json` module does not break calls. `json.JSONEncoder.default` is looked up when it is needed: replacing it is a
known way to make one's own types encodable, and it works here as it does on FunctionGraph.

Decisions: results are encoded as `json.dumps` does by default (ASCII, `", "` and `": "`), which is what functions of
FunctionGraph users already get. NaN and the infinities are refused, because no JSON parser on the other side takes
them and the error would surface far from its cause. A string result must be valid Unicode (no lone surrogates), since
it goes out as UTF-8; in Python 2.7 a `str` goes out as it is.
"""

import json
import json.decoder
import json.encoder
import sys

#: Largest result in bytes.
RESULT_MAX_BYTES = 6291456

PY2 = sys.version_info[0] == 2
if PY2:
    text_type = unicode  # noqa: F821
    string_types = (str, unicode)  # noqa: F821
else:
    text_type = str
    string_types = (str,)

_decoder = json.decoder.JSONDecoder()
_scan = _decoder.scan_once
_slow = json.encoder.JSONEncoder(allow_nan=False)


def _default(value):
    return json.JSONEncoder.default(_slow, value)


def _make_encode():
    """The C encoder with everything but the value bound; `JSONEncoder.encode` would make one for every call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value: _slow_encode(value)
    try:
        ascii_string = json.encoder.encode_basestring_ascii

        def encode(value):
            # a table of its own for each call: it finds circles, and an error leaves entries behind
            return "".join(make({}, _default, ascii_string, None, ": ", ", ", False, False, False)(value, 0))

        if encode({"a": [1, 2.5, None, u"\u00e9"]}) == json.dumps({"a": [1, 2.5, None, u"\u00e9"]}):
            return encode
    except Exception:  # another signature in a Python to come: the public way works everywhere
        pass
    return lambda value: _slow_encode(value)


def _slow_encode(value):
    _slow.default = _default
    return _slow.encode(value)


_encode = _make_encode()


def decode_event(data):
    """The event as a Python value; no bytes at all give None.

    Raises:
        ValueError: not JSON, or not UTF-8.
    """
    if not data:
        return None
    text = data.decode("utf-8")
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return _decoder.decode(text)


def encode_result(value):
    """A result as bytes and whether it is text.

    Raises:
        Exception: whatever keeps the value from being encoded.
    """
    kind = type(value)
    if kind is dict or kind is list:
        return _encode(value).encode("ascii"), False
    if value is None:
        return b"", False
    if isinstance(value, string_types):
        if PY2 and isinstance(value, str):
            return str(value), True
        return text_type.encode(value, "utf-8"), True
    return _encode(value).encode("ascii"), False


def native(text):
    """Text as the `str` of this Python; 2.7's is UTF-8 bytes."""
    if PY2 and isinstance(text, text_type):
        return text.encode("utf-8")
    return text
