"""One client over TCP: its requests are read, run, and answered; this file owns in which order bytes go out.

Each connection is a task with a nursery of its own. Mostly the task is alone in it, and a batch of requests costs one
`recv`, one `send` and one wait: whatever came at once is run at once, and its replies are sent in one piece. A second
task comes with the first subscription: then there is something to send when nobody asks.

What tokio's twin has, and this has not: a lock around the database, a channel that says "shut down" in a `select!` with
each read, a channel whose last sender is dropped when the last handler has gone. Nothing here runs beside a command; a
task is stopped from outside, by cancelling its nursery; and a nursery knows when it is empty.

The socket is used directly, with Trio's `wait_readable`. `trio.SocketStream` passes a checkpoint with each read and
with each send; here one for each batch is enough.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

import trio

from .dispatch import execute
from .engine import Engine
from .journal import Journal
from .memory import STEP
from .outbox import Outbox
from .protocol import Bounds, Requests
from .replies import error
from .session import Session
from .settings import Settings

READ: Final = 16 * 1024
"""Bytes at a time, as in redis-server; more, and each read would take that much memory to fill a little of it."""


CROWD: Final = 8
"""From so many batches of others since its last one on, a connection looks whether there is more before it waits."""

LINGER: Final = 2.0
LINGER_BYTES: Final = 4 * 1024 * 1024
"""Seconds, and bytes, for which a client may go on sending when the server has ended; then it is closed."""

QUIET: Final = 0.5
"""Seconds of that without a byte, after which none is on its way: an idle client may never notice the end."""


class Connection:
    """One client.

    Args:
        engine: what it asks.
        sock: its socket, which does not block.
        settings: how much it may.
        journal: what must be on disk before it has a reply.

    Attributes:
        held: bytes, as `memory.py` knows them.
    """

    def __init__(self, engine: Engine, sock: socket.socket, settings: Settings, journal: Journal | None) -> None:
        self._engine = engine
        self._sock = sock
        self._settings = settings
        self._journal = journal
        self._memory = engine.memory
        self.held = 0
        self._batch = 0  # bytes of the requests that are being run, if they are large
        self._unsent = 0  # of replies that wait, unless the outbox has them
        self._draining = False
        self._gone = False
        self._running: list[bytes] | None = None  # the replies of the batch that is being run
        self._outbox: Outbox | None = None
        self._requests = Requests(Bounds(bulk=settings.bulk, request=2 * settings.bulk))
        self._session: Session

    async def run(self) -> None:
        """Serve it until it goes.

        Cancellation: the connection is closed; what has been sent of a reply may be a part of it.
        """
        try:
            address, local = _name(self._sock.getpeername()), _name(self._sock.getsockname())
            async with trio.open_nursery() as self._nursery:
                kill = self._nursery.cancel_scope.cancel
                self._session = Session(self._engine, self._deliver, kill, address, local)
                try:
                    await self._serve()
                except trio.ClosedResourceError:
                    pass  # `drain` has woken it
                finally:
                    self._session.close()
                if self._outbox is not None:
                    await self._outbox.empty()
                if self._draining:
                    await self._linger()
                kill()
        except* OSError:
            pass  # it has gone, which is its right; or what it has changed could not be kept (`NotKept`)
        finally:
            self._sock.close()
            self._memory.note(self, 0)
            self._gone = True
            # A task that is cancelled leaves a cycle of its frames and the exception, in which this is.
            self._requests.forget()
            if self._outbox is not None:
                self._outbox.forget()

    def drain(self) -> None:
        """End it between two requests: what has been read is answered, and nothing more is run."""
        self._draining = True
        # To shut it for reading would wake it as well, but then nobody could tell the client's end from that.
        trio.lowlevel.notify_closing(self._sock)

    def evict(self) -> None:
        """Go, at once: all clients hold too much, and this one most."""
        self._gone = True
        self._nursery.cancel_scope.cancel()

    def _note(self) -> None:
        """Say how much it holds, if that has changed by much."""
        held = self._batch + self._requests.held + self._unsent + self._session.held
        if self._outbox is not None:
            held += self._outbox.size
        if held <= STEP:
            held = 0
        if (abs(held - self.held) > STEP or not held) and not self._gone:
            self._memory.note(self, held)

    async def _serve(self) -> None:
        sock, session, requests, turns = self._sock, self._session, self._requests, self._engine.turns
        descriptor = sock.fileno()
        turn = 0
        while not self._draining:
            try:
                data = sock.recv(READ)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(descriptor)
                continue
            if not data:
                return
            before = requests.held
            batch = requests.feed(data)
            if batch:
                self._batch = before
                replies: list[bytes] = []
                self._running = replies
                at = execute(session, batch, 0, replies)
                self._running = None
                if at == len(batch) and self._may_send():
                    data = b"".join(replies)
                    try:
                        sent = sock.send(data)
                    except BlockingIOError:
                        sent = 0
                    if sent != len(data):
                        replies.clear()  # they are in `data`
                        await self._rest(data, sent)
                else:
                    await self._answer(batch, at, replies)
            if session.closing or self._draining:  # which may have begun while its replies went out
                return
            if requests.error is not None:
                await self._send(error(b"ERR Protocol error: %b" % requests.error.encode("latin-1")))
                return
            if self.held or requests.held or session.named or session.queue is not None:
                self._batch = self._unsent = 0
                self._note()
            last, turn = turn, next(turns)
            if turn - last > CROWD:
                # While the others have their turn, its client has read the replies and mostly sent more. To ask the
                # kernel to tell when it has, costs more than to look.
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(descriptor)

    def _may_send(self) -> bool:
        """Whether replies may go out as they are: there are no messages between, and the log has what they speak of."""
        return self._outbox is None and not self._session.subscribed and (self._journal is None or self._journal.kept())

    async def _answer(self, batch: Sequence[list[bytes]], at: int, replies: list[bytes]) -> None:
        session = self._session
        while True:
            if self._outbox is None and session.subscribed:
                self._begin_outbox()
            # No `await` between the command and here: messages that follow a subscription come after its reply.
            data = b"".join(replies)
            if self._outbox is None:
                await self._out(data)
            else:
                self._outbox.reply(data)
                await self._outbox.room()
            if at == len(batch) or session.closing:
                return
            await trio.lowlevel.checkpoint()  # the others too want to be served
            replies = []
            self._running = replies
            at = execute(session, batch, at, replies)
            self._running = None

    def _begin_outbox(self) -> None:
        settings = self._settings
        counted, kill = self._engine.counted, self._session.kill
        self._outbox = Outbox(settings.outbox, settings.slow, counted, kill, self._note)
        self._nursery.start_soon(self._outbox.send_all, self._out)

    def _deliver(self, data: bytes) -> None:
        """Send a message that it has subscribed to."""
        if self._running is not None:  # its own: between the replies, where redis-server has it
            self._running.append(data)
        elif self._outbox is not None:
            self._outbox.message(data)

    async def _send(self, data: bytes) -> None:
        """Send a last word, after all others. An outbox writes when it likes, so nobody else may beside it."""
        if self._outbox is None:
            await self._out(data)
        else:
            self._outbox.reply(data)  # `run` waits until it is empty

    async def _out(self, data: bytes) -> None:
        """Send bytes, once all that they may speak of is as safe as was promised."""
        if self._journal is not None and not self._journal.kept():
            self._waits(data)
            await self._journal.committed()
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._rest(data, sent)

    def _waits(self, data: bytes) -> None:
        if self._outbox is None:
            self._unsent = len(data)
            self._note()

    async def _rest(self, data: bytes, sent: int) -> None:
        sock = self._sock
        self._waits(data)
        with memoryview(data) as rest:
            while sent < len(data):
                try:
                    await trio.lowlevel.wait_writable(sock)
                    sent += sock.send(rest[sent:])
                except (BlockingIOError, trio.ClosedResourceError):
                    pass  # `drain` wakes all who wait here

    async def _linger(self) -> None:
        """Say that no more comes, and take what does.

        To close upon unread bytes is a RST, which not every client tells from a failure, and which takes with it what a
        client of another kernel than Linux has not yet read of its replies. trivet's HTTP server ends so, too.
        """
        self._sock.shutdown(socket.SHUT_WR)
        left = LINGER_BYTES
        with trio.move_on_after(LINGER):
            while left > 0:
                try:
                    data = self._sock.recv(READ)
                except BlockingIOError:
                    with trio.move_on_after(QUIET) as quiet:
                        await trio.lowlevel.wait_readable(self._sock)
                    if quiet.cancelled_caught:
                        return
                    continue
                if not data:
                    return
                left -= len(data)


def _name(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
