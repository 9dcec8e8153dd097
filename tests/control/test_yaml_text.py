"""YAML from strangers: plain values come through, everything else ends with a clear refusal and quickly."""

import random
import time

import pytest

from fgd.control.yaml_text import MAX_BYTES, read_yaml, write_yaml
from fgd.errors import RequestError


def _read(text: str | bytes) -> object:
    return read_yaml("f.yaml", text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: text\nc: [1, 2.5, true, null]\nd: {e: ''}\n", {"a": 1, "b": "text", "c": [1, 2.5, True, None],
                                                                    "d": {"e": ""}}),
        ("# a comment\n---\n- a\n- b: |\n    two\n    lines\n", ["a", {"b": "two\nlines\n"}]),
        ('{"json": {"is": "YAML"}}', {"json": {"is": "YAML"}}),
        ("\ufeffa: ä", {"a": "ä"}),
        ("", None),
        ("# nothing", None),
    ],
)  # fmt: skip
def test_plain_values_come_through(text: str, expected: object) -> None:
    assert expected == _read(text)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (BOMB, "anchor"),
        ("a: &x 1\nb: 2\n", "anchor"),
        ("a: *x\n", "anchor"),
        ("<<: {a: 1}\n", "no text"),
        ("a: !!python/object/apply:os.system ['true']\n", "tag"),
        ("a: !!binary aGk=\n", "tag"),
        ("!!str a: 1\n", "tag"),
        ("a: !mine 1\n", "tag"),
        ("a: 1\na: 2\n", "twice"),
        ("a: {b: 1, b: 2}\n", "twice"),
        ("1: a\n", "no text"),
        ("yes: a\n", "no text"),
        ("[1]: a\n", "no text"),
        ("? {a: 1}\n: b\n", "no text"),
        ("a: 1\n---\nb: 2\n", "one YAML document"),
        ("a: [1\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("\ta: 1\n", "not valid YAML"),
        ("a: \x01\n", "not valid YAML"),
        ("a: 2024-99-99\n", "cannot be"),
        ("a: " + "9" * 5000 + "\n", "cannot be"),
        (b"a: \xff\n", "UTF-8"),
        ("[" * 20 + "]" * 20, "nested"),
        ("[" * 200_000, "nested"),
        ("{a: " * 60_000, "nested"),
        ("- " * 100_000, "nested"),
        ("? " * 100_000, "nested"),
        ("- a\n" * 30_000, "entries"),
        ("a: " + "x" * MAX_BYTES, "KB"),
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_everything_else_is_refused_quickly(text: str | bytes, word: str) -> None:
    began_s = time.process_time()
    with pytest.raises(RequestError, match=word) as refused:
        _read(text)

    assert str(refused.value).startswith("file_code: f.yaml ")
    assert time.process_time() - began_s < 2


def test_what_is_written_is_read_again() -> None:
    """Texts that look like something else, and random values from a fixed seed."""
    odd = [
        "", " ", "yes", "null", "~", "1", "1.5", "0x10", "1:30", "2024-01-01", "a: b", "- a", "#x", "'", '"', "\n",
        "a\n", "\n a", "\u2028", "\x85", "\ufeff", "é", "😀", "&a", "*a", "!a", "%a", "@a", "`a", "<<", "=", "\t", "\\",
        "{", "[", '{"a": "b\\n"}', "x" * 500, "word " * 100,
    ]  # fmt: skip
    source = random.Random(7)

    def value(depth: int) -> object:
        kind = source.randrange(8 if depth < 4 else 6)
        if kind == 6:
            return [value(depth + 1) for _ in range(source.randrange(4))]
        if kind == 7:
            return {source.choice(odd) + str(n): value(depth + 1) for n in range(source.randrange(4))}
        return (source.choice(odd), source.choice(odd), source.randrange(-(10**9), 10**9), True, False, None)[kind]

    for _ in range(200):
        wanted = {text: value(0) for text in source.sample(odd, 5)}

        assert wanted == _read(write_yaml(wanted))
