"""Where the source of a stream sends to: the sink, as a request has it.

This file owns what a sink takes, and that a body is as long as its head has promised. What becomes of a stream that
fails is `_respond`'s to say.
"""

from __future__ import annotations

import trio

from ._outbound import Outbound
from ._request import Request
from ._scope import TooLate, bounded
from .asgi import RawHeaders
from .errors import ClientDisconnected, ResponseError


class StreamSink:
    """Where a stream's source sends to; see `trivet.Sink`."""

    __slots__ = ("_declared", "_outbound", "_request")

    def __init__(self, request: Request, outbound: Outbound, declared: int | None) -> None:
        self._request = request
        self._outbound = outbound
        self._declared = declared

    async def send(self, chunk: str | bytes) -> None:
        """Send a part of the body.

        It has been handed to the server when this returns, which waits as long as the client reads no faster.

        Raises:
            ClientDisconnected: the client left, or stopped reading for `send_timeout`.
            ResponseError: more was sent than the `Content-Length` that was set.

        Cancellation: the chunk may have been sent or not; the stream cannot go on.
        """
        data = _octets(chunk)
        request, outbound = self._request, self._outbound
        if request._gone:
            raise ClientDisconnected("the client left")
        if self._declared is not None and outbound.sent + len(data) > self._declared:
            raise ResponseError(
                f"the stream sends more than its Content-Length of {self._declared} bytes.\n"
                "Set no Content-Length: the server frames a stream by itself."
            )
        if not data:
            await trio.lowlevel.checkpoint()
            return
        if request._link is not None or request._options.send_timeout is None:
            await outbound.body(data)  # a server with a Link sees to the time that a write takes
            return
        try:
            await bounded(request._options.send_timeout, outbound.body, data)
        except TooLate:
            request._scope.cancel("disconnected")
            raise ClientDisconnected(f"the client has not read for {request._options.send_timeout:g} seconds") from None

    def check_complete(self) -> None:
        """Refuse to end a body short of its `Content-Length`."""
        if self._declared is not None and self._outbound.sent != self._declared:
            raise ResponseError(
                f"the stream ended after {self._outbound.sent} of its Content-Length of {self._declared} bytes."
            )


def declared_length(headers: RawHeaders) -> int | None:
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def _octets(chunk: object) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes | bytearray):
        return bytes(chunk)
    if isinstance(chunk, memoryview):
        return chunk.tobytes()
    raise ResponseError(  # bytes() would take a number for a length, and send that many zeros
        f"sink.send() takes str or bytes, not {type(chunk).__name__}.\n"
        "Encode a value first:  await sink.send(msgspec.json.encode(value))"
    )
