"""One WebSocket from its handshake to its end: who may open it, its handler, and what it is closed with.

This file owns that end. Dependencies leave first, as a stream's do: a commit that fails turns 1000 into 1011. What a
handler raises becomes a response, by the way that a request's does, catchers included: before the acceptance it is the
answer, after it its status decides the code. `_ws_life` says how a WebSocket is closed, `_ws_close` with which code.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import trio

from ._answer import Answerer
from ._fence import stopped_by_server
from ._file import File
from ._groups import fatal, leaves
from ._origin import may_open
from ._resolve import Run
from ._response import Response
from ._scope import cancelled_from_outside
from ._sink import close_unsent
from ._stream import Stream
from ._websocket import WebSocket
from ._ws_close import GOING_AWAY, INTERNAL, NORMAL, outcome
from ._ws_life import State
from .errors import HTTPError, RequestCancelled, ResponseError, WebSocketClosed

log = logging.getLogger("trivet")

DENIAL: Final = "websocket.http.response"
"""The ASGI extension by which a server lets us say how a handshake is refused; without it each refusal is 403."""

IDLE: Final = "idle timeout"


async def serve(run: Run, ws: WebSocket, answerer: Answerer) -> None:
    """Run the handler of a WebSocket, leave its dependencies, and close.

    Raises:
        trio.Cancelled: a scope further out was cancelled; what could be sent has been sent.
        BaseExceptionGroup: one that holds KeyboardInterrupt or SystemExit.
    """
    handshake, scope = ws._handshake, ws._scope
    error: BaseException | None = None
    try:
        await handshake.messages.connect()
        _check_origin(ws)
        returned = await run(handshake, scope)
        if returned is not None:
            raise ResponseError(
                f"the handler of a WebSocket returned {type(returned).__name__}, which goes nowhere.\n"
                "Send it:  await ws.send_json(value)"
            )
    except BaseException as failure:  # noqa: BLE001 - dependencies see it, then it becomes the end
        error = failure
    if scope.frames:
        error = await scope.leave(error)
    if error is None and ws._state is State.HANDSHAKE:
        # Nobody has used it. To accept now would say yes for a handler that has not.
        error = HTTPError(403, "this WebSocket was not accepted") if scope.reason is None else scope.stopped()
    try:
        if error is None:
            scope.cancel("returned")
            await ws._finish(GOING_AWAY if ws.draining.is_set() else NORMAL)
        else:
            await _fail(error, ws, answerer)
    finally:
        del error  # a traceback's frame that holds its own exception is a cycle


def _check_origin(ws: WebSocket) -> None:
    if not any(name == b"origin" for name, _ in ws.scope["headers"]):
        return  # and nothing is kept of the headers that a handler may never ask for
    headers = ws.headers
    if not may_open(headers.get("origin"), ws._handshake._host, ws._handshake._options.origins):
        raise HTTPError(403, "pages of this origin may not open this WebSocket")


async def _fail(error: BaseException, ws: WebSocket, answerer: Answerer) -> None:
    scope = ws._scope
    outside = cancelled_from_outside(error)
    if fatal(error):
        scope.cancel("failed")
        await ws._finish(INTERNAL)
        raise error
    found = leaves(error, (trio.Cancelled,))
    if not found and not stopped_by_server(ws._handshake.scope):
        scope.cancel("failed")
        await ws._finish(INTERNAL)
        raise error
    if not found:  # hypercorn's graceful_timeout; it goes on when we have said so
        scope.cancel("drained")
        found = [error := RequestCancelled("drained")]
    if not _is_quiet(found, ws):
        response = await answerer.answer(error, ws._handshake, ws._handshake._options.catchers)
        _settle(found, ws)
        if ws._state is State.HANDSHAKE:
            await _refuse(response, error, ws, answerer)
        else:
            await ws._finish(*outcome(response.status, found))
    else:
        _settle(found, ws)
        await ws._finish(GOING_AWAY, IDLE if scope.reason == "deadline" else "")
    if outside:
        await trio.lowlevel.checkpoint()


def _is_quiet(found: Sequence[BaseException], ws: WebSocket) -> bool:
    """Whether it has only come to its end, by a close, by silence, or by the drain: no error to report."""
    if all(isinstance(leaf, WebSocketClosed) for leaf in found):
        return True
    return ws._state is not State.HANDSHAKE and all(isinstance(leaf, RequestCancelled) for leaf in found)


def _settle(found: Sequence[BaseException], ws: WebSocket) -> None:
    """Write down why it ended, before the last message: a server may tell of its end from inside of that."""
    if not all(isinstance(leaf, WebSocketClosed) for leaf in found):
        ws._scope.cancel("failed")
    else:
        ws._scope.cancel("returned" if ws._own is not None else "disconnected")


async def _refuse(response: Response, error: BaseException, ws: WebSocket, answerer: Answerer) -> None:
    handshake, scope = ws._handshake, ws._scope
    if isinstance(response, Stream | File):
        # A page for people, and nobody looks at the answer to a handshake.
        if isinstance(response, Stream):
            await close_unsent(response, handshake)
        response = answerer.plain(error, handshake)
    try:
        status, headers = response.start("GET")
    except (ResponseError, ValueError) as refused:
        response = answerer.refused(refused, handshake)
        status, headers = response.start("GET")
    handshake._status = status
    if scope.reason == "disconnected":
        return
    if DENIAL in (handshake.scope.get("extensions") or ()):
        await ws._refuse(status, handshake._with_own(headers), response.body)
    else:
        await ws._finish(NORMAL)
