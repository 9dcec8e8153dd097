"""The directory: look-ups, and a generation that grows with each change."""

import pytest

from fgd.errors import AliasNotFound, FunctionNotFound, VersionNotFound
from fgd.invoke.resolve import Directory
from fgd.model import Function
from fgd.urn import FunctionUrn, parse_urn


def function(name: str, func_id: str = "", **fields: object) -> Function:
    values: dict[str, object] = {
        "func_id": func_id or name, "project_id": "p", "package": "default", "name": name, "runtime": "Python3.12",
        "handler": "index.handler", "timeout_s": 3, "memory_mib": 128, "code_type": "zip", "code_digest": "d",
        "code_size_bytes": 1, "created_s": 0.0, "last_modified_s": 0.0, **fields,
    }  # fmt: skip
    return Function(**values)  # type: ignore[arg-type]  # a table of fields


def test_resolves_latest_and_tells_what_is_missing() -> None:
    directory = Directory([function("f")])

    assert "f" == directory.resolve(parse_urn("p:default:f:latest", "p")).name
    with pytest.raises(FunctionNotFound):
        directory.resolve(FunctionUrn("other", "default", "f"))
    with pytest.raises(VersionNotFound):
        directory.resolve(FunctionUrn("p", "default", "f", "v1"))
    with pytest.raises(AliasNotFound):
        directory.resolve(FunctionUrn("p", "default", "f", "!live"))


def test_the_generation_grows_with_each_change_only() -> None:
    directory = Directory()
    generations = [directory.generation]
    directory.put(function("f"))
    generations.append(directory.generation)
    directory.put(function("f", revision=2))
    generations.append(directory.generation)
    directory.remove(function("f"))
    generations.append(directory.generation)
    directory.remove(function("f"))

    assert sorted(set(generations)) == generations
    assert generations[-1] == directory.generation


def test_lists_by_package_and_name() -> None:
    directory = Directory([function("b"), function("a"), function("a", func_id="x", package="apps")])

    assert [("apps", "a"), ("default", "a"), ("default", "b")] == [(f.package, f.name) for f in directory.list("p")]
    assert 3 == len(directory)


def test_a_function_made_anew_under_a_name_replaces_the_old_id() -> None:
    directory = Directory([function("f", func_id="one")])
    directory.put(function("f", func_id="two"))

    assert directory.by_id("one") is None
    assert directory.by_id("two") is not None
