"""One connection that speaks WebSocket: what is read and when, how frames leave whole, and how it comes to an end.

This file owns the life of a connection from the handshake's request on, and back-pressure both ways. It stays where
HTTP/1.1 left it, in the poller or with the task that reads its stream, so that an idle WebSocket has no task but its
application's. What arrives is taken apart by whoever reads it, as far as the inbox has room; then nothing more is read.

    answering the handshake -> open -> a close frame each way -> closed; or refused; or broken at any time

What the application hears and says is `_ws_exchange`'s, writing `_ws_writing`'s, time `_ws_clock`'s, bytes are
`_ws_decoder`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ._http1_response import refusal
from ._state import log
from ._ws_decoder import Control, Decoder
from ._ws_exchange import WebSocketExchange
from ._ws_frames import CLOSE, NO_CODE, PING, PONG, Violation, close_of, closing, control
from ._ws_writing import Writing

if TYPE_CHECKING:
    from ._http1_head import RequestHead
    from ._http1_service import HTTP1Service
    from ._transport import Transport
    from ._ws_handshake import Offer

CROWD: Final = 4096
"""Bytes of pongs that wait for the client to read; then we do not read its pings any more either."""


class WebSocketConnection(Writing):
    """A WebSocket on HTTP/1.1.

    Args:
        server: what it shares with others.
        transport: on which the request came.
        head: of the request.
        offer: what is in it.
        now: on Trio's clock.
    """

    __slots__ = ("_after", "_crowd", "_decoder", "_pongs", "_scope", "_working", "exchange")

    def __init__(self, server: HTTP1Service, transport: Transport, head: RequestHead, offer: Offer, now: float) -> None:
        super().__init__(server, transport, now)
        self.exchange = WebSocketExchange(self, head, offer)
        self._decoder: Decoder | None = None  # from our answer on
        self._pongs = b""  # that are about to be written
        self._crowd = 0  # bytes of pongs that wait to be written
        self._after: bool | None = None  # the connection ends behind what waits; whether the client may still send
        self._working = False
        self._scope: trio.CancelScope | None = None  # of the application's task

    @property
    def answering(self) -> bool:
        """See `Answering`."""
        return self._working

    @property
    def _ending(self) -> bool:
        """Whether all has been said, so that what comes is thrown away."""
        return self.closing or self._after is not None

    # The application -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Run the application."""
        self._working = True
        self.server.crew.take_on(self)

    async def work(self, scope: trio.CancelScope) -> None:
        """See `_crew.Work`."""
        self._scope = scope
        try:
            await self.exchange.run_logged()
        except Exception:  # noqa: BLE001 - whatever it is, it costs nobody else anything
            log.exception("a connection ended by an error")
            self.close(reset=True)
        finally:
            self._working = False
            self._scope = None
            if self.gone:
                self._leave()

    def open(self, answer: bytes, decoder: Decoder) -> None:
        """The handshake is answered: frames from now on."""
        self._decoder = decoder
        self.put(answer)
        self.opened()

    def close_with(self, frame: bytes) -> None:
        """Send our close frame; the client's answer has `limits.websocket_close` seconds."""
        self.put(frame)
        self.await_close()
        self._read()  # what is on its way to an application that does not want it is read for the client's answer

    def refuse(self, status: int, detail: str = "") -> int:
        """Answer the handshake with a refusal; returns the size of its body."""
        data, size = refusal(status, detail, self.server.tails()[0], "GET")
        self.put(data)
        self.end()
        return size

    def end(self, *, sending: bool = True) -> None:
        """All has been said: close, once it is written, with regard for a client that still sends (`Wire.finish`)."""
        self.put_held()
        if self.pending is not None:
            self._after = sending
            return
        self._unpause()
        self.finish(sending=sending)

    # Reading ---------------------------------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Bytes arrived; none: the end of the stream."""
        self.server.now = self.heard = now
        if not data:
            self.eof = True
            self.put_held()  # a client that has ended its half may read on
            self._gone()
            return
        if self._ending:
            self.throw_away(data)
            return
        decoder = self._decoder
        if decoder is None:
            # RFC 6455 section 4.1: a client waits for our answer. What comes before may be meant for somebody else.
            self.exchange.refused(400, "Data before the handshake of a WebSocket is answered.")
            return
        decoder.feed(data)
        if not self.paused:
            self._read()

    def _read(self) -> None:
        """Take messages out of what has arrived, as far as there is room for them."""
        decoder, exchange = self._decoder, self.exchange
        if decoder is None or self._ending:
            return
        inbox = exchange.inbox
        try:
            while not inbox.full and (self._crowd < CROWD or self.gone):
                event = decoder.next()
                if isinstance(event, str):
                    inbox.feed({"type": "websocket.receive", "text": event, "bytes": None}, len(event))
                elif isinstance(event, bytes):
                    inbox.feed({"type": "websocket.receive", "text": None, "bytes": event}, len(event))
                elif event is None:
                    self._answer()
                    self._unpause()
                    if self.gone:
                        exchange.vanished()
                    return
                elif self._control(event):
                    return
        except Violation as violation:
            self._fail(violation)
            return
        self._answer()
        inbox.room = self._read
        if not self.paused and not self.gone:
            self.paused = True
            self.transport.pause()

    def _unpause(self) -> None:
        if self.paused:
            self.paused = False
            self.heard = trio.current_time()  # we have not listened
            if not self.gone:
                self.transport.resume()

    def _control(self, event: Control) -> bool:
        """Whether it was the last frame."""
        opcode, payload = event
        if opcode == PING:
            # Written together: a flood of pings is no flood of system calls.
            self._pongs += control(PONG, payload)
            if len(self._pongs) >= CROWD:
                self._answer()
        elif opcode == CLOSE:
            code, reason = close_of(payload)
            self._answer()
            if not self.exchange.said_goodbye:
                self.put(control(CLOSE) if code == NO_CODE else closing(code))
            self.exchange.closed(code, reason)
            self.end(sending=False)
            return True
        return False

    def _answer(self) -> None:
        pongs, self._pongs = self._pongs, b""
        if pongs and not self.exchange.said_goodbye and not self.put(pongs):
            self._crowd += len(pongs)

    def _fail(self, violation: Violation) -> None:
        """The client has broken the protocol: say so, and close."""
        self._answer()
        if not self.exchange.said_goodbye:
            self.put(closing(violation.code, violation.reason))
        self.exchange.closed(violation.code, violation.reason)
        self._decoder = None
        self.end()

    def send_patience(self) -> float | None:
        """See `Writing`."""
        return self.exchange.send_timeout

    def all_written(self) -> None:
        """See `Writing`."""
        self._crowd = 0
        if self.gone:
            return
        if self._after is not None:
            self.finish(sending=self._after)
        elif self.paused:
            self._read()

    # The end ---------------------------------------------------------------------------------------------------------

    def _gone(self) -> None:
        """The client has left. What came before may still lie unread."""
        self.close()
        self.exchange.client_left()
        if self._decoder is None or self._ending:
            self.exchange.vanished()
        else:
            self._read()

    def broken(self) -> None:
        """See `Receiver`."""
        self.eof = True
        self._gone()

    def lost(self) -> None:
        """See `Clocked`."""
        self.exchange.vanished()
        self.end(sending=False)

    def hung_up(self) -> None:
        """See `Receiver`: told, no more, for there is still something to read."""
        self.exchange.client_left()

    def exhausted(self) -> bool:
        """See `Wire`."""
        return False

    def _closed(self) -> None:
        if not self._working:
            self._leave()

    def _leave(self) -> None:
        """Neither the connection nor its application is there any more."""
        self._decoder = None
        self.exchange.release()
        self.server.left(self)

    def abort(self, *, reset: bool = False) -> None:
        """Close at once, in the middle of whatever is going on."""
        self.close(reset=reset)
        self.exchange.vanished()

    # The drain -------------------------------------------------------------------------------------------------------

    def drain_begins(self) -> None:
        """The application knows; one that is done waits for its client's answer no longer than for any other."""

    def drain_over(self) -> None:
        """Tell the application to stop; cancel what cannot be told."""
        if not self._working:
            self.close()
            return
        self.exchange.drain_over()
        if not self.exchange.attached and self._scope is not None:
            self._scope.cancel()
