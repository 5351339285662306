"""One HTTP request between a protocol of hypercorn's and the application.

This file owns the scope the application sees and how a response ends: whole, or visibly cut. The order of messages
it takes from hypercorn's `HTTPStream`, on which it is built.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote

import trio
from hypercorn.protocol.events import Body, EndBody, Event, Request, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import suppress_body, valid_server_name

from trivet._logline import Entry
from trivet.asgi import EXTENSION, Message, Reason

from ._inbox import BodyInbox
from ._link import RequestLink

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope

    from ._connection import Connection


class Owner(Protocol):
    """The protocol a stream belongs to, as far as a stream needs it."""

    async def stream_send(self, event: Event) -> None:
        """Put an event of the response on the wire."""
        ...

    def abort(self, stream: Any) -> None:
        """Cut the response so that the client can tell."""
        ...


class RequestStream(HTTPStream):
    """One HTTP request and its response.

    Args:
        connection: runs the application and holds the settings.
        owner: the protocol.
        stream_id: the protocol's name for it.
    """

    def __init__(self, connection: Connection, owner: Owner, stream_id: int) -> None:
        server = connection.server
        super().__init__(
            cast(Any, server.app),
            server.config,
            cast(Any, server.context),
            cast(Any, connection),
            connection.ssl,
            connection.client,
            connection.local,
            owner.stream_send,
            stream_id,
        )
        self.wire = connection
        self.owner = owner
        self.inbox = BodyInbox()
        self.link = RequestLink(server.draining, server.send_timeout, self.abort)
        self.aborted = False
        self.receive = self.inbox.receive
        self.entry: Entry | None = None  # of the access log
        self.outcome: Reason = "returned"

    # From the client ---------------------------------------------------------------------------------------------

    async def handle(self, event: Event) -> None:
        """Take an event of the request. Never blocks but on an answer to a request that is refused."""
        if self.closed:
            return
        if isinstance(event, Body):
            self.inbox.feed(event.data)
        elif isinstance(event, EndBody):
            self.inbox.complete()
        elif isinstance(event, Request):
            await self._begin(event)
        elif isinstance(event, StreamClosed):
            await self._closed()

    async def _begin(self, event: Request) -> None:
        self.start_time = time()
        raw_path, _, query = event.raw_path.partition(b"?")
        config = self.config
        extensions: dict[str, Any] = {EXTENSION: self.link}
        if event.http_version == "2":
            extensions["http.response.trailers"] = {}
            extensions["http.response.push"] = {}
            extensions["http.response.early_hint"] = {}
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": event.http_version,
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": event.method,
            "scheme": self.scheme,
            "path": "",
            "raw_path": raw_path,
            "query_string": query,
            "root_path": config.root_path,
            "headers": event.headers,
            "client": self.client,
            "server": self.server,
            "state": event.state.copy(),
            "extensions": extensions,
        }
        self.scope = cast("HTTPScope", scope)
        access = self.wire.server.access
        if access is not None:
            self.entry = access.begin(scope)
        try:
            scope["path"] = unquote(raw_path.decode("ascii"))
            status = 200 if not config.server_names or valid_server_name(config, event) else 404
        except UnicodeDecodeError:
            status = 400
        if status == 200:
            self.wire.spawn_application(cast(Any, self))
        else:
            await self.refuse(status)
            self.ended()

    async def refuse(self, status: int) -> None:
        """Answer without the application, and be done."""
        if self.outcome == "returned":
            self.outcome = "drained" if status == 503 else "failed"
        await self._send_error_response(status)
        if self.entry is not None:
            self.entry.head(status, trio.current_time())
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _closed(self) -> None:
        """The response is whole, or the client has left."""
        self.closed = True
        if self.state != ASGIHTTPState.CLOSED:
            self.outcome = "disconnected"
            self.link.client_left()
            await self.config.log.access(cast(Any, self.scope), cast(Any, None), time() - self.start_time)
        self.inbox.end({"type": "http.disconnect"})

    # From the application ----------------------------------------------------------------------------------------

    async def app_send(self, message: Message | None) -> None:  # type: ignore[override]
        """ASGI's `send`."""
        if self.aborted:
            await trio.lowlevel.checkpoint()
            return
        if message is not None:
            kind = message["type"]
            if kind == "http.response.start":
                status = message["status"]
                if not 200 <= status <= 599:
                    # 1xx would take HTTP/1.1 out of step, and 101 used to end the server. Nothing is sent yet: a 500.
                    raise ValueError(f"the application answered with the status {status!r}; a response has 200 to 599")
            elif kind == "http.response.body" and not message.get("more_body", False):
                self.link.response_taken()
        await super().app_send(cast(Any, message))
        if self.entry is not None and message is not None:
            self._note(self.entry, message)

    def _note(self, entry: Entry, message: Message) -> None:
        if message["type"] == "http.response.start":
            entry.head(message["status"], trio.current_time())
        elif message["type"] == "http.response.body" and not suppress_body(entry.method, entry.status):
            entry.sent += len(message.get("body", b""))

    def ended(self) -> None:
        """See `Stream.ended`."""
        if self.entry is not None and self.wire.server.access is not None:
            self.wire.server.access.end(self.entry, self.outcome)

    async def application_done(self, status: int) -> None:
        """The application is over: answer with `status` if it has not, cut the response if it is not whole."""
        self.link.response_taken()
        if self.aborted or self.state == ASGIHTTPState.CLOSED:
            return
        if self.state != ASGIHTTPState.REQUEST:
            self.abort()
        elif not self.closed:
            await self.refuse(status)

    def abort(self) -> None:
        """See `trivet.asgi.Link.abort`."""
        if self.aborted or self.state == ASGIHTTPState.CLOSED:
            return
        self.aborted = True
        self.closed = True
        if self.outcome == "returned":
            self.outcome = "failed"
        self.link.response_taken()
        self.inbox.end({"type": "http.disconnect"})
        self.owner.abort(self)

    def ends_with_the_connection(self) -> bool:
        """Whether a closed connection would look like the end of a whole response (RFC 9112 section 6.3, rule 8)."""
        if self.state == ASGIHTTPState.REQUEST or self.scope["http_version"] != "1.0":
            return False
        headers = self.response.get("headers", [])
        return not any(name.lower() == b"content-length" for name, _ in headers)
