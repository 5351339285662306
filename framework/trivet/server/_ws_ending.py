"""How a WebSocket ends: what its application is told, and its client if the application says nothing.

This file owns the state of a WebSocket and its ends: closed by either side, refused before it began, vanished, aborted.
It is the lower half of `_ws_exchange`, which owns what the application says while it lasts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trivet._logline import Entry
from trivet.asgi import Reason

from ._http1_response import ResponseWriter
from ._link import RequestLink
from ._ws_frames import ABNORMAL, closing
from ._ws_inbox import WebSocketInbox

if TYPE_CHECKING:
    from ._http1_head import RequestHead
    from ._ws_connection import WebSocketConnection

CONNECTING: Final = 0
"""The handshake is not answered."""

OPEN: Final = 1
REFUSING: Final = 2
"""The application refuses the handshake in its own words, and has not ended them."""

OVER: Final = 3
"""Nothing of the application's goes out any more."""


class WebSocketEnding(RequestLink):
    """The lower half of an exchange; the arguments are those of `WebSocketExchange`.

    Attributes:
        inbox: what the application receives.
        said_goodbye: our close frame is out.
    """

    said_goodbye = False
    _state = CONNECTING
    _writer: ResponseWriter | None = None  # of a refusal in the application's own words
    _entry: Entry | None = None  # of the access log
    _outcome: Reason | None = None  # if something else decides than the application
    _connection: WebSocketConnection

    def __init__(self, connection: WebSocketConnection, head: RequestHead) -> None:
        self.head = head
        self._connection = connection
        server = connection.server
        self.draining = server.draining
        self.send_timeout = server.send_timeout
        self.inbox = WebSocketInbox(server.limits.read_ahead)

    # What the connection says ----------------------------------------------------------------------------------------

    def closed(self, code: int, reason: str) -> None:
        """The client has closed, or has had to be closed."""
        self._end_with(code, reason)

    def vanished(self) -> None:
        """The connection is gone, without a close frame of the client's."""
        if self._state != OVER:
            self._outcome = "disconnected"
        self._end_with(ABNORMAL, "")

    def _end_with(self, code: int, reason: str) -> None:
        if self._state != OVER:
            self._state = OVER
            self.closed_with = code, reason
            self.client_left()
        self.inbox.end({"type": "websocket.disconnect", "code": code, "reason": reason})

    def refused(self, status: int, detail: str) -> None:
        """The handshake comes to nothing, for the client's fault."""
        if self._state != CONNECTING:
            return
        self._outcome = "failed"
        self.client_left()
        self._refuse(status, detail)
        self.inbox.end({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})

    def release(self) -> None:
        """Nobody will be told anything any more: let go of all that refers back here."""
        self._state = OVER
        self.inbox.room = None
        self.head.forget()
        del self._connection

    # What the application is about to say ----------------------------------------------------------------------------

    def _say_goodbye(self, code: int, reason: str | None) -> None:
        frame = closing(code, reason)
        self._state = OVER
        self.said_goodbye = True
        self.response_taken()
        self.inbox.end({"type": "websocket.disconnect", "code": code, "reason": reason or ""})
        self._connection.close_with(frame)

    def _refuse(self, status: int, detail: str = "") -> None:
        """Answer the handshake with a refusal."""
        self._state = OVER
        self.response_taken()
        size = self._connection.refuse(status, detail)
        if self._entry is not None:
            self._entry.head(status, trio.current_time())
            self._entry.sent = size

    def _finish(self, status: int, code: int) -> None:
        """The application is over: if it has said nothing to its client, say what there is to be said."""
        self.response_taken()
        if self._connection.gone or self._state == OVER:
            return
        if self._state == OPEN:
            self._say_goodbye(code, "")
        elif self._state == CONNECTING:
            self._refuse(status)
        else:
            self.abort()

    def abort(self) -> None:
        """See `trivet.asgi.Link.abort`."""
        if self._state == OVER:
            return
        self.response_taken()
        self._state = OVER
        self._outcome = "failed"
        self.inbox.end({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})
        self._connection.close(reset=self._writer is not None and self._writer.ends_with_close)
