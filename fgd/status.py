"""The node as it is now, for `fgd status` and for the metrics."""

import os
import time
from collections.abc import Callable
from importlib.metadata import version

from fgd.instance.instance import State
from fgd.instance.scheduler import Scheduler
from fgd.metrics import Gauges, Metrics, NodeGauges
from fgd.units import MIB


class Status:
    """Looks at the scheduler when somebody asks."""

    def __init__(
        self, scheduler: Scheduler, metrics: Metrics, *, project_id: str, functions: Callable[[], int],
        async_waiting: Callable[[], int], deliveries: Callable[[], tuple[int, int]],
        network: Callable[[], str] = lambda: "none",
    ) -> None:  # fmt: skip
        self._scheduler = scheduler
        self._metrics = metrics
        self._project_id = project_id
        self._functions = functions
        self._async_waiting = async_waiting
        #: Open ones, and failed ones that are kept.
        self._deliveries = deliveries
        self._network = network
        self._began_s = time.monotonic()

    def document(self) -> dict[str, object]:
        """What `fgd status --json` prints."""
        budget = self._scheduler.budget
        return {
            "version": version("fgd"),
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            "project_id": self._project_id,
            "functions": self._functions(),
            "network": self._network(),
            "instances": self._scheduler.count(),
            "reserved": self._reserved(),
            "blanks": self._scheduler.blanks.count(),
            "waiting": self._scheduler.waiting,
            "async_waiting": self._async_waiting(),
            "deliveries_open": self._deliveries()[0],
            "deliveries_failed": self._deliveries()[1],
            "memory_promised_mib": budget.promised_mib,
            "memory_budget_mib": budget.memory_max_mib,
            "memory_used_mib": self._memory_used_bytes() // MIB,
        }

    def instances(self) -> dict[str, int]:
        """How many instances there are of each function that has any, by its id."""
        found: dict[str, int] = {}
        for (func_id, _, _), pool in self._scheduler.pools.items():
            found[func_id] = found.get(func_id, 0) + len(pool.instances)
        return found

    def metrics(self, project_id: str = "") -> bytes:
        """Prometheus text, with the gauges of this moment; only one project's functions if it is given."""
        scheduler = self._scheduler
        budget = scheduler.budget
        gauges: dict[tuple[str, str], Gauges] = {}
        for (func_id, version_name, _), pool in scheduler.pools.items():
            of_version = gauges.setdefault((func_id, version_name), Gauges({}))
            states = dict(of_version.instances)
            for instance in pool.instances:
                state = _state_name(instance.state, bool(instance.calls), instance.frozen)
                states[state] = states.get(state, 0) + 1
                of_version.memory_bytes += instance.sandbox.memory_bytes()
            of_version.instances = states
            of_version.reserved_wanted += pool.reserve.wanted
            of_version.reserved_ready += pool.reserve.ready
        node = NodeGauges(
            instances=scheduler.count(),
            blanks=scheduler.blanks.count(),
            waiting=scheduler.waiting,
            async_waiting=self._async_waiting(),
            deliveries_open=self._deliveries()[0],
            deliveries_failed=self._deliveries()[1],
            memory_promised_bytes=budget.promised_mib * MIB,
            memory_used_bytes=sum(one.memory_bytes for one in gauges.values()),
            memory_budget_bytes=budget.memory_max_mib * MIB,
        )
        self._metrics.observe(node, gauges)
        return self._metrics.render(project_id).encode()

    def _reserved(self) -> dict[str, int]:
        reserves = [pool.reserve for pool in self._scheduler.pools.values()]
        return {"wanted": sum(one.wanted for one in reserves), "ready": sum(one.ready for one in reserves)}

    def _memory_used_bytes(self) -> int:
        pools = self._scheduler.pools.values()
        return sum(instance.sandbox.memory_bytes() for pool in pools for instance in pool.instances)


def _state_name(state: State, busy: bool, frozen: bool) -> str:
    if state is State.STARTING:
        return "starting"
    if state is State.DRAINING:
        return "draining"
    if busy:
        return "busy"
    return "frozen" if frozen else "idle"
