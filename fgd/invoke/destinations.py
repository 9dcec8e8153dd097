"""The kinds of destinations of this daemon: those that plugins bring, checked once, and how each is run.

Theory of operation: fgd's own kinds run in the daemon's loop. A plugin's `deliver` runs in a thread with a loop of its
own, because a mistake there that blocks (a client library without `await`) would stop every invocation of the node.
Such a thread is left alone when its time is over; while too many of a kind hang, the kind gets no more.
"""

import inspect
import logging
import re
import threading
from collections.abc import Callable, Coroutine, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
import trio

from fgd.destination import Delivery, Destination, InvokesFunction, Node, Tidies
from fgd.errors import FgdError, PlatformError

log = logging.getLogger(__name__)

_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}\Z")
#: Deliveries of a plugin's kind that may hang in threads.
_HANGING_MAX: Final = 4
#: A plugin's loop gets so much longer than its deadline before its thread is left alone.
_GRACE_S: Final = 0.5
_TIDY_S: Final = 60.0


class DeliveryTimeout(Exception):
    """The destination took longer than it may."""


class _Kind:
    """A destination and where it came from."""

    __slots__ = ("builtin", "destination", "hanging", "parsed", "plugin")

    def __init__(self, plugin: str, builtin: bool, destination: Destination[Any]) -> None:
        self.plugin = plugin
        self.builtin = builtin
        self.destination = destination
        #: Of threads that did not come back in time: set when they do.
        self.hanging: list[threading.Event] = []
        #: Settings of the targets that were delivered to lately.
        self.parsed = lru_cache(maxsize=256)(lambda param: destination.parse(msgspec.json.decode(param, type=dict)))


