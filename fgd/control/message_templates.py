"""Message templates of projects: texts with tags, one for each protocol and one for all others."""

import uuid
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from fgd.control import rules, topic_rules
from fgd.control.topic_rules import DEFAULT, PROTOCOLS
from fgd.errors import Conflict, NotFound
from fgd.store.topics import MessageTemplate, TopicStore

TEMPLATES_MAX: Final = 100


class MessageTemplates:
    """The operations on them."""

    def __init__(self, store: TopicStore, now_s: Callable[[], float]) -> None:
        self._store = store
        self._now_s = now_s
        self._all: dict[str, MessageTemplate] = {}
        self._lock = trio.Lock()

    async def load(self) -> None:
        """Reads what is stored."""
        self._all = {one.template_id: one for one in await self._store.templates()}

    def of_project(self, project_id: str, name: str = "", protocol: str = "") -> list[MessageTemplate]:
        """Of a project, by name; "" means any."""
        found = [
            one
            for one in self._all.values()
            if one.project_id == project_id and name in ("", one.name) and protocol in ("", one.protocol)
        ]
        return sorted(found, key=lambda one: (one.name, one.protocol))

    def find(self, project_id: str, template_id: str) -> MessageTemplate:
        """Raises NotFound."""
        found = self._all.get(template_id)
        if found is None or found.project_id != project_id:
            raise NotFound(f"message_template_id: there is no template {rules.shown(template_id)}")
        return found

    async def create(self, project_id: str, body: Mapping[str, object]) -> MessageTemplate:
        """Makes one.

        Raises:
            Conflict: there is one of that name for that protocol.
        """
        now_s = self._now_s()
        template = MessageTemplate(
            template_id=uuid.uuid4().hex, project_id=project_id,
            name=topic_rules.template_name(body.get("message_template_name")),
            protocol=topic_rules.protocol(body.get("protocol"), default=True),
            content=topic_rules.template_content(body.get("content")), created_s=now_s, updated_s=now_s,
        )  # fmt: skip
        async with self._lock:
            if len(self.of_project(project_id)) >= TEMPLATES_MAX:
                raise Conflict(f"message_template_name: the project has {TEMPLATES_MAX} templates; delete one first")
            await self._put(template)
        return template

    async def update(self, template: MessageTemplate, body: Mapping[str, object]) -> None:
        """Gives it another text."""
        content = topic_rules.template_content(body.get("content"))
        async with self._lock:
            self.find(template.project_id, template.template_id)
            await self._put(msgspec.structs.replace(template, content=content, updated_s=self._now_s()))

    async def delete(self, template: MessageTemplate) -> None:
        async with self._lock:
            with trio.CancelScope(shield=True):
                await self._store.delete_template(template.template_id)
                self._all.pop(template.template_id, None)

    def texts(self, project_id: str, name: str, values: Mapping[str, str]) -> dict[str, str]:
        """The message by protocol.

        Raises:
            NotFound: no template has that name, or none of them is for `default`.
            BadParameter: a tag has no value.
        """
        found = {one.protocol: one.content for one in self.of_project(project_id, name)}
        if DEFAULT not in found:
            raise NotFound(f"message_template_name: there is no template {rules.shown(name)} for {DEFAULT}")
        return {
            protocol: topic_rules.filled(found[protocol], values)
            for protocol in (DEFAULT, *PROTOCOLS)
            if protocol in found
        }

    async def _put(self, template: MessageTemplate) -> None:
        with trio.CancelScope(shield=True):
            await self._store.put_template(template)
            self._all[template.template_id] = template
