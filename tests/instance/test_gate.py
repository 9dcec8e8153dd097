"""Functions with disks: who waits for them, and who does not."""

import trio

from fgd.model import Function, FunctionMount
from fgd.sandbox.mount_plan import Owner
from fgd.wire import frames
from tests.instance.harness import PlayedSandbox, bench, function, run

MOUNTS = (FunctionMount(kind="nfs", resource="nas", path="/data"),)
OWNER = Owner(5001, 5002)


class Server:
    """Disks of a server that answers when the test says so."""

    def __init__(self, *, up: bool = False) -> None:
        self.up = up
        self.reason = ""
        self.asked = 0
        self.answer = trio.Event()

    def own_ids(self, function: Function) -> Owner | None:
        return OWNER

    def mounted(self, function: Function) -> bool:
        return self.up

    async def mount(self, function: Function) -> str:
        self.asked += 1
        await self.answer.wait()
        self.up = not self.reason
        return self.reason


async def _serve(sandbox: PlayedSandbox) -> None:
    await sandbox.frame(frames.INIT)
    sandbox.ready()
    sandbox.answer((await sandbox.invocation())[0])


def test_a_server_that_does_not_answer_takes_no_start_from_others() -> None:
    async def body() -> None:
        server = Server()
        async with bench(mounter=server, starts_at_once=2) as b:
            waiting = [b.call(function("disk", mounts=MOUNTS)) for _ in range(10)]
            await b.settle()
            other = b.call(function("plain"))
            await _serve(await b.host.next())

            assert 0 == (await other.outcome()).code
            assert 1 == len(b.host.opened)
            assert 1 == server.asked
            server.answer.set()
            sandbox = await b.host.next()
            await _serve(sandbox)
            assert 0 == (await waiting[0].outcome()).code
            assert OWNER == sandbox.own_ids

    run(body)


def test_all_that_wait_hear_at_once_why_a_disk_is_not_there() -> None:
    async def body() -> None:
        server = Server()
        server.reason = "mount /data: nas:/: no answer within 10 s"
        async with bench(mounter=server) as b:
            waiting = [b.call(function("disk", mounts=MOUNTS)) for _ in range(5)]
            server.answer.set()
            outcomes = [await one.outcome() for one in waiting]

            assert 5 == len(outcomes)
            assert all(server.reason.encode() in one.body for one in outcomes)
            assert not any(one.function_error for one in outcomes)
            assert [] == b.host.opened

    run(body)


def test_a_server_that_goes_away_at_once_is_not_asked_for_ever() -> None:
    async def body() -> None:
        server = Server()
        server.answer.set()
        server.mounted = lambda function: False  # type: ignore[method-assign]
        async with bench(mounter=server) as b:
            outcome = await b.call(function("disk", mounts=MOUNTS)).outcome()

            assert b"went away again" in outcome.body
            assert 1 == server.asked

    run(body)


def test_functions_with_disks_have_half_of_the_starts() -> None:
    async def body() -> None:
        async with bench(mounter=Server(up=True), starts_at_once=4) as b:
            for name in ("one", "two"):
                for _ in range(3):
                    b.call(function(name, mounts=MOUNTS))
            await b.settle()
            assert 2 == len(b.host.opened)

            for _ in range(2):
                b.call(function("plain"))
            await b.settle()
            assert 4 == len(b.host.opened)

            sandbox = await b.host.next()
            await sandbox.frame(frames.INIT)
            sandbox.ready()
            await b.settle()
            assert 5 == len(b.host.opened)

    run(body)


def test_functions_without_disks_keep_their_blanks() -> None:
    async def body() -> None:
        async with bench(mounter=Server(up=True), blank_pool=2, blank_pool_max=2) as b:
            b.scheduler.blanks.want("Python3.12", "none")
            await b.settle()
            assert [None, None] == [one.own_ids for one in b.host.opened]

            b.call(function("disk", mounts=MOUNTS))
            b.call(function("plain"))
            await b.settle()

            assert OWNER in [one.own_ids for one in b.host.opened if one.bound is not None]
            assert b.host.opened[0].bound is not None

    run(body)
