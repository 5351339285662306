"""One connection that speaks HTTP/1.1: which bytes belong to which request, who answers it, and when it is closed.

This file owns the life of a connection. What arrives is handed in synchronously (`received`), by the poller or by the
task that reads a stream; a request whose answer is known at once is answered right there, any other by a task of the
crew, which sees to this connection until there is nothing left to do. So there is one request at a time, answers are
in order, and a client that has pipelined waits.

    idle -> a head arrives -> answered at once (the direct door) -> idle
                           -> current: a task runs the application -> idle, or
    closing: the last byte is written, what the client still sends is thrown away for a while (RFC 9112 section 9.6)
    gone: closed, broken, or handed over to another protocol

Nothing that happens on one connection reaches another: what is raised here ends here.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio

from trivet.asgi import Answer, ASGIApp, Scope

from ._http1_exchange import Exchange
from ._http1_handover import becomes_another, begins_http2, open_websocket
from ._http1_head import Begun, Refused, RequestHead, find_end
from ._http1_intake import Intake
from ._http1_response import ResponseFault, answer_of
from ._http1_scope import scope_of
from ._state import log

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service
    from ._transport import Transport

FIRST_REQUEST_SECONDS: Final = 1.0
"""For a client that connected just before the drain to send its request: more than a round trip."""

AT_ONCE: Final = 16
"""Pipelined requests that are answered before others have their turn."""


class HTTP1Connection(Intake):
    """A connection of trivet's own protocol; the arguments are those of `Wire`."""

    __slots__ = ("_begun", "_closes", "_more", "_scope", "_unsent", "_working")

    def __init__(self, server: HTTP1Service, transport: Transport, now: float) -> None:
        super().__init__(server, transport, now)
        self._begun: Begun | None = None  # what is known of a head that is not complete
        self._unsent: memoryview | None = None  # of an answer that was given at once
        self._closes = False  # whether the connection ends behind that
        self._more = False  # the buffer may hold a whole request that has not been looked at
        self._working = False  # a task sees to it, or is about to
        self._scope: trio.CancelScope | None = None  # of that task

    # Reading: called by the transport ----------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Bytes arrived; none: the end of the stream."""
        server = self.server
        server.now = now
        if not self._busy and data:
            if not self._buffer:
                head = server.parser.known(data)
                if head is not None:  # one whole head, like others before it: nearly all there is
                    self._begin(head)
                    return
                self._buffer = data
            else:
                self._buffer += data
                if b"\n" not in data and len(self._buffer) < server.limits.request_line:
                    return  # part of a line: nothing to be learnt from it
            self._advance()
        elif not data:
            self._ended()
        elif self.closing:
            self.throw_away(data)
        else:
            if self._body is not None:
                data = self._take_body(data)
            if data and not self.closing:
                self._buffer += data
            self._pause_if_full()

    def _ended(self) -> None:
        self.eof = True
        if self.closing or not self._busy:
            self.close()
            return
        self.transport.mute()
        if self.current is not None:
            self.current.client_left()
            self.current.end_input()

    # Requests ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Take what requests the buffer holds, up to one that has to wait for its answer."""
        self._more = self._busy = False
        for _ in range(AT_ONCE):
            head = self._next_head()
            if head is None:
                if self.eof and not self.closing:
                    self.close()  # half a head: the rest will never come
                return
            self._begin(head)
            if not self._buffer or self._busy:
                return
        self._more = self._busy = True
        self._wake()

    def _next_head(self) -> RequestHead | None:
        """The head of the next request; None: it is not complete yet, or never will be."""
        server = self.server
        data = self._buffer
        try:
            begun = self._begun
            end = find_end(data, 0, server.limits) if begun is None else begun.find_end(data)
            if end < 0:
                if begun is None:
                    self._begun = Begun(server.limits)
                    self.deadline = server.now + server.limits.head_timeout
                return None
            raw, self._buffer = (data, b"") if end == len(data) else (data[:end], data[end:])
            self._begun = None
            head = server.parser.parse(raw)
        except Refused as refused:
            if not self._served and begins_http2(data):
                self._hand_over(data)
            else:
                self._refuse(refused.status, refused.detail, data)
            return None
        if head.upgrade and becomes_another(head):
            self._open_websocket(head)
            return None
        return head

    def scope_of(self, head: RequestHead) -> Scope:
        """See `_http1_head.Owner`."""
        return scope_of(self.server, self.transport, head)

    def _begin(self, head: RequestHead) -> None:
        """Answer a request at once, or hand it to the task."""
        server = self.server
        head.owner = self
        self._served += 1
        if server.watchful and not server.admits(head):
            self._refuse(404, "this server has no such host", head)
            return
        app: ASGIApp = server.app
        if server.door is not None and (head.length == 0 or self._came_whole(head)):
            outcome = server.ask_door(head)
            if callable(outcome):
                app = outcome
            elif outcome is not None:
                if head.length:
                    self._buffer = self._buffer[head.length :]
                self._answer(head, outcome)
                return
        if head.length != 0 and not self._announce_body(head):
            return
        self._busy = True
        self.deadline = inf
        self.current = Exchange(self, head, app)
        if self._body is not None and self._buffer:
            data, self._buffer = self._buffer, b""
            self._buffer = self._take_body(data)
            self._pause_if_full()
        self._wake()

    def _answer(self, head: RequestHead, answer: Answer) -> None:
        """Send an answer of the direct door."""
        server = self.server
        try:
            data, closes = answer_of(head, answer, self.must_close(), server.tails())
        except ResponseFault as fault:
            log.error("the application failed on %s %r", head.method, head.raw_path, exc_info=fault)
            self._refuse(500, "", head)
            return
        self.deadline = server.now + server.limits.idle_timeout
        rest = self.push(data)
        if rest is not None:
            self._unsent = rest
            self._closes = closes
            self._busy = True
            self.deadline = inf
            self._wake()
        elif closes:
            self._end()

    # What may have to wait -----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Have a task see to what there is."""
        if not self._working:
            self._working = True
            self.server.crew.take_on(self)

    async def work(self, scope: trio.CancelScope) -> None:
        """See `_crew.Work`."""
        self._scope = scope
        try:
            while True:
                current = self.current
                if current is not None:
                    access = self.server.access
                    if access is None:
                        await current.run()
                    else:
                        await current.run_logged(access)
                    current.head.forget()
                    self.current = None
                    self._next(reusable=current.reusable)
                    del current
                elif self._unsent is not None:
                    await self.flush(self._unsent, self.server.send_timeout)
                    self._unsent = None
                    self._next(reusable=not self._closes)
                elif self._more:
                    # A context variable that one request sets must not be seen by the next.
                    trio.lowlevel.current_task().context = self.server.base_context.copy()
                    await trio.lowlevel.checkpoint()  # a client that pipelines must not keep all others waiting
                    self._advance()
                    self.make_room()
                else:
                    break
        except Exception:  # noqa: BLE001 - whatever it is, it costs nobody else anything
            log.exception("a connection ended by an error")
            self._give_up()
        except BaseException:
            # Cancelled: by the drain's end, or with the whole server.
            self._give_up()
            raise
        finally:
            self._working = False
            self._scope = None

    def _give_up(self) -> None:
        self._unsent = self.current = None
        self._more = False
        self.eof = True
        self.close()
        self.server.left(self)

    def _next(self, *, reusable: bool) -> None:
        """A request has been answered: go on with the next, or come to an end."""
        if self.gone:
            self.server.left(self)
        elif self.closing:
            pass  # an answer of ours has taken the place of the application's
        elif reusable and (self._buffer or not self.eof):
            self.deadline = trio.current_time() + self.server.limits.idle_timeout
            self._more = self._busy = bool(self._buffer)
            if self._paused:
                self.make_room()
            if self.server.draining_now:
                self.drain_begins()  # the head said keep-alive: it was out when the drain began
        else:
            self._end()

    # The end -----------------------------------------------------------------------------------------------------

    def _closed(self) -> None:
        if self.current is None:
            self.server.left(self)

    def _hand_over(self, data: bytes) -> None:
        """Let hypercorn's protocols go on with the connection, from `data` on."""
        self.gone = True
        self.deadline = inf
        self.server.hand_over(self.transport, data)
        self.server.left(self)

    def _open_websocket(self, head: RequestHead) -> None:
        self._served += 1
        refusal = open_websocket(self.server, self.transport, head, self._buffer, paused=self._paused, eof=self.eof)
        if refusal is not None:
            status, detail, fields = refusal
            self._refuse(status, detail, head, fields)
            return
        self.gone = True
        self.deadline = inf
        self.server.left(self)

    def tick(self, now: float, seconds: float) -> None:
        """Called every `seconds` or so: whatever has taken too long is ended."""
        if self.deadline <= now and not self.closing:
            self.transport.look()  # what came in time is not late because we are
        if self.deadline <= now:
            self.deadline = inf
            if self.closing or not self._buffer:
                self.close()
            else:
                self._refuse(408, "the head of the request did not arrive in time", self._buffer)
        else:
            self._check_rate(seconds)

    # The drain ---------------------------------------------------------------------------------------------------

    def drain_begins(self) -> None:
        """Close if idle; otherwise after the response in progress."""
        if not self._busy and not self._buffer:
            self.transport.look()  # a request that has arrived already is not lost
            if not self._served:
                # Who has kept a connection must expect its end (RFC 9112 section 9.3.1); who has just connected, not.
                self.deadline = self.server.now + FIRST_REQUEST_SECONDS
            elif not self._busy and not self._buffer:
                self.close()

    def drain_over(self) -> None:
        """Tell the request to stop; cancel what cannot be told."""
        current = self.current
        if current is None:
            self.close()
            return
        current.drain_over()
        if not current.attached and self._scope is not None:
            self._scope.cancel()
