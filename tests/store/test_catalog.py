"""Functions and credentials survive; secrets are ciphertext on disk."""

from pathlib import Path

import pytest
import trio

from fgd.errors import FunctionExists, StateError
from fgd.model import AsyncConfig, Function
from fgd.store.api import AccessKey, Catalog, Token
from fgd.store.catalog import SqliteCatalog
from fgd.store.secrets import open_secrets


def function(name: str = "hello", func_id: str = "f1", **changes: object) -> Function:
    values: dict[str, object] = {
        "func_id": func_id, "project_id": "p1", "package": "default", "name": name, "runtime": "Python3.12",
        "handler": "index.handler", "timeout_s": 3, "memory_mib": 128, "code_type": "inline", "code_digest": "ab",
        "code_size_bytes": 5, "created_s": 1.5, "last_modified_s": 2.5,
        "echo": {"xrole": "a", "nested": [1, {"b": None}]},
    }  # fmt: skip
    return Function(**(values | changes))  # type: ignore[arg-type]  # a table of keywords


KEY = AccessKey(access_key="AK", secret_key="very secret", project_id="p1", name="me", created_s=1.0)


def test_everything_survives_reopening(tmp_path: Path) -> None:
    first, second = function(), function("other", "f2", user_data='{"ключ": "值"}')
    config = AsyncConfig(max_retries=3, max_age_s=60)

    async def main() -> None:
        catalog: Catalog = await SqliteCatalog.open(tmp_path)
        await catalog.put_function(first)
        await catalog.put_function(second)
        await catalog.put_async_config("f1", "latest", config)
        await catalog.put_access_key(KEY)
        assert "one" == await catalog.setting("project", "one")
        await catalog.aclose()  # type: ignore[attr-defined]  # closing is the daemon's business, not of the interface

        again = await SqliteCatalog.open(tmp_path)
        assert [first, second] == await again.functions()
        assert {("f1", "latest"): config} == await again.async_configs()
        assert [KEY] == await again.access_keys()
        assert "one" == await again.setting("project", "two")
        await again.aclose()

    trio.run(main)


def test_an_update_takes_the_place_of_the_version(tmp_path: Path) -> None:
    async def main() -> None:
        catalog = await SqliteCatalog.open(tmp_path)
        await catalog.put_function(function())
        await catalog.put_function(function(revision=2, memory_mib=256))
        assert [function(revision=2, memory_mib=256)] == await catalog.functions()
        await catalog.aclose()

    trio.run(main)


def test_a_second_function_of_the_same_name_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        catalog = await SqliteCatalog.open(tmp_path)
        await catalog.put_function(function())
        with pytest.raises(FunctionExists, match="default:hello"):
            await catalog.put_function(function(func_id="f2"))
        assert [function()] == await catalog.functions()
        await catalog.aclose()

    trio.run(main)


def test_deleting_a_function_takes_its_settings_along(tmp_path: Path) -> None:
    async def main() -> None:
        catalog = await SqliteCatalog.open(tmp_path)
        await catalog.put_function(function())
        await catalog.put_async_config("f1", "latest", AsyncConfig())
        await catalog.delete_function(function())
        assert ([], {}) == (await catalog.functions(), await catalog.async_configs())
        await catalog.put_async_config("f1", "latest", AsyncConfig())
        await catalog.put_async_config("f1", "latest", None)
        assert {} == await catalog.async_configs()
        await catalog.aclose()

    trio.run(main)


def test_expired_tokens_are_not_given_back_and_removed(tmp_path: Path) -> None:
    moment = [100.0]
    short = Token(digest="a", project_id="p", name="n", expires_s=150.0)
    long = Token(digest="b", project_id="p", name="n", expires_s=1000.0)

    async def main() -> None:
        catalog = await SqliteCatalog.open(tmp_path, now=lambda: moment[0])
        await catalog.put_token(short)
        assert [short] == await catalog.tokens()
        moment[0] = 200.0
        await catalog.put_token(long)
        assert [long] == await catalog.tokens()
        await catalog.aclose()

    trio.run(main)


def test_secret_keys_are_not_readable_on_disk(tmp_path: Path) -> None:
    async def main() -> None:
        catalog = await SqliteCatalog.open(tmp_path)
        await catalog.put_access_key(KEY)
        await catalog.aclose()

    trio.run(main)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert b"very secret" not in on_disk
    assert 0o600 == (tmp_path / "key").stat().st_mode & 0o777


def test_a_wrong_key_file_is_refused_at_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        await (await SqliteCatalog.open(tmp_path)).aclose()
        (tmp_path / "key").write_bytes(b"k" * 32)
        with pytest.raises(StateError, match="not the one it was encrypted with"):
            await SqliteCatalog.open(tmp_path)

    trio.run(main)


def test_a_missing_key_file_beside_a_catalog_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        await (await SqliteCatalog.open(tmp_path)).aclose()
        (tmp_path / "key").unlink()
        with pytest.raises(StateError, match="restore the key file"):
            await SqliteCatalog.open(tmp_path)

    trio.run(main)
    assert not (tmp_path / "key").exists()


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    open_secrets(tmp_path)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        open_secrets(tmp_path)


def test_a_key_file_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    open_secrets(tmp_path)
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(StateError, match="32 bytes"):
        open_secrets(tmp_path)


def test_a_ciphertext_is_bound_to_its_context(tmp_path: Path) -> None:
    secrets = open_secrets(tmp_path)
    sealed = secrets.encrypt("päss", "user data of f1")

    assert "päss" == open_secrets(tmp_path).decrypt(sealed, "user data of f1")
    assert sealed != secrets.encrypt("päss", "user data of f1")
    for broken, context in (
        (sealed, "user data of f2"),
        (sealed[:-4], "user data of f1"),
        ("v9:xx", "user data of f1"),
    ):
        with pytest.raises(StateError, match="cannot be decrypted"):
            secrets.decrypt(broken, context)


def test_what_was_stored_is_synced_before_it_is_told(tmp_path: Path) -> None:
    async def main() -> int:
        catalog = await SqliteCatalog.open(tmp_path)
        row = await catalog._database.read(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
        await catalog.aclose()
        return int(row[0])

    assert 2 == trio.run(main)  # FULL
