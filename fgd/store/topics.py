"""Topics, who subscribes to them, message templates, and messages on their way, in `topics.db`.

Messages lie in the table of `fgd.store.deliveries`, one row for each subscriber: `func_id` is the topic's id, `version`
the subscriber's. So a publication is one transaction, and what delivers outcomes of functions delivers messages too.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from fgd.errors import Conflict
from fgd.store import deliveries
from fgd.store.deliveries import DeliveryStore, NewDelivery
from fgd.store.sqlite import Database, Migrations

UNCONFIRMED: Final = 0
CONFIRMED: Final = 1
CANCELLED: Final = 3


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of a project."""

    topic_id: str
    project_id: str
    name: str
    display_name: str = ""
    #: Text attributes: `access_policy`, `introduction`.
    attributes: dict[str, str] = {}
    created_s: float = 0.0
    updated_s: float = 0.0


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who gets the messages of a topic."""

    subscription_id: str
    topic_id: str
    #: `functionstage`, `http` or `https`.
    protocol: str
    endpoint: str
    remark: str = ""
    status: int = UNCONFIRMED
    #: What confirms and cancels it.
    token: str = ""
    #: The token confirms until then; epoch seconds.
    token_until_s: float = 0.0
    #: Headers that messages carry beside SMN's own.
    headers: dict[str, str] = {}
    created_s: float = 0.0


class MessageTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A text with `{tags}`."""

    template_id: str
    project_id: str
    name: str
    protocol: str
    content: str
    created_s: float = 0.0
    updated_s: float = 0.0


MIGRATIONS: Final[Migrations] = (
    (
        """CREATE TABLE topic (
            topic_id TEXT PRIMARY KEY, project_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
            UNIQUE (project_id, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE subscription (
            subscription_id TEXT PRIMARY KEY, topic_id TEXT NOT NULL REFERENCES topic ON DELETE CASCADE,
            body TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX subscription_topic ON subscription (topic_id)",
        """CREATE TABLE template (
            template_id TEXT PRIMARY KEY, project_id TEXT NOT NULL, name TEXT NOT NULL, protocol TEXT NOT NULL,
            body TEXT NOT NULL, UNIQUE (project_id, name, protocol)
        ) WITHOUT ROWID""",
        *deliveries.SCHEMA,
    ),
)


class TopicStore:
    """What a method returned from is on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.deliveries = DeliveryStore(database, database.run)

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Opens or makes `topics.db`.

        Raises:
            StateError, StorageFull: see `Database.open`.
        """
        return cls(await Database.open(state_dir / "topics.db", MIGRATIONS))

    async def aclose(self) -> None:
        await self._database.aclose()

    async def topics(self) -> list[Topic]:
        return await self._all("topic", Topic)

    async def subscriptions(self) -> list[Subscription]:
        return await self._all("subscription", Subscription)

    async def templates(self) -> list[MessageTemplate]:
        return await self._all("template", MessageTemplate)

    async def put_topic(self, topic: Topic) -> None:
        """Stores a topic, or puts it in the place of the one with its id.

        Raises:
            Conflict: the project has another of that name.
        """
        row = (topic.topic_id, topic.project_id, topic.name, msgspec.json.encode(topic).decode())
        sql = (
            "INSERT INTO topic VALUES (?,?,?,?) ON CONFLICT (topic_id) DO UPDATE SET name=excluded.name,"
            " body=excluded.body"
        )
        await self._put(sql, row, f"name: there is a topic {topic.name!r} already")

    async def delete_topic(self, topic_id: str) -> None:
        """Deletes a topic, its subscriptions, and messages that could not be delivered."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM topic WHERE topic_id=?", (topic_id,))
            connection.execute("DELETE FROM delivery WHERE func_id=? AND state=1", (topic_id,))

        await self._database.run(work)

    async def put_subscription(self, subscription: Subscription, messages: Sequence[NewDelivery] = ()) -> None:
        """Stores a subscription, or puts it in the place of the one with its id, with messages to it."""
        row = (subscription.subscription_id, subscription.topic_id, msgspec.json.encode(subscription).decode())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO subscription VALUES (?,?,?)", row)
            deliveries.insert(connection, messages)

        await self._database.run(work)

    async def delete_subscription(self, subscription: Subscription) -> None:
        key = (subscription.subscription_id,)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM subscription WHERE subscription_id=?", key)
            connection.execute(
                "DELETE FROM delivery WHERE func_id=? AND version=? AND state=1", (subscription.topic_id, *key)
            )

        await self._database.run(work)

    async def put_template(self, template: MessageTemplate) -> None:
        """Stores a template, or puts it in the place of the one with its id.

        Raises:
            Conflict: the project has another of that name for that protocol.
        """
        body = msgspec.json.encode(template).decode()
        row = (template.template_id, template.project_id, template.name, template.protocol, body)
        sql = "INSERT INTO template VALUES (?,?,?,?,?) ON CONFLICT (template_id) DO UPDATE SET body=excluded.body"
        taken = f"message_template_name: there is a template {template.name!r} for {template.protocol} already"
        await self._put(sql, row, taken)

    async def delete_template(self, template_id: str) -> None:
        await self._database.run(
            lambda connection: connection.execute("DELETE FROM template WHERE template_id=?", (template_id,))
        )

    async def publish(self, messages: Sequence[NewDelivery]) -> None:
        """Stores a message for all its subscribers, or for none."""
        await self._database.run(lambda connection: deliveries.insert(connection, messages))

    async def _put(self, sql: str, row: Sequence[str], taken: str) -> None:
        try:
            await self._database.run(lambda connection: connection.execute(sql, row))
        except sqlite3.IntegrityError as error:
            raise Conflict(taken) from error

    async def _all[T](self, table: str, kind: type[T]) -> list[T]:
        rows = await self._database.read(lambda connection: connection.execute(f"SELECT body FROM {table}").fetchall())
        return [msgspec.json.decode(row[0], type=kind) for row in rows]
