"""Which packages must stay on disk because an instance runs them."""

from fgd.model import DependencyUse
from fgd.wire import frames
from tests.instance.harness import bench, changed, function, run


def test_packages_of_an_instance_are_in_use_until_it_is_gone() -> None:
    """Also of one whose function has other packages by now: Python imports late."""

    async def body() -> None:
        async with bench(keep_alive_s=0.0) as b:
            old = function(code_digest="c1", dependencies=(DependencyUse(id="d", digest="d1"),))
            waiting = b.call(old)
            sandbox = await b.host.next()
            await sandbox.frame(frames.INIT)
            call_id = (await sandbox.invocation())[0]
            b.scheduler.function_changed(old, changed(old, code_digest="c2", dependencies=()))
            during = b.scheduler.code_in_use
            sandbox.ready()
            sandbox.answer(call_id)
            await waiting.outcome()
            await b.settle()
            after = b.scheduler.code_in_use

            assert {"c1", "d1"} == during
            assert set() == after

    run(body)
