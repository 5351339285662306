"""The body of one HTTP/1.1 request on its way from its connection to an ASGI application.

This file owns when there is an inbox for it, when that is over, and when the client is told to go on (`100 Continue`).
What is in the inbox, `_inbox` knows; the response is the upper half's, `_http1_exchange`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.asgi import Message

from ._http1_response import CONTINUE
from ._inbox import BodyInbox
from ._link import RequestLink

if TYPE_CHECKING:
    from ._http1_connection import HTTP1Connection
    from ._http1_head import RequestHead

DISCONNECT: Final = {"type": "http.disconnect"}


class RequestInput(RequestLink):
    """The lower half of an exchange, which sets what is without a default here."""

    head: RequestHead
    _connection: HTTP1Connection

    waited = 0.0
    """Seconds for which the application has waited for the body."""

    _inbox: BodyInbox | None = None
    """Made when the application reads, or a body arrives: most requests need none."""

    _start: Message | None = None
    """The head that the application has sent, held back until the first part of the body is known."""

    _complete = False
    """The application has handed over the last of its response, or will not do so any more."""

    _cut = False
    """Nothing of the application's goes out any more."""

    @property
    def waits_for_body(self) -> bool:
        """Whether the application waits for more of the body."""
        return self._inbox is not None and self._inbox.waiting

    @property
    def full(self) -> bool:
        """Whether as much body is unread as we are willing to hold."""
        return self._inbox is not None and self._inbox.full

    def feed(self, data: list[bytes], complete: bool) -> None:
        """Some of the body has arrived."""
        inbox = self._inbox or self._make_input()
        for part in data:
            inbox.feed(part)
        if complete:
            inbox.complete()
        self._end_if_over(inbox)

    def end_input(self) -> None:
        """The client has left, or its request cannot be read any further."""
        if self._inbox is not None:  # else whoever makes it finds that it is over
            self._inbox.end(DISCONNECT)

    def _input(self) -> BodyInbox:
        inbox = self._inbox
        if inbox is None:
            inbox = self._make_input()
            self._end_if_over(inbox)
        return inbox

    def _make_input(self) -> BodyInbox:
        self._inbox = inbox = BodyInbox()
        inbox.taken = self._connection.read_on  # not a method of ours: a circle would wait for the collector
        if self.head.length == 0:
            inbox.complete()
        elif self.head.expect:
            inbox.before_wait = self._invite
        return inbox

    def _end_if_over(self, inbox: BodyInbox) -> None:
        # Behind what has arrived: a request may be found in the buffer when its client has ended its half already.
        if self._connection.eof or self._complete or self._cut:
            inbox.end(DISCONNECT)

    async def _invite(self) -> None:
        """`100 Continue`, at the moment when the application first waits for the body (RFC 9110 section 10.1.1)."""
        if self._start is None and self._connection.body_untouched:
            await self._connection.write((CONTINUE,), self.send_timeout)
