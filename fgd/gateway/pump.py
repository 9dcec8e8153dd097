"""The one trio task in which the reactor's callbacks run.

To sleep in trio and be woken costs 50 to 60 us of CPU (two epoll objects, the scheduler, the wake-up itself), more than
a whole request; and the answer of a short function, or the next request of its client, is there within that time. So
before it sleeps the pump asks again for `_LINGER_S`, giving its core to whoever wants it. One connection, one hop into
another process: p50 117 -> 70 us, CPU 80 -> 53 us per request. Where asking again catches nothing (slow functions,
sparse traffic), it soon gives that up.
"""

import os
from time import perf_counter
from typing import Final

import trio

from fgd.linux.reactor import Reactor

_LINGER_S: Final = 50e-6
#: All other tasks wait for this long at most.
_TURN_S: Final = 1500e-6
_LUCK_MAX: Final = 8
#: Without luck, one wake-up in so many tries again.
_RETRY: Final = 16


async def pump(reactor: Reactor) -> None:
    """Drains the reactor until cancelled."""
    fd = reactor.fileno()
    drain = reactor.drain
    luck = _LUCK_MAX
    unlucky = 0
    while True:
        await trio.lowlevel.wait_readable(fd)
        drain()
        if luck == 0:
            unlucky += 1
            if unlucky % _RETRY:
                continue
        if _linger(reactor):
            luck = min(luck + 1, _LUCK_MAX)
        elif luck:
            luck -= 1


def _linger(reactor: Reactor) -> bool:
    """Asks again for a moment; tells whether anything came."""
    drain = reactor.drain
    caught = False
    began_s = last_s = now_s = perf_counter()
    while now_s - last_s < _LINGER_S and now_s - began_s < _TURN_S:
        if drain():
            caught = True
            now_s = last_s = perf_counter()
        else:
            os.sched_yield()
            now_s = perf_counter()
    return caught
