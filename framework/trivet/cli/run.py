"""`trivet run`: serve an application. This file owns what happens between the command line and the exit status.

One process by default; several, a reload, or `--max-requests` make it the supervisor of others that run the same
command line (`server/_supervisor.py`).

Exit status: 0 after a drain, 1 when the application or a worker failed, 2 for a wrong command line or configuration.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import itertools
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import FrameType
from typing import Literal, cast

import trio
from hypercorn.config import Sockets

from trivet.asgi import ASGIApp
from trivet.contrib import _tasktree
from trivet.server import LifespanFailed, _notify, serve
from trivet.server._address import urls_of
from trivet.server._reload import loaded_files
from trivet.server._serve import CLEANUP_GRACE, DRAIN_TIMEOUT
from trivet.server._signals import Stopping, answering, mortal, stopping_on
from trivet.server._supervisor import Supervisor
from trivet.server._watchdog import Watchdog
from trivet.server._worker import INDEX
from trivet.server._worker import Supervisor as Parent

from ._addresses import cannot_listen
from ._load import LoadError, load
from ._logging import configure
from ._options import ConfigError, RunConfig, config_from, limits_from
from ._options import add_to as add_options
from ._report import report

log = logging.getLogger("trivet.run")

FILES_SECONDS = 1.0
"""How often a reloaded worker looks for modules it has imported since."""

COLLECT_EVERY = 20_000
"""Objects that are made, and not yet released, before the garbage collector looks for cycles among them.

Python's own figure, 700 or 2,000 by its version, is that of a script. A server with thousands of requests under way
holds hundreds of thousands of objects, hardly any of them in a cycle, and to go through them every few requests takes
half of its time when many end at once. Others have gone further: freqtrade to 50,000, mypy to 200,000."""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `run` command."""
    parser = subparsers.add_parser(
        "run",
        help="serve an application",
        usage="trivet run [OPTIONS] module:app",
        description="Serve an ASGI application. The options are hypercorn's, and a few more.",
        epilog="Signals: SIGTERM and SIGINT drain, a second one hurries; SIGHUP replaces the workers one by one, "
        "and drains where there are none; SIGUSR1 writes the tree of tasks to stderr.",
    )
    parser.add_argument("application", help="module:app, or path/to/file.py:app")
    add_options(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve what `arguments` ask for, until told to stop. Returns the exit status."""
    parent = Parent.from_environment()
    if parent is not None:
        # A terminal sends them to all of its processes; the supervisor says what follows. (Not SIG_IGN, which a
        # process that the application starts would inherit.)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _pass)
    else:
        mortal()
    with answering(_tree, last=parent is not None):
        if parent is not None:
            parent.answers()
        return _run(arguments, parent)


def _run(arguments: argparse.Namespace, parent: Parent | None) -> int:
    config = config_from(arguments)
    configure(config)
    if parent is not None:
        return _work(arguments.application, config, parent.sockets, parent)
    try:
        sockets = config.create_sockets()
    except OSError as error:
        raise LoadError(cannot_listen([*config.bind, *config.insecure_bind, *config.quic_bind], error)) from None
    try:
        with _PidFile(config.pid_path):
            if config.workers > 1 or config.use_reloader or config.max_requests is not None:
                return _supervise(arguments, config, sockets)
            os.environ[INDEX] = "0"
            return _work(arguments.application, config, sockets, None)
    finally:
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets):
            sock.close()


def _pass(number: int, frame: FrameType | None) -> None:
    """Do nothing on a signal."""


def _tree() -> str:
    """What SIGUSR1 is answered with."""
    try:
        return _tasktree.text()
    except RuntimeError:
        return "no event loop runs yet, or any more"


# A worker, or the only process ------------------------------------------------------------------------------------


def _work(reference: str, config: RunConfig, sockets: Sockets, parent: Parent | None) -> int:
    hurry = _Hurry()
    if parent is not None:
        parent.obey(hurry)
    _collect_less_often()
    if config.use_reloader:
        # Python takes what it has cached of a file for the file if both are of one second and one size: a digit that
        # was changed twice in a second would be served as it was.
        sys.dont_write_bytecode = True
    try:
        app = load(reference, wsgi_max_body_size=config.wsgi_max_body_size)
    except BaseException as error:
        if parent is not None:
            parent.depends_on(loaded_files(error))  # a reloader waits for one of these to change
        if isinstance(error, (LoadError, KeyboardInterrupt)):
            raise
        log.critical("%s cannot be imported\n%s", reference, report(error))
        return 1
    try:
        return trio.run(_serve, app, config, sockets, parent, hurry)
    except BaseException as error:
        log.critical("the server failed", exc_info=error)
        return 1


def _collect_less_often() -> None:
    """See `COLLECT_EVERY`. Before the application is imported, which may know better and set its own."""
    first, *others = gc.get_threshold()
    if 0 < first < COLLECT_EVERY:  # 0: the operator's PYTHONSTARTUP or sitecustomize has switched it off
        gc.set_threshold(COLLECT_EVERY, *others)


class _Hurry:
    """What the supervisor's "hurry" does, in a thread of its own: nothing, until there is something to hurry."""

    def __init__(self) -> None:
        self.act: Callable[[], object] = lambda: None

    def __call__(self) -> None:
        self.act()


async def _serve(app: ASGIApp, config: RunConfig, sockets: Sockets, parent: Parent | None, hurry: _Hurry) -> int:
    watchdog = Watchdog()
    # The application may ask for more time; `serve` then arms the watchdog again, unless the loop is blocked already.
    drain = DRAIN_TIMEOUT if config.drain_timeout is None else config.drain_timeout
    grace = CLEANUP_GRACE if config.cleanup_grace is None else config.cleanup_grace
    bounds = itertools.chain([drain + grace], itertools.repeat(grace))  # the second signal skips the drain
    token = trio.lowlevel.current_trio_token()
    async with (
        _watched(config.slow_steps),
        stopping_on(_ends(parent), lambda: watchdog.arm(next(bounds)), again=parent is None) as stopping,
        trio.open_nursery() as helpers,
    ):

        def hurry_now() -> None:
            watchdog.arm(grace)
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(stopping.hurry.set)

        hurry.act = hurry_now
        if parent is None:
            helpers.start_soon(_notify.keep_alive)
            helpers.start_soon(_say_that_it_stops, stopping)
        elif config.use_reloader:
            helpers.start_soon(_report_files, parent)
        try:
            await serve(
                app,
                config,
                shutdown_trigger=stopping.stop.wait,
                hurry_trigger=stopping.hurry.wait,
                drain_timeout=config.drain_timeout,
                cleanup_grace=config.cleanup_grace,
                send_timeout=config.send_timeout,
                limits=limits_from(config),
                protocol=cast(Literal["trivet", "hypercorn"], config.protocol),  # checked by `config_from`
                sockets=sockets,
                debug=config.debug,
                watchdog=watchdog,
                task_status=_Ready(parent),
            )
            status = 0
        except LifespanFailed as failure:
            log.critical("%s", failure)
            status = 1
        helpers.cancel_scope.cancel()
        hurry.act = lambda: None
    if parent is None:
        watchdog.disarm()
    else:
        watchdog.arm(grace)  # a thread of the application that does not end would keep the process from ending
    return status


async def _say_that_it_stops(stopping: Stopping) -> None:
    await stopping.stop.wait()
    _notify.stopping()


@contextlib.asynccontextmanager
async def _watched(slow_steps: float | None) -> AsyncGenerator[None]:
    if slow_steps is None:
        yield
        return
    from trivet.contrib.observe._slow_steps import SlowSteps

    with SlowSteps(slow_steps):
        yield


def _ends(parent: Parent | None) -> tuple[signal.Signals, ...]:
    """The signals that end a process."""
    if parent is not None:
        return (signal.SIGTERM,)
    # One process cannot be replaced by itself: SIGHUP is the terminal that was closed, unless nobody cares (nohup).
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGINT, *hangup)


