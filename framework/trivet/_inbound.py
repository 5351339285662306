"""What comes in for one request: this is the only module that calls `receive` for it.

Two parties want to know what `receive` says: the handler (the body) and the request's scope (the client left). Two
readers of one `receive` steal from each other, so there is one reader at any time, and this file owns which:

- At first whoever asks for the body reads it *directly*; a body that is not asked for is not read.
- Once `watch` runs (the disconnect sweep starts it, for a request that takes long on a server that cannot tell us by a
  `Link`), it is the only reader, for good, and hands body messages over through a bounded *slot*.
- Once the response is decided, `discard` throws away what is left of an upload nobody wants, so that the client, which
  may write its whole request before it reads, gets to see the answer.

Under hypercorn three traps are behind this shape: its queue holds ten messages and an eleventh blocks its reader *and*
its own final `send`; `http.disconnect` comes behind unread body; and it also comes, once, after a normal response.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

import trio

from ._logline import Entry
from .asgi import Message, Receive
from .errors import ClientDisconnected, InvalidInput

SLOT_BYTES: Final = 65536
"""What a watcher reads ahead of the handler, at most one message over: as much as hypercorn reads from a socket at a
time, so a disconnect behind a body smaller than that is seen."""


class Slot(Protocol):
    """What was read ahead, of whatever kind."""

    def clear(self) -> object:
        """Throw it away."""
        ...


S = TypeVar("S", bound=Slot)


class Reader(Generic[S]):
    """The one reader of a `receive`: whoever asks, directly, until `watch` runs; then that, for good.

    Args:
        receive: ASGI's.
        on_disconnect: called once, synchronously, when `receive` says that the client left.
        slot: for what is read ahead; `_accept` fills it, and counts its bytes in `_buffered`.
    """

    __slots__ = (
        "_buffered", "_busy", "_changed", "_discarding", "_on_disconnect", "_reading", "_receive", "_slot", "_watched",
        "gone",
    )  # fmt: skip

    def __init__(self, receive: Receive, on_disconnect: Callable[[], object], slot: S) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        # The client left. Latched: hypercorn says it once, and the next `receive` blocks for ever.
        self.gone = False
        # Somebody is in `read`.
        self._busy = False
        # A direct read is under way; the watcher stays out until it is over.
        self._reading = False
        # `watch` is the reader.
        self._watched = False
        # Set and replaced whenever something that a party may wait for has changed; None while nobody waits.
        self._changed: trio.Event | None = None
        self._slot = slot
        self._buffered = 0
        self._discarding = False

    @property
    def complete(self) -> bool:
        """Whether all has been taken from the server (and nothing is left to discard)."""
        return self.gone

    async def watch(self) -> None:
        """Be the only reader until the client leaves: read ahead as far as the slot holds, latch the disconnect.

        Cancellation: stops watching; a message already taken stays in the slot.
        """
        while self._reading:  # a direct read sees the disconnect as well as we would
            await self._wait()
        self._watched = True
        while not self.gone:
            while self._full():
                await self._wait()
            await self._take()

    async def _take(self) -> None:
        """Take one message from `receive`."""
        self._reading = True
        try:
            message = await self._receive()
        finally:
            self._reading = False
            self._notify()
        self._accept(message)

    async def discard(self) -> None:
        """Throw away what still comes; return when it is complete."""
        self._discarding = True
        self._slot.clear()
        self._buffered = 0
        self._notify()
        while not self.complete:
            await (self._wait() if self._watched or self._reading else self._take())

    def _full(self) -> bool:
        """Whether the slot holds as much as a watcher may read ahead."""
        return self._buffered > SLOT_BYTES and not self._discarding

    def _accept(self, message: Message) -> None:
        """What becomes of a message."""
        raise NotImplementedError

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _wait(self) -> None:
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()


class Inbound(Reader[deque[bytes]]):
    """The incoming half of one request."""

    __slots__ = ("_complete", "_max_body", "_received", "interrupted")

    def __init__(self, receive: Receive, max_body: int | None, on_disconnect: Callable[[], object]) -> None:
        super().__init__(receive, on_disconnect, deque())
        self._max_body = max_body
        # Bytes of body handed to the handler.
        self._received = 0
        # The last body message has been taken from `receive`. Nothing but a disconnect follows.
        self._complete = False
        # When a read was cancelled last, on Trio's clock. If that was at the request's deadline, the answer is 408 and
        # not 503; if it was earlier, the handler had its own reason (`move_on_after` around a read).
        self.interrupted = -math.inf

    @property
    def complete(self) -> bool:
        """Whether the whole body has been taken from the server (and nothing is left to discard)."""
        return self._complete or self.gone

    @property
    def untouched(self) -> bool:
        """Whether nothing of the body has been handed out yet."""
        return not self._received and not self._complete

    @property
    def begun(self) -> bool:
        """Whether some of the body has been handed out."""
        return self._received > 0

    async def read(self) -> bytes | None:
        """The next part of the body, `None` at its end.

        Raises:
            ClientDisconnected: the client left before the end.
            InvalidInput: 413, the body is longer than `max_body`.
            trio.BusyResourceError: another task is reading.

        Cancellation: nothing is lost; the next call goes on where this one was.
        """
        await self._ready()
        if not self._slot:
            return None
        chunk = self._slot.popleft()
        self._buffered -= len(chunk)
        self._notify()
        self._received += len(chunk)
        if self._max_body is not None and self._received > self._max_body:
            raise too_large(self._max_body)
        return chunk

    async def peek(self) -> bool:
        """Whether there is more of the body: waits for it, and leaves it to `read`, whose errors are this one's too."""
        await self._ready()
        return bool(self._slot)

    async def _ready(self) -> None:
        """Wait until there is something to hand out, or the body has ended."""
        if self._busy:
            # As Trio's streams do; else each has a part, and one waits for a message that never comes.
            raise trio.BusyResourceError(
                "another task is reading the body of this request.\n"
                "Read it in one, and hand on what that gives:  body = await request.body()"
            )
        self._busy = True
        try:
            while not (self._slot or self._complete):
                if self.gone:
                    raise ClientDisconnected("the client left before the end of its request body")
                await (self._wait() if self._watched else self._take())
        except trio.Cancelled:
            self.interrupted = trio.current_time()
            raise
        finally:
            self._busy = False

    async def wait_complete(self) -> None:
        """Return when the whole body has been taken, by whoever reads, or the client has left."""
        while not self.complete:
            await self._wait()

    def _accept(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            # After the whole body this may be the end of a normal response; the scope knows whether it still cares.
            self.gone = True
            self._on_disconnect()
        elif not self._complete:
            body: bytes = message.get("body", b"")
            if body and not self._discarding:
                self._slot.append(body)
                self._buffered += len(body)
            self._complete = not message.get("more_body", False)
        self._notify()


def too_large(max_body: int) -> InvalidInput:
    """413, with the limit: the client can do something with it."""
    return InvalidInput(413, f"the body is larger than {max_body} bytes")


def noted_receive(receive: Receive, entry: Entry) -> Receive:
    """`receive`, with a note of a client that has left: only for a request that is logged."""

    async def noted() -> Message:
        message = await receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            entry.left = True
        return message

    return noted