class Destinations:
    """All kinds, by name. One that does not keep to `Destination` is left out and reported."""

    def __init__(
        self,
        given: Iterable[tuple[str, bool, type[Any]]],
        node: Node,
        *,
        timeout_s: float,
        report: Callable[[str, str], None] = lambda plugin, error: None,
    ) -> None:
        """
        Args:
            given: name of the plugin, whether it is fgd's own, a class that it gives; fgd's own first.
            timeout_s: how long one delivery may take.
            report: told of what is wrong with a plugin.
        """
        self._timeout_s = timeout_s
        self._report = report
        self._kinds: dict[str, _Kind] = {}
        for plugin, builtin, made_by in given:
            try:
                destination = _made(made_by, node if builtin else _FarNode(node))
                name = destination.kind
                if name in self._kinds:
                    raise TypeError(f"the kind {name} is there already, of the plugin {self._kinds[name].plugin}")
            except Exception as error:  # a stranger's code
                self._broken(plugin, f"destination {made_by.__name__} is left out: {_text(error)}", error)
                continue
            self._kinds[name] = _Kind(plugin, builtin, destination)

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds, fgd's own first."""
        return list(self._kinds)

    def of_plugin(self, plugin: str) -> list[str]:
        """Names of the kinds that a plugin brings."""
        return [name for name, kind in self._kinds.items() if kind.plugin == plugin]

    def parse(self, kind: str, param: dict[str, Any]) -> Any:
        """The settings of a target.

        Raises:
            BadDestination: names the field of `param` and the rule.
            PlatformError: the plugin failed.
            KeyError: there is no such kind.
        """
        known = self._kinds[kind]
        try:
            return known.destination.parse(param)
        except FgdError:
            raise
        except Exception as error:  # a stranger's code
            self._broken(known.plugin, f"parse of {kind} failed: {_text(error)}", error)
            raise PlatformError(f"destination: the plugin {known.plugin} failed on it: {_text(error)}") from error

    def function_urn(self, kind: str, settings: Any) -> str | None:
        """The function that a target invokes; None for all other targets."""
        destination = self._kinds[kind].destination
        return destination.function_urn(settings) if isinstance(destination, InvokesFunction) else None

    async def deliver(self, kind: str, param: str, delivery: Delivery) -> None:
        """One try.

        Raises:
            LookupError: no plugin brings this kind any more.
            DeliveryTimeout: it took too long.
            Exception: whatever the kind raises; all but `Undeliverable` mean that it may be tried again.
        """
        known = self._kinds.get(kind)
        if known is None:
            raise LookupError(f"no plugin brings destinations of the kind {kind}")
        settings = known.parsed(param)
        await self._run(known, "deliver", lambda: known.destination.deliver(delivery, settings), self._timeout_s)

    async def tidy(self) -> None:
        """Lets every kind that has something to clear away do so."""
        for name, kind in self._kinds.items():
            destination = kind.destination
            if isinstance(destination, Tidies):
                try:
                    await self._run(kind, "tidy", destination.tidy, _TIDY_S)
                except Exception as error:  # a full disk, a stranger's code
                    self._broken(kind.plugin, f"tidy of {name} failed: {_text(error)}", error)

    async def _run(
        self, kind: _Kind, what: str, work: Callable[[], Coroutine[Any, Any, None]], timeout_s: float
    ) -> None:
        late = f"took longer than {timeout_s:g} s"

        async def timed() -> None:
            with trio.move_on_after(timeout_s) as scope:
                await work()
            if scope.cancelled_caught:
                raise DeliveryTimeout(late)

        if kind.builtin:
            await timed()
            return
        kind.hanging = [thread for thread in kind.hanging if not thread.is_set()]
        if len(kind.hanging) >= _HANGING_MAX:
            raise DeliveryTimeout(f"{len(kind.hanging)} earlier deliveries of this kind hang")
        back = threading.Event()

        def thread() -> None:
            try:
                trio.run(timed)
            except Exception:
                raise
            except BaseException as error:  # an exit asked for by a plugin is not the daemon's
                raise RuntimeError(f"it raised {_text(error)}") from error
            finally:
                back.set()

        in_time = False
        with trio.move_on_after(timeout_s + _GRACE_S):
            # Not of the common limiter: threads that hang would use it up.
            await trio.to_thread.run_sync(thread, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            in_time = True
        if not in_time:
            kind.hanging.append(back)
            self._broken(kind.plugin, f"{what} of {kind.destination.kind} blocks its thread: it must await", None)
            raise DeliveryTimeout(f"{late}, and blocks its thread")

    def _broken(self, plugin: str, text: str, error: Exception | None) -> None:
        log.error("plugin %s: %s", plugin, text, exc_info=error)
        self._report(plugin, text)


class _FarNode:
    """The node as a plugin sees it from its own thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._token = trio.lowlevel.current_trio_token()
        self.config = node.config
        self.now_s = node.now_s

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        def cross() -> None:
            trio.from_thread.run(self._node.enqueue, delivery, function_urn, trio_token=self._token)

        await trio.to_thread.run_sync(cross, abandon_on_cancel=True)

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        def cross() -> None:
            trio.from_thread.run(self._node.publish, delivery, topic_urn, trio_token=self._token)

        await trio.to_thread.run_sync(cross, abandon_on_cancel=True)

    async def put_object(
        self, project_id: str, bucket: str, key: str, data: bytes, *, content_type: str, expires_s: float,
        store: str = "", chain: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        async def put() -> None:
            await self._node.put_object(
                project_id, bucket, key, data, content_type=content_type, expires_s=expires_s, store=store,
                chain=chain,
            )  # fmt: skip

        def cross() -> None:
            trio.from_thread.run(put, trio_token=self._token)

        await trio.to_thread.run_sync(cross, abandon_on_cancel=True)


def _made(made_by: type[Any], node: Node) -> Destination[Any]:
    """The one object of a kind.

    Raises:
        TypeError: it is no destination. What its constructor raises comes through.
    """
    destination = made_by(node)
    kind = getattr(destination, "kind", None)
    if not isinstance(kind, str) or not _KIND.match(kind):
        raise TypeError(f"kind must be 1 to 32 letters and digits, a letter first, not {kind!r}")
    if not callable(getattr(destination, "parse", None)):
        raise TypeError("it has no method parse")
    for name in ("deliver", "tidy"):
        method = getattr(destination, name, None)
        if (method is not None or name == "deliver") and not inspect.iscoroutinefunction(method):
            raise TypeError(f"{name} must be an async method")
    made: Destination[Any] = destination
    return made


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
