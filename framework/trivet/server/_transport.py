"""How a connection reads and writes: a socket in the poller, or a Trio stream with a task that reads it.

This file owns the difference between the two, so that a connection knows none: systems without epoll, and streams in
memory, are the second kind. TLS in the poller is the first, with records between (`_tls_transport`). Writing has a fast
half that never blocks, and a slow one that a task awaits.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

import trio

from ._address import endpoint
from ._poller import RECEIVE_SIZE, Poller, Receiver
from ._stream import BoundedStream, close_now, end_half

PIECE: Final = 65_536
"""What a blocked write of a stream hands over at a time: progress is noticed a piece at a time."""

CLOSE_SECONDS: Final = 1.0
"""For TLS's close_notify, and before that for the last answer of a request that is cancelled."""

Take: TypeAlias = "Callable[[Any, bytes], Awaitable[object]]"
"""Goes on with a stream, and with bytes that have been read from it but not handed on."""


class WriteNow(Protocol):
    """Writes without blocking."""

    def __call__(self, data: bytes | memoryview, /) -> int:
        """Write what can be written now; returns how many bytes that was.

        Raises:
            OSError: the connection is broken; `BlockingIOError`: nothing can be written now.
        """
        ...


class Transport(Protocol):
    """What a connection asks of its transport. The methods that are not `async` neither block nor raise."""

    tls: bool
    client: tuple[str, int] | None
    local: tuple[str, int] | None

    @property
    def write_now(self) -> WriteNow:
        """Write without blocking."""
        ...

    async def write_some(self, data: memoryview) -> int:
        """Write at least one byte of `data`; returns how many.

        Raises:
            OSError, trio.BrokenResourceError, trio.ClosedResourceError: the connection is broken.
        """
        ...

    def pause(self) -> None:
        """Read no more for now; the end of the stream is still noticed where the system can tell."""
        ...

    def resume(self) -> None:
        """Read again."""
        ...

    def mute(self) -> None:
        """Read no more: the end of the stream has been seen."""
        ...

    def look(self) -> None:
        """Read what has arrived already, if that can be told, before the connection is closed."""
        ...

    def end_writing(self) -> None:
        """Nothing more will be written."""
        ...

    def close(self, *, reset: bool = False) -> None:
        """Close; `reset`: with RST, dropping what has not been sent."""
        ...

    def pass_on(self, receiver: Answering) -> None:
        """Hand what arrives to another connection from now on."""
        ...

    def hand_over(self, take: Take, nursery: trio.Nursery) -> None:
        """Stop reading, and let another protocol go on: in the task that has read so far, or else in `nursery`."""
        ...


class PolledTransport:
    """A connected, non-blocking socket that the poller reads: all but the writing.

    Args:
        poller: reads it.
        sock: owned from here on.
        client: what `accept` gave as the peer's name.
    """

    tls = False

    __slots__ = ("_poller", "client", "local", "sock")

    def __init__(self, poller: Poller, sock: socket.socket, client: Any) -> None:
        self.sock = sock
        self.client = endpoint(sock.family, client)
        self.local = endpoint(sock.family, sock.getsockname())
        self._poller = poller

    def pause(self) -> None:
        """See `Transport`."""
        self._poller.pause(self.sock)

    def resume(self) -> None:
        """See `Transport`."""
        self._poller.resume(self.sock)

    def mute(self) -> None:
        """See `Transport`."""
        self._poller.mute(self.sock)

    def look(self) -> None:
        """See `Transport`."""
        self._poller.look(self.sock)

    def end_writing(self) -> None:
        """See `Transport`."""
        end_half(self.sock)

    def close(self, *, reset: bool = False) -> None:
        """See `Transport`."""
        sock = self.sock
        if sock.fileno() == -1:
            return
        self._poller.remove(sock)
        self._poller.notify_closing(sock)
        close_now(sock, reset=reset)

    def pass_on(self, receiver: Answering) -> None:
        """See `Transport`."""
        self._poller.pass_on(self.sock, receiver)

    def hand_over(self, take: Take, nursery: trio.Nursery) -> None:
        """See `Transport`."""
        self._poller.remove(self.sock)
        nursery.start_soon(take, BoundedStream(self.sock), b"")


