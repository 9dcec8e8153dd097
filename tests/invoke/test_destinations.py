"""Kinds of destinations that plugins bring: what does not fit is left out, what blocks or fails costs only itself."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio

from fgd.config import Config
from fgd.destination import BadDestination, Delivery, Node
from fgd.errors import PlatformError
from fgd.invoke.destinations import DeliveryTimeout, Destinations

DELIVERY = Delivery(
    id=1, project_id="p1", function_urn="urn:fss:local:p1:function:default:f1:latest", request_id="r1", success=True,
    document=b"{}", tries=0, created_s=1.0,
)  # fmt: skip


class PlainNode:
    """Remembers what was handed over, and in which thread."""

    def __init__(self) -> None:
        self.config = Config()
        self.handed: list[tuple[Delivery, str, threading.Thread]] = []

    def now_s(self) -> float:
        return 1.0

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        await trio.lowlevel.checkpoint()
        self.handed.append((delivery, function_urn, threading.current_thread()))

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        raise NotImplementedError

    async def put_object(
        self, project_id: str, bucket: str, key: str, data: bytes, *, content_type: str, expires_s: float,
        store: str = "", chain: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        raise NotImplementedError


class Base:
    kind = "Stranger"

    def __init__(self, node: Node) -> None:
        self.node = node

    def parse(self, param: Mapping[str, Any]) -> object:
        return dict(param)

    async def deliver(self, delivery: Delivery, settings: object) -> None:
        await trio.sleep(0)


class Rig:
    """Kinds of one plugin, and what was reported of it."""

    def __init__(self, *kinds: type[Any], timeout_s: float = 0.2) -> None:
        self.reports: list[str] = []
        self.node = PlainNode()
        self.destinations = Destinations(
            [("stranger", False, kind) for kind in kinds],
            self.node,
            timeout_s=timeout_s,
            report=lambda plugin, text: self.reports.append(f"{plugin}: {text}"),
        )

    async def deliver(self, param: str = "{}") -> None:
        await self.destinations.deliver("Stranger", param, DELIVERY)


def in_loop(main: Callable[[], Any]) -> None:
    trio.run(main)


def test_what_is_no_destination_is_left_out_and_reported() -> None:
    class NoKind(Base):
        kind = ""

    class NoParse:
        kind = "NoParse"

        def __init__(self, node: Node) -> None:
            pass

        async def deliver(self, delivery: Delivery, settings: object) -> None:
            pass

    class Plain(Base):
        def deliver(self, delivery: Delivery, settings: object) -> None:  # type: ignore[override]  # the mistake
            pass

    class Raises(Base):
        def __init__(self, node: Node) -> None:
            raise LookupError("no settings")

    class Empty:
        pass

    async def main() -> None:
        rig = Rig(NoKind, NoParse, Plain, Raises, Empty, Base)
        assert ["Stranger"] == rig.destinations.kinds
        assert ["Stranger"] == rig.destinations.of_plugin("stranger")
        words = ("kind must be", "no method parse", "async method", "no settings", "takes no arguments")
        assert len(words) == len(rig.reports)
        for word, report in zip(words, rig.reports, strict=True):
            assert word in report

    in_loop(main)


def test_a_kind_that_is_there_already_stays() -> None:
    async def main() -> None:
        node = PlainNode()
        reports: list[str] = []
        kinds = Destinations(
            [("own", True, Base), ("stranger", False, Base)], node, timeout_s=1.0,
            report=lambda plugin, text: reports.append(plugin),
        )  # fmt: skip
        assert (["Stranger"], []) == (kinds.of_plugin("own"), kinds.of_plugin("stranger"))
        assert ["stranger"] == reports

    in_loop(main)


def test_a_plugin_works_in_a_thread_of_its_own() -> None:
    seen: list[tuple[object, threading.Thread]] = []

    class Kind(Base):
        async def deliver(self, delivery: Delivery, settings: object) -> None:
            seen.append((settings, threading.current_thread()))
            await self.node.enqueue(delivery, "other")

    async def main() -> None:
        rig = Rig(Kind)
        await rig.deliver('{"a": 1}')
        [(settings, thread)] = seen
        assert {"a": 1} == settings
        assert thread is not threading.current_thread()
        assert [(DELIVERY, "other", threading.current_thread())] == rig.node.handed

    in_loop(main)


def test_a_plugin_that_waits_too_long_is_cancelled() -> None:
    class Kind(Base):
        async def deliver(self, delivery: Delivery, settings: object) -> None:
            await trio.sleep_forever()

    async def main() -> None:
        rig = Rig(Kind, timeout_s=0.05)
        for _ in range(6):  # more than may hang: it does not hang
            with pytest.raises(DeliveryTimeout, match=r"longer than 0\.05 s\Z"):
                await rig.deliver()
        assert [] == rig.reports

    in_loop(main)


def test_a_plugin_that_blocks_stops_nobody_and_is_reported() -> None:
    blocked = threading.Event()

    class Kind(Base):
        async def deliver(self, delivery: Delivery, settings: object) -> None:
            blocked.wait(20)

    async def main() -> None:
        rig = Rig(Kind, timeout_s=0.05)
        longest_s = 0.0

        async def others() -> None:
            nonlocal longest_s
            while True:
                began_s = time.perf_counter()
                await trio.sleep(0.01)
                longest_s = max(longest_s, time.perf_counter() - began_s)

        async def one() -> None:
            with pytest.raises(DeliveryTimeout, match="blocks its thread"):
                await rig.deliver()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            async with trio.open_nursery() as deliveries:
                for _ in range(4):
                    deliveries.start_soon(one)
            with pytest.raises(DeliveryTimeout, match="4 earlier deliveries of this kind hang"):
                await rig.deliver()
            nursery.cancel_scope.cancel()
        assert longest_s < 0.4, "the daemon's loop went on"
        assert all("it must await" in report for report in rig.reports)
        blocked.set()
        with trio.fail_after(5):
            while True:
                try:
                    await rig.deliver()
                    break
                except DeliveryTimeout:
                    await trio.sleep(0.01)

    in_loop(main)


@pytest.mark.parametrize("error", [OSError("away"), SystemExit(3), ExceptionGroup("g", [ValueError("inner")])])
def test_whatever_a_plugin_raises_is_an_error_of_that_delivery(error: BaseException) -> None:
    class Kind(Base):
        async def deliver(self, delivery: Delivery, settings: object) -> None:
            raise error

    async def main() -> None:
        with pytest.raises(Exception) as caught:
            await Rig(Kind).deliver()
        assert str(error) in str(caught.value)

    in_loop(main)


def test_a_parse_that_fails_is_ours_to_report_and_one_that_refuses_is_not() -> None:
    class Kind(Base):
        def parse(self, param: Mapping[str, Any]) -> object:
            if not param:
                raise BadDestination("url: must be there")
            return param["other"]

    async def main() -> None:
        rig = Rig(Kind)
        with pytest.raises(BadDestination, match=r"^url: must be there"):
            rig.destinations.parse("Stranger", {})
        with pytest.raises(PlatformError, match="KeyError"):
            rig.destinations.parse("Stranger", {"url": "x"})
        assert ["stranger: parse of Stranger failed: KeyError: 'other'"] == rig.reports

    in_loop(main)


def test_a_kind_that_is_gone_says_so() -> None:
    async def main() -> None:
        with pytest.raises(LookupError, match="no plugin brings destinations of the kind Gone"):
            await Rig().destinations.deliver("Gone", "{}", DELIVERY)

    in_loop(main)


def test_tidying_goes_on_behind_one_that_fails() -> None:
    tidied: list[str] = []

    class First(Base):
        async def tidy(self) -> None:
            raise OSError("disk")

    class Second(Base):
        kind = "Second"

        async def tidy(self) -> None:
            tidied.append(self.kind)

    async def main() -> None:
        rig = Rig(First, Second)
        await rig.destinations.tidy()
        assert ["Second"] == tidied
        assert ["stranger: tidy of Stranger failed: OSError: disk"] == rig.reports

    in_loop(main)
