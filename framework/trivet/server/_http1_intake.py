"""The middle of an HTTP/1.1 connection: the request being answered, what arrives of its body, and a refusal of it.

This file owns back-pressure (how far we read ahead of the application) and what becomes of a request whose bytes cannot
be read any further. Below it is `_http1_wire`, above it `_http1_connection`, which finds the requests.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from ._http1_body import Chunked, Sized
from ._http1_exchange import Exchange
from ._http1_head import Refused, RequestHead
from ._http1_refusal import line_of
from ._http1_response import refusal
from ._http1_wire import Wire

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service
    from ._transport import Transport


REFUSAL_SECONDS: Final = 1.0
"""For a refusal that cannot be written at once."""


class Intake(Wire):
    """Takes the body of the current request.

    Attributes:
        current: the request that an application is answering.
    """

    __slots__ = ("_body", "_buffer", "_busy", "_paused", "_received", "_served", "current")

    def __init__(self, server: HTTP1Service, transport: Transport, now: float) -> None:
        super().__init__(server, transport, now)
        self.current: Exchange | None = None
        self._buffer = b""  # what has been read of requests that are still to come
        self._busy = False  # what arrives now is not the beginning of a request to be looked at
        self._body: Sized | Chunked | None = None  # what is still to come of the current request
        self._received = 0  # bytes of that body
        self._served = 0  # requests
        self._paused = False

    @property
    def answering(self) -> bool:
        """Whether an application answers a request."""
        return self.current is not None

    @property
    def body_untouched(self) -> bool:
        """Whether nothing of the current request's body has arrived."""
        return self._body is not None and not self._received

    def must_close(self) -> bool:
        """Whether the response being made has to be the last one here."""
        server = self.server
        if self.eof and not self._buffer:
            return True  # what a client has asked for before it ended its half is answered
        return self._body is not None or server.draining_now or self.exhausted()

    def exhausted(self) -> bool:
        """See `Wire`."""
        return self._served >= self.server.requests

    # The client -----------------------------------------------------------------------------------------------------

    def hung_up(self) -> None:
        """The client has ended its half while we do not read: told, no more, for there is still something to read."""
        if self.current is not None:
            self.current.client_left()

    def broken(self) -> None:
        """Nothing can be read or written any more."""
        self.eof = True
        self.close()
        if self.current is not None:
            self.current.client_left()
            self.current.end_input()

    def _pause_if_full(self) -> None:
        if not self._paused and self._is_full() and not self.gone and not self.eof:
            self._paused = True
            self.transport.pause()

    def _is_full(self) -> bool:
        """Whether we hold as much as we are willing to. A head must be completed, what is thrown away is not held."""
        if not self._busy or self.closing:
            return False
        return len(self._buffer) > self.server.limits.read_ahead or (self.current is not None and self.current.full)

    def make_room(self) -> None:
        """The application has read some of the body, or requests have been answered: read on if that made room."""
        if self._paused and not self._is_full() and not self.gone and not self.eof:
            self._paused = False
            self.transport.resume()

    async def read_on(self, size: int) -> None:
        """The application has taken `size` bytes of the body."""
        self.make_room()

    # The body ---------------------------------------------------------------------------------------------------------

    def _came_whole(self, head: RequestHead) -> bool:
        """Whether the whole body is here already, as that of a small request is; then `head` has it."""
        length, limit = head.length, self.server.limits.body_size
        if not length or length > len(self._buffer) or head.expect or (limit is not None and length > limit):
            return False
        head.body = self._buffer[:length]
        return True

    def _announce_body(self, head: RequestHead) -> bool:
        limit = self.server.limits.body_size
        self._received = 0
        try:
            self._body = Chunked(limit) if head.length is None else Sized(head.length, limit)
        except Refused as refused:
            self._refuse(refused.status, refused.detail, head)
            return False
        return True

    def _take_body(self, data: bytes) -> bytes:
        """Hand what belongs to the body to the application; returns what does not."""
        body, current = self._body, self.current
        if body is None or current is None:
            return data
        self._received += len(data)
        try:
            parts, rest = body.feed(data)
        except Refused as refused:
            self._refuse(refused.status, refused.detail)
            return b""
        if body.complete:
            self._body = None
        if parts or body.complete:
            current.feed(parts, body.complete)
        return rest

    def _check_rate(self, seconds: float) -> None:
        """Refuse a body that comes too slowly, if somebody has waited for it these last `seconds`."""
        current, limits = self.current, self.server.limits
        if current is not None and self._body is not None and current.waits_for_body and limits.body_rate is not None:
            current.waited += seconds
            if current.waited > limits.body_grace + self._received / limits.body_rate:
                self._refuse(408, "the body of the request arrives too slowly")

    # The end --------------------------------------------------------------------------------------------------------

    def _refuse(self, status: int, detail: str, head: RequestHead | bytes = b"", fields: bytes = b"") -> None:
        """Answer in the place of the application, and close.

        Args:
            status: of the answer.
            detail: what came, and what would be right.
            head: of the request that is no application's yet, or what came of it.
            fields: that the answer has beside the usual ones.
        """
        current, service = self.current, self.server
        if current is not None:
            head = current.head
        self._body = None
        self._buffer = b""
        if current is not None and current.answered and self.blocked is None:
            self._end(sending=True)  # the response stands: what follows its request must not destroy it on its way
            return
        if current is not None and (current.started or self.blocked is not None):
            current.refused(0, 0)
            self.abort(reset=True)  # `blocked`: a client that breaks the rules and does not read either
            return
        line = (
            (head.method, head.raw_path, head.version)
            if isinstance(head, RequestHead)
            else line_of(head, service.limits.request_line)
        )
        data, size = refusal(status, detail, fields + service.tails()[0], line[0])
        if current is not None:
            current.refused(status, size)
        elif service.access is not None:
            service.access.refused(line, self.transport.client, status, size)
        rest = self.push(data)
        if rest is None:
            self._end(sending=True)
            return
        # A stream takes nothing at once, and the connection's own task may be busy with the application.
        self.closing = self._busy = True
        self.deadline = inf
        self.server.nursery.start_soon(self._refuse_later, rest)

    async def _refuse_later(self, rest: memoryview) -> None:
        await self.flush(rest, REFUSAL_SECONDS)
        self.closing = False
        self._end(sending=True)

    def _end(self, *, sending: bool = False) -> None:
        """The last answer has been written."""
        self.finish(sending=sending or self._body is not None or bool(self._buffer))
        if self.closing:
            self._busy = True
            self._buffer = b""
            self.make_room()

    def abort(self, *, reset: bool = False) -> None:
        """Close at once, in the middle of whatever is going on."""
        self.eof = True
        self.close(reset=reset)
        if self.current is not None:
            self.current.end_input()
