"""The daemon's life: the root phase, its parts, their tasks in order, signals, and an orderly end.

`serve` is `fgd serve`: `fgd.prepare` ends without privileges; then `_Node.run` in trio.
"""

import argparse
import contextlib
import dataclasses
import gc
import logging
import os
import signal
import socket
import sys
import threading

import trio

from fgd import startup
from fgd.api.app import make_app
from fgd.api.objects import beside
from fgd.api.serve import serve_control, serve_objects
from fgd.config import Config, ConfigError, load_config
from fgd.control.functions import Functions
from fgd.errors import FgdError, StateError, StorageFull
from fgd.gateway.api import Listener
from fgd.gateway.pump import pump
from fgd.instance.scheduler import Scheduler
from fgd.linux.notify import sd_notify
from fgd.linux.timerfd import ClockWatch
from fgd.listeners import open_places, reload_certificate
from fgd.log import set_up_logging
from fgd.parts import Parts, object_app
from fgd.prepare import Prepared, prepare
from fgd.sandbox.host import LauncherHost, LauncherLost
from fgd.stream import BadStream, check_files

log = logging.getLogger(__name__)

#: The daemon works in its state directory; the longest path of a unix socket is 107 bytes, this one is always short.
_CONTROL_SOCKET = "/proc/self/cwd/control.sock"
_SWEEP_S = 600.0
#: How long tasks may take to end after everything is closed.
_LEFT_S = 3.0


def serve(args: argparse.Namespace) -> int:
    """Runs the daemon until it is told to stop; gives the exit status."""
    try:
        prepared = prepare(args)
    except (startup.StartError, ConfigError, FgdError) as error:
        print(f"fgd: {error}", file=sys.stderr)
        return getattr(error, "status", 1)
    node = _Node(prepared)
    status = 0
    try:
        trio.run(node.run)
    except BaseException as error:
        status = _explain(error)
    # Python waits at its end for threads that are no daemons; ours are all gone.
    threads = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if threads:
        _leave_behind(f"threads {', '.join(threads)}", status)
    return status


def _leave_behind(what: str, status: int) -> None:
    """Ends the process although something of a plugin's still runs."""
    log.error("ending without waiting for %s", what)
    logging.shutdown()
    os._exit(status)


def _explain(error: BaseException) -> int:
    """One line for what an operator can mend, a traceback for what only we can."""
    leaves = _leaves(error)
    for leaf in leaves:
        if isinstance(leaf, startup.StartError | StateError | StorageFull | LauncherLost):
            print(f"fgd: {leaf}", file=sys.stderr)
            return 1
    log.critical("fgd ends because of an error of its own", exc_info=error)
    return 70


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