class SocketTransport(PolledTransport):
    """The socket itself; the arguments are those of `PolledTransport`."""

    __slots__ = ("write_now",)

    def __init__(self, poller: Poller, sock: socket.socket, client: Any) -> None:
        super().__init__(poller, sock, client)
        # The socket's own method: one call less for each response.
        self.write_now: WriteNow = sock.send

    async def write_some(self, data: memoryview) -> int:
        """See `Transport`."""
        while True:
            await self._poller.wait_writable(self.sock)
            try:
                return self.sock.send(data)
            except BlockingIOError:
                pass


class Answering(Receiver, Protocol):
    """A connection, as what reads a stream for it sees it."""

    @property
    def answering(self) -> bool:
        """Whether there is a task that answers a request, and that closes the transport when it is cancelled."""
        ...

    def close(self) -> None:
        """Close at once."""
        ...


class StreamTransport:
    """A Trio stream; `run` is the task that reads it.

    While it is paused the end of the stream goes unnoticed: it comes behind bytes that we do not want yet, and where
    there is no epoll Trio offers nothing that waits for it alone (`wait_readable` says that there are bytes, MSG_PEEK
    shows the first of them). A client that leaves then is noticed when its body is read on, or its response cannot be
    written.

    Args:
        stream: owned from here on.
        tls: whether it is encrypted.
        client: the peer's address.
        local: ours.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream | trio.SSLStream[Any],
        *,
        tls: bool,
        client: tuple[str, int] | None,
        local: tuple[str, int] | None,
    ) -> None:
        self.stream = stream
        self._lower = getattr(stream, "transport_stream", stream)  # below TLS
        self.tls = tls
        self.client = client
        self.local = local
        self.write_now: WriteNow = self._write_nothing
        self._reading = trio.CancelScope()
        self._resumed: trio.Event | None = None  # exists while reading is paused
        self._take: Take | None = None
        self._surplus = b""  # read by the time it was handed over
        self._reset = False
        self._closed = trio.Event()  # by the connection
        self.receiver: Answering  # from `run` on

    async def run(self, receiver: Answering) -> None:
        """Read until the end, until closed, or until handed over; then until that is over.

        Cancellation: a request in progress is cancelled with us, and has a moment for its last answer.
        """
        take: Take | None = None
        self.receiver = receiver
        try:
            with self._reading:
                await self._read()
            take = self._take
        finally:
            if take is None:
                if self.receiver.answering and not self._reading.cancel_called:
                    with trio.CancelScope(shield=True, relative_deadline=CLOSE_SECONDS):
                        await self._closed.wait()
                await self._close()
        if take is not None:
            await take(self.stream, self._surplus)

    async def _read(self) -> None:
        while True:
            while self._resumed is not None:  # it may have been paused again before we run
                await self._resumed.wait()
            try:
                data = await self.stream.receive_some(RECEIVE_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.receiver.broken()
                return
            if self._handed_over():
                self._surplus = bytes(data)
                return
            self.receiver.received(bytes(data), trio.current_time())
            if self._handed_over():
                return
            if not data:
                await trio.sleep_forever()  # until `close`

    def _handed_over(self) -> bool:
        return self._take is not None

    async def _close(self) -> None:
        with trio.CancelScope(shield=True, relative_deadline=CLOSE_SECONDS):
            try:
                if self._reset:
                    if isinstance(self._lower, BoundedStream):
                        self._lower.close(reset=True)
                    await trio.aclose_forcefully(self.stream)
                else:
                    await self.stream.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer was quicker

    def _write_nothing(self, data: bytes | memoryview) -> int:
        raise BlockingIOError

    async def write_some(self, data: memoryview) -> int:
        """See `Transport`."""
        piece = data[:PIECE]
        await self.stream.send_all(piece)
        return len(piece)

    def pause(self) -> None:
        """See `Transport`."""
        if self._resumed is None:
            self._resumed = trio.Event()

    def resume(self) -> None:
        """See `Transport`."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def mute(self) -> None:
        """See `Transport`."""

    def look(self) -> None:
        """See `Transport`."""

    def end_writing(self) -> None:
        """See `Transport`. Over TLS without close_notify, for what follows it could not be read any more."""
        if isinstance(self._lower, BoundedStream):
            self._lower.end_writing()

    def close(self, *, reset: bool = False) -> None:
        """See `Transport`."""
        self._reset = reset
        self._closed.set()
        self._reading.cancel()

    def pass_on(self, receiver: Answering) -> None:
        """See `Transport`."""
        self.receiver = receiver

    def hand_over(self, take: Take, nursery: trio.Nursery) -> None:
        """See `Transport`. Two cannot read at a time, and who has accepted a stream closes it when its task is over."""
        self._take = take
        self._reading.cancel()
