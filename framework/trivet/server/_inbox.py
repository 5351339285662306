"""What an application's `receive` returns: the messages of one request, in order, and an end that is never lost.

This file owns the queue between a connection's reader and the application. hypercorn uses a bounded memory channel,
which has two ways to hang: the notice of disconnect is appended behind unread messages, so on a full queue the
application blocks in its own final `send`; and the notice comes once, so a second `receive` waits for ever. Here the
end is a state, not a message: setting it never blocks, and every `receive` after it sees it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

import trio

from trivet.asgi import Message

HIGH_WATER = 65_536
"""Bytes of unread body at which an HTTP/1.1 reader stops reading, so that TCP pushes back. One read of the socket."""


class Inbox:
    """Messages for one application task. Fed synchronously by the reader; `room` is where the reader waits."""

    __slots__ = ("_arrived", "_end", "_end_seen", "_freed")

    def __init__(self) -> None:
        self._arrived: trio.Event | None = None  # exists while somebody waits in `receive`
        self._freed: trio.Event | None = None  # exists while the reader waits in `room`
        self._end: Message | None = None
        self._end_seen = False

    @property
    def waiting(self) -> bool:
        """Whether somebody waits in `receive`."""
        return self._arrived is not None

    @property
    def lacking(self) -> bool:
        """Whether `receive` would wait."""
        return self._end is None and self._empty()

    @property
    def full(self) -> bool:
        """Whether the reader should wait before it reads on."""
        raise NotImplementedError

    def _take(self) -> Message | None:
        """The next message, if there is one."""
        raise NotImplementedError

    def end(self, message: Message) -> None:
        """Let `receive` return `message` once what is queued has been read, then again each time. Never blocks.

        A body's queue lets it out of turn, once, to a task that is cancelled already.
        """
        if self._end is None:
            self._end = message
            self._wake()
            self._free()

    async def room(self) -> None:
        """Return when the application has read enough, or will not read any more."""
        while self.full and self._end is None:
            self._freed = trio.Event()
            await self._freed.wait()

    async def receive(self) -> Message:
        """The `receive` of ASGI. A checkpoint; cancelled in it, no message is lost."""
        while True:
            if self._end is not None and not self._end_seen and (self._empty() or self._is_glance()):
                # The first notice gets through even to a task whose scope is already cancelled: Starlette's
                # `is_disconnected` asks in just that way (pgjones/hypercorn#210). Later ones are plain checkpoints,
                # so that a loop that ignores them can still be cancelled.
                self._end_seen = True
                await trio.lowlevel.cancel_shielded_checkpoint()
                return self._end
            await trio.lowlevel.checkpoint_if_cancelled()
            message = self._take()
            if message is not None:
                self._free()
                await trio.lowlevel.cancel_shielded_checkpoint()
                return message
            if self._end is not None:
                await trio.lowlevel.checkpoint()
                return self._end
            await self._wait()

    def _empty(self) -> bool:
        raise NotImplementedError

    def _is_glance(self) -> bool:
        """Whether the task that receives may be told of the end before what is unread, which stays where it is."""
        return False

    async def _wait(self) -> None:
        if self._arrived is None:
            self._arrived = trio.Event()
        await self._arrived.wait()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def _free(self) -> None:
        if self._freed is not None and (self._end is not None or not self.full):
            self._freed.set()
            self._freed = None


class BodyInbox(Inbox):
    """The body of one HTTP request. What has arrived since the last `receive` comes as one message."""

    __slots__ = (
        "_chunks", "_complete", "_complete_taken", "_given_up", "_size", "_untold", "before_wait", "given_up", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[bytes] = []
        self._size = 0
        self._untold = 0  # bytes that were taken, and of which `taken` is still to be told
        self._given_up = False  # `given_up` was told of what is left
        self._complete = False
        self._complete_taken = False
        self.before_wait: Callable[[], Awaitable[None]] | None = None
        """Awaited once, when the application first waits for the body: the moment to answer `100-continue`."""
        self.taken: Callable[[int], Awaitable[None]] | None = None
        """Awaited with the number of bytes each time the application has read some: HTTP/2's window opens then."""
        self.given_up: Callable[[int], object] | None = None
        """Called with the number of bytes that it has not read by the end: else the window that all streams of the
        connection share would stay closed by so many, for ever."""

    def end(self, message: Message) -> None:
        """See `Inbox.end`."""
        super().end(message)
        if self.given_up is not None:
            self._given_up = True
            if self._size:
                self.given_up(self._size)
            self.given_up = None

    @property
    def full(self) -> bool:
        """See `Inbox.full`."""
        return self._size >= HIGH_WATER

    def feed(self, data: bytes) -> None:
        """A part of the body arrived. Dropped if the application cannot read it any more."""
        if self._end is None and data:
            self._chunks.append(data)
            self._size += len(data)
            self._wake()

    def complete(self) -> None:
        """The body is whole. Not if some of it was dropped: then it never will be."""
        if self._end is None:
            self._complete = True
            self._wake()

    async def receive(self) -> Message:
        """See `Inbox.receive`."""
        if self.before_wait is not None and self._empty() and self._end is None:
            before_wait, self.before_wait = self.before_wait, None
            await before_wait()
        message = await super().receive()
        if self._untold:
            read, self._untold = self._untold, 0
            if self.taken is not None:
                await self.taken(read)
        return message

    def _empty(self) -> bool:
        return not self._chunks and (not self._complete or self._complete_taken)

    def _is_glance(self) -> bool:
        # A cancelled task could not take a part of the body anyway. uvicorn answers it in the same way. Not for a
        # WebSocket: what its client has said before it left must be heard by whoever believes that it has left.
        return trio.current_effective_deadline() == -inf

    def _take(self) -> Message | None:
        if self._empty():
            return None
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        self._untold = 0 if self._given_up else self._size
        self._size = 0
        self._complete_taken = self._complete
        return {"type": "http.request", "body": body, "more_body": not self._complete}


class MessageInbox(Inbox):
    """The messages of one WebSocket.

    Args:
        limit: how many unread messages make the reader wait.
    """

    __slots__ = ("_limit", "_messages", "owed", "taken")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._messages: deque[Message] = deque()
        self._limit = limit
        self.owed = 0
        """Bytes that came while it was full. HTTP/2's reader does not wait: the window stays closed by so many."""
        self.taken: Callable[[int], object] | None = None
        """Called with these when there is room again, or nobody will read any more."""

    @property
    def full(self) -> bool:
        """See `Inbox.full`."""
        return len(self._messages) >= self._limit

    def feed(self, message: Message) -> None:
        """A message arrived. Dropped if the application cannot read it any more."""
        if self._end is None:
            self._messages.append(message)
            self._wake()

    def end(self, message: Message) -> None:
        """See `Inbox.end`."""
        super().end(message)
        self._open()

    def _empty(self) -> bool:
        return not self._messages

    def _take(self) -> Message | None:
        if not self._messages:
            return None
        message = self._messages.popleft()
        if not self.full:
            self._open()
        return message

    def _open(self) -> None:
        if self.owed and self.taken is not None:
            owed, self.owed = self.owed, 0
            self.taken(owed)