class _Node:
    """The running daemon."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._config = prepared.config
        self._stop = trio.Event()
        self._parts: Parts | None = None

    async def run(self) -> None:
        """Everything from the first task to the last."""
        prepared = self._prepared
        async with contextlib.AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.push(self._limit_end)
            host = LauncherHost(prepared.launcher)
            await nursery.start(host.run)
            stack.push_async_callback(host.aclose)
            self._parts = parts = Parts(prepared, nursery, stack, host)
            await parts.build()
            listeners = parts.listeners
            listeners.append(Listener(prepared.admin, admin=True))
            tcp = prepared.inherited or [startup.open_listener(prepared.host, prepared.port)]
            listeners += [Listener(sock) for sock in tcp]
            listeners += open_places(parts.places)
            nursery.start_soon(_sweep_code, parts.functions, parts.scheduler)
            nursery.start_soon(parts.clock.follow, _clock_watch(stack))
            nursery.start_soon(parts.audit.run)
            nursery.start_soon(parts.log_streams.run)
            nursery.start_soon(parts.collector.run)
            for task in (parts.book.run, parts.recorder.run, parts.scheduler.run, parts.public.run, parts.handout.run):
                nursery.start_soon(task)
            await nursery.start(self._listen_to_signals, parts)
            async with trio.open_nursery() as early:  # until the gateway looks after the instances' channels
                early.start_soon(pump, parts.reactor)
                await nursery.start(parts.planner.run)
                early.cancel_scope.cancel()
            control = beside(make_app(parts.services), object_app(parts, behind_gateway=True))
            await nursery.start(serve_control, control, _CONTROL_SOCKET)
            nursery.start_soon(parts.objects.run)
            nursery.start_soon(parts.uploads.run)
            if self._config.obs_listen:
                await self._serve_objects(nursery, parts)
            await nursery.start(parts.deliverer.run)
            await nursery.start(parts.queue.run)
            await parts.triggers.load()
            await nursery.start(parts.trigger_host.run)
            # After the triggers, which are subscribers too.
            await nursery.start(parts.fanout.run)
            nursery.start_soon(parts.triggers.sweep)
            await nursery.start(parts.gateway.serve, listeners, _CONTROL_SOCKET)
            # What is there now stays; looking at it again and again cost 20 us per request.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            addresses = ", ".join(_address(one.socket) for one in listeners if not one.admin)
            sd_notify(f"READY=1\nSTATUS=serving on {addresses}")
            log.info("ready: %s functions, serving on %s", len(parts.directory), addresses)
            await self._stop.wait()
            await self._shut_down(parts)
            await parts.book.flush()
            # While its reader still runs, which is what this waits for: when we have ended, systemd kills the launcher,
            # and it shall have removed everything by then.
            await host.aclose()
            nursery.cancel_scope.cancel()

    def _limit_end(self, kind: type[BaseException] | None, *_: object) -> None:
        """The last thing before all tasks have to end: everything is closed, so nothing is lost with those of plugins
        that do not end."""
        host = None if self._parts is None else getattr(self._parts, "trigger_host", None)
        left = [] if host is None else host.remaining()
        if left:
            timer = threading.Timer(_LEFT_S, _leave_behind, (f"triggers of {', '.join(left)}", 70 if kind else 0))
            timer.daemon = True
            timer.start()

    async def _serve_objects(self, nursery: trio.Nursery, parts: Parts) -> None:
        """The object store for clients of the network."""
        address, *tls = self._config.obs_listen.split()
        context = parts.certificate.context if tls and parts.certificate is not None else None
        try:
            [at] = await nursery.start(serve_objects, object_app(parts, behind_gateway=False), address, context)
        except OSError as error:
            raise startup.StartError(f"obs_listen: cannot listen at {address}: {error.strerror}") from error
        log.info("the object store is served at %s", at)

    async def _shut_down(self, parts: Parts) -> None:
        """No new events, no new work, time for what runs, then the end of every instance."""
        seconds = self._config.drain_s
        sd_notify(f"STOPPING=1\nSTATUS=draining for at most {seconds:g} s")
        log.info("stopping: %s invocations are running or waiting", parts.scheduler.busy)
        await parts.trigger_host.stop_all()
        parts.queue.stop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parts.gateway.drain, seconds)
            await parts.scheduler.drain(seconds)
            nursery.cancel_scope.deadline = trio.current_time() + 1
        with trio.move_on_after(2):
            await parts.queue.wait_idle()

    async def _listen_to_signals(
        self, parts: Parts, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._reload(parts)
                    parts.public.reload()
                    reload_certificate(parts.certificate)
                elif self._stop.is_set():
                    log.warning("told to stop again: ending at once")
                    os._exit(1)
                else:
                    self._stop.set()

    def _reload(self, parts: Parts) -> None:
        """Reads the settings again. A file with a mistake changes nothing."""
        sd_notify("RELOADING=1")
        try:
            config = load_config(self._prepared.config_path)
            check_files(config.streams.values())
        except (ConfigError, BadStream) as error:
            log.error("settings not reloaded: %s", error)
        else:
            fixed = [
                item.name
                for item in dataclasses.fields(Config)
                if item.name not in RELOADED and getattr(config, item.name) != getattr(self._prepared.config, item.name)
            ]
            if fixed:
                log.warning("these settings take effect at the next start: %s", ", ".join(fixed))
            self._config = config
            parts.current = config
            parts.scheduler.configure(config)
            set_up_logging(config.log_level)
            log.info("settings reloaded")
        sd_notify("READY=1")


#: Settings that SIGHUP changes; the others need a restart.
RELOADED = frozenset(
    {
        "blank_pool", "blank_pool_max", "keep_alive_s", "freeze", "freeze_delay_ms", "queue_max", "queue_total_max",
        "starts_at_once", "log_lines_per_s", "log_bytes_per_s", "drain_s", "log_level",
    }
)  # fmt: skip


def _clock_watch(stack: contextlib.AsyncExitStack) -> ClockWatch | None:
    """What tells of steps of the system's clock at once; None where the kernel does not offer it."""
    try:
        watch = ClockWatch()
    except OSError as error:
        log.warning("steps of the system's clock are seen some seconds late: %s", error)
        return None
    stack.callback(watch.close)
    return watch


async def _sweep_code(functions: Functions, scheduler: Scheduler) -> None:
    """Removes packages that no function names and no instance runs, at the start and then now and again."""
    while True:
        try:
            removed = await functions.sweep_code(scheduler.code_in_use)
        except OSError as error:
            log.error("code packages that nothing uses stay: %s", error)
        else:
            if removed:
                log.info("removed %d code packages that nothing uses any more", removed)
        await trio.sleep(_SWEEP_S)


def _address(sock: socket.socket) -> str:
    address = sock.getsockname()
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
