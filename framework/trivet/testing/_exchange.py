"""One request and its response, driven by hand: the client's end of an in-memory connection.

This file owns one decision: what a test can do to a server, step by step, and what it is told. `TestClient`
puts httpx on top of it for the usual cases.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from types import TracebackType
from typing import Self

import httpx
import trio

from ._async_with import AsyncWith
from ._called import Called
from ._connection import Connection
from ._pipes import CHUNK
from ._server import MemoryServer

__all__ = ["Exchange"]

CUT_BEFORE_HEAD = "Server disconnected without sending a response."
CUT_IN_BODY = "peer closed connection without sending complete message body (incomplete read)"


class Exchange(AsyncWith, Called):
    """A request that is on its way. Made by `TestClient.open`; a context manager whose end is `leave()`.

    Waiting for the application to be done is not part of the end, as it is not for a real client: see
    `wait_returned`.
    """

    _entered = 'async with client.open("GET", "/") as exchange'

    def __init__(self, server: MemoryServer, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._left = False
        self._upload_scope: trio.CancelScope | None = None
        self._upload_error: Exception | None = None

    async def __aenter__(self) -> Self:
        """The exchange itself. The application runs at the next checkpoint: this is none."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave."""
        self.leave()
        # The test's error, if there is one, is not to become a cancellation.
        await (trio.lowlevel.checkpoint if error is None else trio.lowlevel.cancel_shielded_checkpoint)()

    # --- the request

    def upload(self, body: bytes | AsyncIterable[bytes]) -> None:
        """Send a body in a task of its own, so that the response can be read meanwhile."""
        self._upload_scope = trio.CancelScope()
        self._server.nursery.start_soon(self._upload, body, self._upload_scope, name="request body")

    async def _upload(self, body: bytes | AsyncIterable[bytes], scope: trio.CancelScope) -> None:
        try:
            with scope:
                if isinstance(body, bytes):
                    await self._upload_bytes(body)
                else:
                    async for chunk in body:
                        if not await self.send_body(chunk):
                            return
                    await self.end_body()
        except Exception as error:  # noqa: BLE001 - it is the test's own, and comes out where the test waits
            self._upload_error = error
            self._connection.leave()

    async def _upload_bytes(self, body: bytes) -> None:
        # The two shapes that servers give a body of known length: uvicorn's last message carries content,
        # hypercorn's is empty.
        for start in range(0, len(body), CHUNK):
            last = self._connection.linked and start + CHUNK >= len(body)
            if not await self._connection.upload.put(body[start : start + CHUNK], not last) or last:
                return
        await self.end_body()

    async def send_body(self, chunk: bytes) -> bool:
        """Send a part of the body; return when the server has taken it.

        It waits for an application that does not receive: back-pressure.

        Returns:
            Whether anybody wanted it: not after the response is over or the client has left.
        """
        for start in range(0, len(chunk), CHUNK):
            if not await self._connection.upload.put(chunk[start : start + CHUNK], True):
                return False
        return True

    async def end_body(self) -> None:
        """Say that the body is complete."""
        await self._connection.upload.put(b"", False)

    # --- the response

    async def head(self) -> tuple[int, httpx.Headers]:
        """Wait for the head of the response.

        Raises:
            httpx.RemoteProtocolError: the server closed the connection before it.
            ProtocolViolation: the application broke a rule of ASGI.
            Exception: what escaped the application, unless `raise_app_exceptions=False`.
        """
        self._refuse_if_left()
        head = await self._connection.download.wait_head()
        self._raise_violation()
        if head is None:
            await self._raise_cut(CUT_BEFORE_HEAD)
        return self.status, self.headers

    @property
    def status(self) -> int:
        """The status; after `head()`."""
        return self._head[0]

    @property
    def headers(self) -> httpx.Headers:
        """The headers; after `head()`."""
        return httpx.Headers(self._head[1])

    @property
    def _head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        if self._connection.download.head is None:
            raise RuntimeError("the response has no head yet; wait for it:  await exchange.head()")
        return self._connection.download.head

    async def receive(self) -> bytes | None:
        """The next part of the body, as the application sent it; None at its end: see `truncated`.

        Raises:
            as `head`, when there is none.
            RuntimeError: after `stop_reading()`.
        """
        self._refuse_if_left()
        if not self._connection.download.reading:
            raise RuntimeError("this exchange does not read:  exchange.start_reading()")
        if self._connection.download.head is None:
            await self.head()
        chunk = await self._connection.download.take()
        if chunk is None:
            await self._settle()
            self._raise_violation()
            # Who is told of the end has seen what there is to see; an error after a whole response is news.
            self._connection.reported = self._connection.reported or self.truncated
        return chunk

    async def read(self) -> bytes:
        """All that is left of the body; see `truncated` for whether it is whole."""
        body = bytearray()
        while (chunk := await self.receive()) is not None:
            body += chunk
        return bytes(body)

    async def read_whole(self, chunk: bytes | None) -> None:
        """Refuse the end of a truncated body, as a real client does.

        Raises:
            httpx.RemoteProtocolError: `chunk` is None and the body is not whole.
        """
        if chunk is None and self.truncated:
            await self._raise_cut(CUT_IN_BODY)

    @property
    def truncated(self) -> bool:
        """Whether the response ended too early: the application failed or aborted, or we were dropped."""
        return self._connection.download.end == "truncated"

    @property
    def complete(self) -> bool:
        """Whether the application has sent the whole response; what is on its way may still be read."""
        return self._connection.download.end == "complete"

    @property
    def dropped(self) -> bool:
        """Whether the server gave us up because we did not read."""
        return self._connection.dropped

    # --- the client's ways to go

    def leave(self) -> None:
        """Be gone at once, in both directions; after a complete response this says nothing to the server."""
        self._left = True
        if self._upload_scope is not None:
            self._upload_scope.cancel(reason="the client left")
        self._connection.leave()

    def half_close(self) -> None:
        """End our half of the connection, read on. Servers report that as leaving."""
        self._connection.half_close()

    def stop_reading(self) -> None:
        """Read no more: no write of the server's makes progress from now on, however small."""
        self._connection.download.read(False)

    def start_reading(self) -> None:
        """Read again."""
        self._connection.download.read(True)

    # --- errors

    @property
    def _call(self) -> Connection:
        return self._connection

    def _refuse_if_left(self) -> None:
        if self._upload_error is not None:
            raise self._upload_error
        if self._left:
            raise trio.ClosedResourceError("this client has left; it reads nothing any more")

    async def _settle(self) -> None:
        # The application's error is known when its call is over, which is a moment after the pipe's end.
        if self.truncated and not self._connection.aborted and not self._connection.client_gone:
            await self._connection.returned.wait()

    async def _raise_cut(self, message: str) -> None:
        if self._upload_error is not None:
            raise self._upload_error
        await self._settle()
        self._raise_violation()
        error, self._connection.reported = self._connection.error, True
        if error is not None and self._server.raise_app_exceptions and self._connection.download.head is None:
            raise error
        raise httpx.RemoteProtocolError(message) from error
