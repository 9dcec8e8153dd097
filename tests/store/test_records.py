"""Tags and test events on disk: they survive, belong to a function, and go with it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from fgd.errors import RequestError
from fgd.model import SavedEvent
from fgd.store.catalog import SqliteCatalog
from fgd.store.events import SavedEventStore
from fgd.store.tags import TagStore
from tests.store.test_catalog import function


def in_catalog(state_dir: Path, main: Callable[[SqliteCatalog], Awaitable[None]]) -> None:
    async def run() -> None:
        catalog = await SqliteCatalog.open(state_dir)
        try:
            await main(catalog)
        finally:
            await catalog.aclose()

    trio.run(run)


def event(name: str, event_id: str = "e1", content: str = "e30=") -> SavedEvent:
    return SavedEvent(func_id="f1", event_id=event_id, name=name, content=content, last_modified_s=1.0)


def test_tags_and_events_survive_reopening(tmp_path: Path) -> None:
    async def first(catalog: SqliteCatalog) -> None:
        await catalog.put_function(function())
        await TagStore(catalog.database).put("f1", {"ключ": "значение", "b": ""})
        await TagStore(catalog.database).put("f1", {"b": "2", "c": "3"})
        await TagStore(catalog.database).delete("f1", ["c", "not there"])
        await SavedEventStore(catalog.database).put(event("one"))
        await SavedEventStore(catalog.database).put(event("renamed", content="e30K"))

    async def second(catalog: SqliteCatalog) -> None:
        assert {"f1": {"ключ": "значение", "b": "2"}} == await TagStore(catalog.database).load()
        assert [event("renamed", content="e30K")] == await SavedEventStore(catalog.database).of("f1")

    in_catalog(tmp_path, first)
    in_catalog(tmp_path, second)


def test_a_name_belongs_to_one_event_of_a_function(tmp_path: Path) -> None:
    async def main(catalog: SqliteCatalog) -> None:
        store = SavedEventStore(catalog.database)
        await store.put(event("one"))
        with pytest.raises(RequestError, match=r"^name:"):
            await store.put(event("one", "e2"))

        assert [event("one")] == await store.of("f1")

    in_catalog(tmp_path, main)


def test_what_belongs_to_a_function_goes_with_it(tmp_path: Path) -> None:
    async def main(catalog: SqliteCatalog) -> None:
        await catalog.put_function(function())
        await TagStore(catalog.database).put("f1", {"a": "1"})
        await SavedEventStore(catalog.database).put(event("one"))
        await catalog.delete_function(function())

        assert {} == await TagStore(catalog.database).load()
        assert [] == await SavedEventStore(catalog.database).of("f1")

    in_catalog(tmp_path, main)


def test_tags_of_a_function_that_never_came_are_removed_at_the_start(tmp_path: Path) -> None:
    """What a crash between the tags of a new function and the function itself leaves behind."""

    async def main(catalog: SqliteCatalog) -> None:
        await TagStore(catalog.database).put("f1", {"a": "1"})
        assert {} == await TagStore(catalog.database).load()
        await catalog.put_function(function())

        assert {} == await TagStore(catalog.database).load()

    in_catalog(tmp_path, main)
