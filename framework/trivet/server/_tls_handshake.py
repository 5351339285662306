"""The handshake of a connection in the poller: driven by what arrives, with no task and no timer of its own.

This file owns what happens between accept and the first plain byte, and what becomes of a handshake that fails:
nothing. It counts as a connection meanwhile, so that limits and the drain see it. What goes wrong in it, foreseen or
not, costs nobody else anything.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from ._state import log
from ._tls_transport import SecureTransport

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service


class Handshake:
    """A connection that does not know yet which protocol it speaks.

    Args:
        server: what takes it from here.
        transport: what it is made on.
        deadline: when it is closed, on Trio's clock.
    """

    __slots__ = ("_deadline", "_over", "_server", "_transport")

    def __init__(self, server: HTTP1Service, transport: SecureTransport, deadline: float) -> None:
        self._server = server
        self._transport = transport
        self._deadline = deadline
        self._over = False

    # What the poller says: ciphertext --------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """See `Receiver`."""
        self._server.now = now
        if data:
            self._transport.incoming.write(data)
            self._step()
        else:
            self._end()  # a scanner, or a client that does not trust our certificate: no fault of ours

    def hung_up(self) -> None:
        """See `Receiver`: while we wait to be read. It is not worth waiting any longer."""
        self._end()

    def broken(self) -> None:
        """See `Receiver`."""
        self._end()

    def _step(self) -> None:
        transport = self._transport
        self._server.task_woken()  # a signature takes as long as many requests: others have their turn between two
        try:
            transport.session.do_handshake()
        except ssl.SSLWantReadError:
            self._go_on(finished=False)
        except (ssl.SSLError, ssl.CertificateError):
            transport.flush()  # the alert
            self._end()
        else:
            # Of TLS 1.3 only tickets are left to be sent, and they go with the first response: a client that writes and
            # leaves, without having read them, would reset the connection, and its request with it.
            self._go_on(finished=True)

    def _go_on(self, *, finished: bool) -> None:
        transport = self._transport
        if finished and transport.session.version() == "TLSv1.3":
            self._finished()
        elif transport.flush():
            if finished:
                self._finished()
        else:
            transport.pause()
            self._server.nursery.start_soon(self._flush, finished)

    async def _flush(self, finished: bool) -> None:
        """A long chain of certificates may be more than a new socket takes."""
        try:
            await self._transport.flushed()
            if not self._over:
                self._transport.resume()
                if finished:
                    self._finished()
        except trio.ClosedResourceError:
            pass  # by whoever has ended the handshake meanwhile
        except Exception:  # noqa: BLE001 - the poller would stop it, had it called us; the nursery is everybody's
            log.exception("a connection ended by an error")
            self._end()

    def _finished(self) -> None:
        self._server.secured(self._transport)
        self._leave()

    def _end(self) -> None:
        if not self._over:
            self._transport.close()
            self._leave()

    def _leave(self) -> None:
        self._over = True
        self._server.left(self)

    # What the server says --------------------------------------------------------------------------------------------

    def tick(self, now: float, seconds: float) -> None:
        """See `HTTP1Connection.tick`."""
        if self._deadline <= now:
            self._end()

    def drain_begins(self) -> None:
        """Nothing has been asked yet."""
        self._end()

    def drain_over(self) -> None:
        """The same."""
        self._end()

    def abort(self, *, reset: bool = False) -> None:
        """The same."""
        self._end()