class _Ready(trio.TaskStatus[list[str]]):
    """Says that connections are accepted: to the supervisor, or to the user."""

    def __init__(self, parent: Parent | None) -> None:
        self._parent = parent

    def started(self, value: list[str] | None = None) -> None:
        """Take the URLs."""
        if self._parent is not None:
            self._parent.ready()
        else:
            announce(value or [])


def announce(urls: list[str]) -> None:
    """Tell the user where to look, and whoever has started us that we are there."""
    for url in urls:
        log.info("Running on %s (Ctrl-C to stop)", url)
    _notify.ready()


async def _report_files(parent: Parent) -> None:
    reported: set[str] = set()
    while True:
        files = loaded_files()
        if files - reported:
            parent.depends_on(files - reported)
            reported |= files
        await trio.sleep(FILES_SECONDS)


# The supervisor ---------------------------------------------------------------------------------------------------


def _supervise(arguments: argparse.Namespace, config: RunConfig, sockets: Sockets) -> int:
    for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
        sock.listen(config.backlog)  # connections wait for the first worker, and for the next in a reload
    urls = urls_of(sockets, config)
    if config.use_reloader:
        log.info("Reloading when a source file changes")
    supervisor = Supervisor(
        _command(arguments),
        sockets,
        count=max(1, config.workers),
        reload=config.use_reloader,
        announce=functools.partial(announce, urls),
    )
    return trio.run(supervisor.run)


def _command(arguments: argparse.Namespace) -> list[str]:
    """The command line that starts this very command again."""
    if arguments.argv is None:
        return [sys.executable, *sys.orig_argv[1:]]
    return [sys.executable, "-m", "trivet", *arguments.argv]


class _PidFile:
    """Holds the process id while inside."""

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)

    def __enter__(self) -> None:
        if self._path is not None:
            try:
                self._path.write_text(f"{os.getpid()}\n")
            except OSError as error:
                raise ConfigError(
                    f"--pid {self._path} cannot be written: {error.strerror}.\nName another file, or leave it out"
                ) from None

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
