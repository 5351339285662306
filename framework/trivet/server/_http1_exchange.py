"""One HTTP/1.1 request between its connection and an ASGI application.

This file owns the order of messages: what `receive` returns, what `send` takes, and what becomes of a response that its
application does not complete. The request's body is `_http1_input`'s, bytes are `_http1_response`'s, the socket is the
connection's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trivet._logline import Entry
from trivet.asgi import EXTENSION, ASGIApp, Message, Reason

from ._faults import ClientGone, fault_in, is_echo, report
from ._http1_input import DISCONNECT, RequestInput
from ._http1_response import BODILESS, ResponseFault, ResponseWriter, check_status, refusal, whole_of

if TYPE_CHECKING:
    from ._access_log import AccessLog
    from ._http1_connection import HTTP1Connection
    from ._http1_head import RequestHead

ANSWER_SECONDS: Final = 1.0
"""For the last answer of a request that is cut."""

_READ_AGAIN: Final = (list, tuple)


class Exchange(RequestInput):
    """A request that an application answers in the connection's task. It is its own `Link`.

    Args:
        connection: it came on.
        head: of the request.
        app: that answers it.
    """

    _writer: ResponseWriter | None = None
    """Made for a response that comes in several parts, or needs more care than the usual."""

    _entry: Entry | None = None
    """Its line in the access log, where there is one."""

    _refusal: tuple[int, int, float] | None = None
    """What the connection has answered in the application's place: status, bytes of body, and when."""

    _reusable = False

    def __init__(self, connection: HTTP1Connection, head: RequestHead, app: ASGIApp) -> None:
        self.head = head
        self.app = app
        self._connection = connection
        service = connection.server
        self.draining = service.draining
        self.send_timeout = service.send_timeout

    # What the connection asks and says ---------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether the head of a response is out."""
        return self._complete or (self._writer is not None and self._writer.sent)

    @property
    def answered(self) -> bool:
        """Whether the last of a response is out, or on its way."""
        return self._complete

    @property
    def reusable(self) -> bool:
        """Whether the connection can go on with another request."""
        return self._reusable and not self._cut

    def refused(self, status: int, size: int) -> None:
        """The rest of the request is refused: nothing of the application's own goes out any more.

        Args:
            status: of the connection's answer; 0: it could not give one, for a response had begun.
            size: of that answer's body in bytes.
        """
        self._cut = True
        self._refusal = status, size, trio.current_time()
        self.client_left()
        self.response_taken()
        self.end_input()

    # What the application calls ----------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """ASGI's `receive`."""
        inbox = self._input()
        if self._start is not None and self._writer is None and not self._complete and inbox.lacking:
            # A head is held back until its framing is known. An application that wants to read on first may have a
            # client that wants to see the head first.
            await self._send_part(b"", True)
        return await inbox.receive()

    async def send(self, message: Message) -> None:
        """ASGI's `send`. A checkpoint if more of the body is to follow, or if it blocks."""
        kind = message["type"]
        if kind == "http.response.start":
            if self._start is not None:
                raise ResponseFault("the application started its response twice")
            check_status(message["status"])
            # The fields are checked where they are written. They may have to be read more than once until then.
            fields = message.get("headers", ())
            self._start = message if type(fields) in _READ_AGAIN else {**message, "headers": list(fields)}
            return
        if kind != "http.response.body":
            raise ValueError(f"an HTTP request cannot be answered with {kind!r}")
        connection = self._connection
        data: bytes = message.get("body", b"")
        if message.get("more_body", False):
            await self._send_part(data, True)
        elif (
            self._writer is not None
            or self._start is None
            or self._complete
            or self._cut
            or connection.blocked is not None
            or not self.head.keep_alive
            or self.head.version == "1.0"
            or connection.must_close()
        ):
            await self._send_part(data, False)
        else:
            # Nearly all responses: one part, on a connection that stays open.
            start = self._start
            whole = whole_of(
                start["status"], start.get("headers", ()), data, self.head.method, connection.server.tails()[0]
            )
            if whole is None:
                await self._send_part(data, False)
                return
            self._taken(reusable=True)
            if self._entry is not None:
                self._note(start["status"], len(data))
            rest = connection.push(whole)
            if rest is not None:
                await connection.flush(rest, self.send_timeout)

    def _taken(self, *, reusable: bool) -> None:
        """The response is complete, as far as the application is concerned."""
        self._complete = True
        self._reusable = reusable
        self.response_taken()
        if self._inbox is not None:
            self._inbox.end(DISCONNECT)

    async def _send_part(self, data: bytes, more: bool) -> None:
        connection = self._connection
        if self._cut or connection.gone or (more and connection.eof and not self.attached):
            # A half-closing client still reads. Who is told by the Link decides alone; nobody else streams for ever.
            await self._nobody_there()
            return
        while connection.blocked is not None:  # several may wait for it: the children of a stream's nursery
            await connection.blocked.wait()
        if self._complete:
            raise ResponseFault("the application sent a part of a response that is complete")
        writer = self._writer or self._begin()
        pieces = writer.body(data, more, *connection.server.tails())
        if not more:
            self._taken(reusable=not writer.closes)
        if self._entry is not None:
            self._note(writer.status, len(data))
        for piece in pieces:
            rest = connection.push(piece)
            if rest is not None:
                await connection.flush(rest, self.send_timeout)
        if more:
            await trio.lowlevel.checkpoint()

    def _note(self, status: int, size: int) -> None:
        entry = self._entry
        assert entry is not None
        if not entry.status:
            entry.head(status, trio.current_time())
        if self.head.method != "HEAD" and status not in BODILESS:
            entry.sent += size

    def _begin(self) -> ResponseWriter:
        if self._start is None:
            raise ResponseFault("the application sent a body before its http.response.start")
        start = self._start
        self._writer = writer = ResponseWriter(
            self.head, start["status"], start.get("headers", ()), closes=self._connection.must_close()
        )
        return writer

    async def _nobody_there(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.attached:  # who is told by the Link has decided to go on all the same
            raise ClientGone("the client has left")

    # The end -----------------------------------------------------------------------------------------------------

    async def run_logged(self, access: AccessLog) -> None:
        """`run`, and write a line."""
        self._entry = entry = access.begin(self.head.scope())
        outcome: Reason = "drained"
        try:
            outcome = await self.run()
        finally:
            if self._refusal is not None:
                # Whatever the application says, which has only been told that nobody takes its answer.
                outcome = entry.outcome = "failed"
                status, size, now = self._refusal
                if status:
                    entry.head(status, max(now, entry.began))
                    entry.sent = size
            access.end(entry, outcome)

    async def run(self) -> Reason:
        """Run the application, and see to the end of the response. Raises only what cancels it.

        Returns:
            What the request looked like from here.
        """
        if self._cut:
            return "failed"  # what came with the head was refused: no application acts on half a request
        fault: BaseException | None = None
        try:
            try:
                scope = self.head.scope()
                scope["extensions"][EXTENSION] = self
                await self.app(scope, self.receive, self.send)
            except BaseException as error:
                # KeyboardInterrupt and SystemExit too: signals are received elsewhere; here they are a handler's own.
                fault = fault_in(error)
                if fault is None:
                    raise
                report(fault, self.head.method, self.head.scope()["path"])
            failed = fault is not None and not is_echo(fault)
            fault = None  # its traceback holds this frame: a cycle, which would keep all that the application had
            complete = self._complete
            if not complete:
                # Who was told that the client has left, in whatever way, owes no answer.
                await self._end(500 if failed or not (self._left or self._connection.eof) else 0)
        except trio.Cancelled:
            with trio.move_on_after(ANSWER_SECONDS, shield=True):
                await self._end(503)
            raise
        if self._left and not complete:
            return "disconnected"
        return "failed" if failed or not complete else "returned"

    async def _end(self, status: int) -> None:
        """Answer with `status` (0: not at all) if the application has not; cut what it has not completed."""
        self.response_taken()
        if self._complete or self._cut or self._connection.gone:
            return
        if self.started:
            self.abort()
            return
        self._complete = True
        if not status:
            return
        data, size = refusal(status, "", self._connection.server.tails()[0], self.head.method)
        if self._entry is not None:
            self._note(status, size)
        await self._connection.write((data,), self.send_timeout)

    def abort(self) -> None:
        """See `trivet.asgi.Link.abort`."""
        if self._cut or self._complete:
            return
        self._cut = True
        self.response_taken()
        self.end_input()
        # Where a closed connection looks like the end of a whole body (RFC 9112 section 6.3, rule 8) only RST tells.
        self._connection.abort(reset=self._writer is not None and self._writer.ends_with_close)
