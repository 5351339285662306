"""TLS on a socket in the poller: records go through memory, and what a connection reads and writes is plain.

This file owns the way of bytes between a socket and an `ssl.SSLObject`: what is decrypted when, what becomes of
ciphertext that the kernel does not take, and how an end is told. The handshake is `_tls_handshake`'s; other protocols
go on with a stream (`_tls_stream`).

Bytes written are counted as plain bytes, and a record cannot be taken back. So what is encrypted but not yet in the
kernel's hands is not written, as far as the caller is told: it comes again with the same bytes, as OpenSSL asks of who
writes to a socket, and hears of progress as the kernel takes the ciphertext.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

import trio

from ._poller import Poller, Receiver
from ._stream import BoundedStream
from ._tls_stream import adopt
from ._transport import Answering, PolledTransport, Take

RECORD: Final = 16_384
"""Plain bytes in a record (RFC 8446 section 5.1). BIOs never shrink, so that nothing larger goes through them."""

PIECE: Final = 4 * RECORD
"""Plain bytes that are encrypted before the kernel is asked to take them."""

MAX_UNASKED: Final = 16_384
"""Bytes of ciphertext that a client makes us hold without a response of ours: by KeyUpdates, which are answered, and
which it does not want to read. Tickets for resumption are some 500."""


class SecureTransport(PolledTransport):
    """A connected, non-blocking socket that speaks TLS and that the poller reads.

    Args:
        poller: reads it.
        sock: owned from here on.
        client: what `accept` gave as the peer's name.
        context: of the server.

    Attributes:
        session: of TLS.
        incoming: ciphertext that the session reads.
        outgoing: ciphertext that it has written.
    """

    tls = True

    __slots__ = ("_owed", "_unsent", "incoming", "outgoing", "session")

    def __init__(self, poller: Poller, sock: socket.socket, client: Any, context: ssl.SSLContext) -> None:
        super().__init__(poller, sock, client)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._unsent = b""  # ciphertext that the kernel has not taken
        self._owed = 0  # plain bytes in it that the caller has not been told of

    def begin(self, receiver: Receiver, now: float) -> None:
        """The handshake is over: decrypt for `receiver` from now on, beginning with what has arrived already.

        What `receiver` raises is raised, and breaks its connection: nobody else knows by then that there is one.
        """
        records = Records(self, receiver)
        self._poller.pass_on(self.sock, records)
        if self.incoming.pending:
            try:
                records.feed(b"", now)
            except Exception:
                receiver.broken()
                raise

    # Writing -----------------------------------------------------------------------------------------------------

    def write_now(self, data: bytes | memoryview, /) -> int:
        """See `WriteNow`."""
        if self._unsent:
            raise BlockingIOError
        size = len(data)
        done = 0
        while done < size:
            # Nearly all responses are one piece, and one record.
            piece = data if size <= RECORD else memoryview(data)[done : done + PIECE]
            if not self._send(self._encrypt(piece)):
                self._owed = len(piece)
                break
            done += len(piece)
        return done

    async def write_some(self, data: memoryview) -> int:
        """See `Transport`."""
        while True:
            if not self._unsent:
                written = self.write_now(data[:PIECE])
                if written:
                    return written
            before = len(self._unsent)
            await self._poller.wait_writable(self.sock)
            if self._send():
                told, self._owed = self._owed, 0
            else:
                # One byte is kept back for the end: a caller that has been told of all would not come again.
                told = max(0, min(before - len(self._unsent), self._owed - 1))
                self._owed -= told
            if told:
                return told

    def _encrypt(self, piece: bytes | memoryview) -> bytes:
        write, read = self.session.write, self.outgoing.read
        size = len(piece)
        if size <= RECORD:
            write(piece)
            return read()
        parts: list[bytes] = []
        for at in range(0, size, RECORD):
            write(piece[at : at + RECORD])
            parts.append(read())
        return b"".join(parts)

    def _send(self, data: bytes = b"") -> bool:
        """Send what is left, and then `data`; whether the kernel has taken it all."""
        if self._unsent:
            data = self._unsent + data
        if not data:
            return True
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        self._unsent = data[sent:]
        return not self._unsent

    def flush(self) -> bool:
        """Send what the session has to say of itself; whether there is nothing left to wait for. Never raises."""
        try:
            return self._send(self.outgoing.read())
        except OSError:
            return True  # it is broken, as the poller will find

    async def flushed(self) -> None:
        """`flush`, until all has been taken.

        Raises:
            trio.ClosedResourceError: it was closed.
        """
        while not self.flush():
            await self._poller.wait_writable(self.sock)

    # The end -----------------------------------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        """close_notify (RFC 8446 section 6.1); not in the middle of a record, which it could not be told from."""
        if not self._unsent:
            try:
                self.session.unwrap()
            except (ssl.SSLError, ValueError):
                pass  # SSLWantReadError: the peer's is not waited for; others: there is no session to be ended
            self.flush()

    def end_writing(self) -> None:
        """See `Transport`."""
        self._say_goodbye()
        super().end_writing()

    def close(self, *, reset: bool = False) -> None:
        """See `Transport`."""
        if self.sock.fileno() != -1:
            if not reset:
                self._say_goodbye()
            super().close(reset=reset)

    def pass_on(self, receiver: Answering) -> None:
        """See `Transport`."""
        records = self._poller.receiver_of(self.sock)
        assert isinstance(records, Records)
        records.receiver = receiver

    def hand_over(self, take: Take, nursery: trio.Nursery) -> None:
        """See `Transport`."""
        self._poller.remove(self.sock)
        lower = BoundedStream(self.sock)
        nursery.start_soon(take, adopt(lower, self.session, self.incoming, self.outgoing), b"")


class Records:
    """Decrypts what arrives for a connection, which hears of nothing that is not authentic.

    Not a part of the transport: they would refer to each other, and their memory would wait for the collector.

    Args:
        transport: whose session reads.
        receiver: the connection; it may be another later.
    """

    __slots__ = ("_ended", "_transport", "receiver")

    def __init__(self, transport: SecureTransport, receiver: Receiver) -> None:
        self._transport = transport
        self.receiver = receiver
        self._ended = False  # the peer has said close_notify: whatever follows, anybody may have sent

    def received(self, data: bytes, now: float) -> None:
        """See `Receiver`. An end without close_notify is an end: HTTP/1.1 says itself how long a message is."""
        if data:
            self.feed(data, now)
        elif not self._ended:
            self._ended = True
            self.receiver.received(b"", now)

    def feed(self, data: bytes, now: float) -> None:
        """Decrypt all of it at once, so that nothing is left here when reading is paused."""
        if self._ended:
            return
        try:
            plain, self._ended = self._decrypt(data)
        except ssl.SSLError:
            self._transport.flush()  # the alert
            self.broken()
            return
        if len(plain) == 1:
            self.receiver.received(plain[0], now)
        elif plain:
            self.receiver.received(b"".join(plain), now)
        if self._ended:
            self.receiver.received(b"", now)
        elif self._transport.outgoing.pending and self._goes_too_far():
            self.broken()

    def _goes_too_far(self) -> bool:
        """Whether the client has made the session say what it should not.

        With TLS 1.3 that waits for the next response. What TLS 1.2 says unasked is that it does not renegotiate, which
        costs a server far more than a client (CVE-2011-1473); who tries is left, as nginx does.
        """
        transport = self._transport
        if transport.session.version() == "TLSv1.3":
            return transport.outgoing.pending > MAX_UNASKED
        transport.flush()
        return True

    def _decrypt(self, data: bytes) -> tuple[list[bytes], bool]:
        """The plain bytes of whole records, and whether the end has come.

        What is less than a record waits in the BIO.
        """
        incoming, read = self._transport.incoming, self._transport.session.read
        plain: list[bytes] = []
        for at in range(0, len(data) or 1, RECORD):
            incoming.write(data[at : at + RECORD])
            try:
                # Asking when there is nothing costs an exception, which is a tenth of a small request.
                while incoming.pending:
                    part = read(RECORD)
                    if not part:
                        return plain, True
                    plain.append(part)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return plain, True
        return plain, False

    def hung_up(self) -> None:
        """See `Receiver`."""
        self.receiver.hung_up()

    def broken(self) -> None:
        """See `Receiver`."""
        self.receiver.broken()
