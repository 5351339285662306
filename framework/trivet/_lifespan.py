"""The lifespan protocol, both sides: answering a server's, and running that of a mounted ASGI application.

This file owns what a failure means. Ours is always *sent* (`startup.failed`, with the traceback as its message):
hypercorn takes an exception for "no lifespan support" and serves half-started. It is logged as well, unless the server
has a `Link`: that one shows what it is sent, and a traceback that is there twice is looked through twice. A mounted
application that raises before it has answered has no lifespan and is served without one, as the specification says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import trio

from ._companions import companions
from ._repeats import in_one_line
from .asgi import EXTENSION, ASGIApp, Message, Receive, Scope, Send
from .errors import HTTPError

log = logging.getLogger("trivet")

_TRIO: Final = Path(trio.__file__).parent
_MACHINERY: Final = (
    *(f"{directory}{os.sep}" for directory in (Path(__file__).parent, _TRIO, _TRIO.with_name("outcome"))),
    contextlib.__file__,
)
"""Where the frames come from that lead to the user's code. `outcome` hands over what a thread has raised."""


class MountedStartupFailed(RuntimeError):
    """A mounted application answered `lifespan.startup.failed`."""


async def answer(
    scope: Scope, receive: Receive, send: Send, life: Callable[[], AbstractAsyncContextManager[object]]
) -> None:
    """Speak the lifespan protocol with a server: enter `life` at startup, leave it at shutdown.

    It returns only after shutdown: hypercorn breaks on an application that returns early. A failure at startup is
    sent with its traceback, unless it is an outage; the server stops on it.
    """
    await receive()  # lifespan.startup: nothing else can come first
    manager = life()
    try:
        await manager.__aenter__()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is sent with its traceback
        await _failed(scope, send, "startup", error)
        return
    try:
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    except BaseException as error:  # the server was stopped hard, or a task of `life` failed: leave all the same
        if not await manager.__aexit__(type(error), error, error.__traceback__):
            raise
        return
    try:
        await manager.__aexit__(None, None, None)
    except Exception as error:  # noqa: BLE001 - as at startup
        await _failed(scope, send, "shutdown", error)
        return
    await send({"type": "lifespan.shutdown.complete"})


async def refuse(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Answer startup with a failure that happened before anything was entered."""
    await receive()
    await _failed(scope, send, "startup", error)


async def _failed(scope: Scope, send: Send, stage: Literal["startup", "shutdown"], error: Exception) -> None:
    text = _report(error)
    if EXTENSION not in scope.get("extensions", {}):
        log.critical("the application failed in its %s\n%s", stage, text)
    await send({"type": f"lifespan.{stage}.failed", "message": text})


def _report(error: Exception) -> str:
    """`error` with its traceback from the first frame on that is the user's: a dozen of ours stand before it, and what
    says that a port is taken is looked for among them."""
    if isinstance(error, HTTPError) and hasattr(error, "retry_after"):
        # What says itself that it is away, and for how long, has said all: no frame is of use.
        return in_one_line(error)
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_MACHINERY):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


@asynccontextmanager
async def mounted(app: ASGIApp, scope: Scope, where: str) -> AsyncGenerator[MutableMapping[str, Any]]:
    """Run the lifespan of a mounted application around the body; yields the state it made.

    Args:
        app: the mounted application.
        scope: our own lifespan scope; its extensions are passed on, its state is not shared.
        where: the prefix, for messages.

    Raises:
        MountedStartupFailed: it answered `startup.failed`.
        Exception: what the body raised, as it is; the mounted application has shut down before that, for it has done
            nothing wrong (another one did not start, say).

    Cancellation: the mounted application's lifespan task is cancelled with the body.
    """
    state: dict[str, Any] = {}
    asking, asked = trio.open_memory_channel[Message](2)
    answers, answered = trio.open_memory_channel[Message](2)
    up = False

    async def run() -> None:
        started = False

        async def send(message: Message) -> None:
            nonlocal started
            started = True
            await answers.send(message)

        child = {**scope, "state": state}
        try:
            await app(child, asked.receive, send)
        except Exception:
            if started:
                log.exception("the lifespan of the application mounted at %s failed", where)
            else:
                log.debug("the application mounted at %s has no lifespan", where, exc_info=True)
        finally:
            answers.close()

    async def shut_down() -> None:
        if not up:
            return
        asking.send_nowait({"type": "lifespan.shutdown"})
        last = await _next(answered)
        if last is not None and last["type"] == "lifespan.shutdown.failed":
            log.error("the application mounted at %s did not stop cleanly: %s", where, last.get("message", ""))

    async with companions(shut_down) as nursery:
        nursery.start_soon(run, name=f"lifespan of {where}")
        asking.send_nowait({"type": "lifespan.startup"})
        first = await _next(answered)
        if first is not None and first["type"] == "lifespan.startup.failed":
            text = f"the application mounted at {where} did not start: {first.get('message', '')}"
            raise MountedStartupFailed(text)
        up = first is not None
        yield state


async def _next(answered: trio.MemoryReceiveChannel[Message]) -> Message | None:
    try:
        return await answered.receive()
    except trio.EndOfChannel:
        return None


def check_loop() -> None:
    """Refuse a server that runs another event loop; it is told at startup, so that it stops."""
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "trivet runs on Trio, and this server runs another event loop.\n"
            "Start it with  trivet run module:app  or  hypercorn --worker-class trio module:app"
        )
