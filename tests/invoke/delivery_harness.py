"""A queue and a deliverer on a real database, with a kind of destination that the test answers for."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from fgd.builtin.to_function import FunctionDestination
from fgd.destination import Delivery, Node
from fgd.invoke.api import Call, Outcome
from fgd.invoke.deliverer import Deliverer
from fgd.invoke.destinations import Destinations
from fgd.invoke.handover import InvokeNode
from fgd.invoke.resolve import Directory
from fgd.model import AsyncConfig, Target
from fgd.store.object_types import Actor
from tests.invoke.async_harness import Harness, function, running

BOX = Target("Box", '{"to": "box"}')


def to_function(name: str) -> Target:
    return Target("FunctionGraph", f'{{"func_urn": "{name}"}}')


class NoStores:
    """No object stores of others."""

    async def put_bytes(
        self, project_id: str, store: str, bucket: str, key: str, data: bytes, content_type: str
    ) -> None:
        raise NotImplementedError


class NoObjects:
    """No object store: the kinds of these tests make no objects."""

    async def put_bytes(
        self, project_id: str, bucket: str, key: str, data: bytes, actor: Actor, *, content_type: str, expires_s: float
    ) -> None:
        raise NotImplementedError


class Mail:
    """What came to the boxes, and what they do with it."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.where: list[str] = []
        #: Called for each try: it may raise, or wait.
        self.answer: Callable[[Delivery], Any] = lambda delivery: None

    def kind(self) -> type[Any]:
        mail = self

        class Box:
            kind = "Box"

            def __init__(self, node: Node) -> None:
                pass

            def parse(self, param: Mapping[str, Any]) -> str:
                return str(param["to"])

            async def deliver(self, delivery: Delivery, settings: str) -> None:
                mail.got.append(delivery)
                mail.where.append(settings)
                waits = mail.answer(delivery)
                if waits is not None:
                    await waits

        return Box


class Post:
    """What a test holds: the queue's harness and the deliverer."""

    def __init__(self, harness: Harness, deliverer: Deliverer, mail: Mail, directory: Directory) -> None:
        self.harness = harness
        self.deliverer = deliverer
        self.mail = mail
        self.directory = directory
        self.counted: list[tuple[str, str, int]] = []
        self.notes: list[tuple[str, str]] = []

    async def empty(self) -> None:
        """Waits until every event is over and nothing is on its way."""
        await self.harness.drained()
        await self.harness.states()  # behind the commit that is on its way
        await trio.testing.wait_all_tasks_blocked()
        deliverer = self.deliverer
        await self.harness.until(
            lambda: deliverer.open == 0 and not any(line.held for line in deliverer._lines.values())
        )

    async def states(self, func_id: str = "f1") -> list[tuple[str, int, str]]:
        """(status, tries, error) of what has not arrived."""
        found = await self.deliverer.list(func_id, limit=100)
        return [(("WAIT", "FAIL")[one.state], one.tries, one.error) for one in found]


def _made(harness: Harness, mail: Mail) -> Post:
    """The deliverer of a queue that does not run yet."""
    directory = Directory([function(func_id) for func_id in harness.functions])
    node = InvokeNode(harness.config, directory, harness.queue, harness.now_s, _no_topics, NoObjects(), NoStores())
    destinations = Destinations(
        [("test", True, mail.kind()), ("own", True, FunctionDestination)],
        node,
        timeout_s=harness.config.delivery_timeout_s,
    )
    post: Post

    def count(func_id: str, version: str, kind: str, result: str, number: int) -> None:
        post.counted.append((kind, result, number))

    def note(func_id: str, version: str, request_id: str, level: str, text: str) -> None:
        post.notes.append((level, text))

    deliverer = Deliverer(
        harness.queue.deliveries,
        destinations,
        harness.config,
        now_s=harness.now_s,
        project_of=lambda urn: urn.split(":")[3],
        count=count,
        note=note,
    )
    harness.queue.attach(deliverer.stored, lambda: deliverer.open)
    post = Post(harness, deliverer, mail, directory)
    return post


async def _no_topics(delivery: Delivery, topic_urn: str) -> None:
    raise NotImplementedError


@asynccontextmanager
async def posting(
    state_dir: Path,
    mail: Mail,
    answer: Callable[[Call], Outcome | None] = lambda call: Outcome(0, b"{}"),
    *,
    aims: Mapping[str, AsyncConfig] | None = None,
    **settings: int | float,
) -> AsyncIterator[Post]:
    """A queue and a deliverer at work.

    Args:
        aims: settings of functions, by id; of all others both outcomes go to the box.
    """
    made: list[Post] = []

    def before(harness: Harness) -> Callable[..., Awaitable[object]]:
        harness.settings = AsyncConfig(max_retries=0, on_success=BOX, on_failure=BOX)
        harness.settings_of.update(aims or {})
        made.append(_made(harness, mail))
        return made[0].deliverer.run

    settings = {"delivery_retry_first_s": 0.001, "delivery_timeout_s": 5.0} | settings
    async with running(state_dir, answer, before, **settings):
        yield made[0]
