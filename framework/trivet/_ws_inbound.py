"""What comes in for one WebSocket: its messages, in order, and how it was closed.

This file owns what a message is to a handler, and what a close means: behind the messages before it, and latched. Who
reads `receive`, and when, is `Reader`'s (`_inbound`), as for a request; on a server without a `Link` a watcher reads
ahead, so that a close is seen while the handler does not receive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from ._inbound import Reader
from ._ws_close import ABNORMAL, NO_STATUS
from .asgi import Message, Receive

MESSAGE_BYTES: Final = 64
"""What a message counts for beside its content, so that a watcher does not read ahead millions of empty ones."""


class SocketInbound(Reader[list[str | bytes]]):
    """The incoming half of one WebSocket; `gone` is that it was closed, by whichever side."""

    __slots__ = ("code", "reason")

    def __init__(self, receive: Receive, on_disconnect: Callable[[], object]) -> None:
        # A list: there is one for each WebSocket, mostly empty, and an empty deque takes ten times as much.
        super().__init__(receive, on_disconnect, [])
        self.code = ABNORMAL
        """What it was closed with, once it is gone, or the server has told."""
        self.reason = ""

    async def connect(self) -> None:
        """Take the handshake, the first message of all."""
        await self._take()

    async def read(self) -> str | bytes | None:
        """The next message; `None`: there is none any more.

        Raises:
            trio.BusyResourceError: another task is receiving.

        Cancellation: nothing is lost; the next call goes on where this one was.
        """
        if self._busy:
            raise trio.BusyResourceError(
                "another task is receiving from this WebSocket.\n"
                "Receive in one, and hand on what comes:  async for message in ws: await send_channel.send(message)"
            )
        self._busy = True
        try:
            if self._slot:
                await trio.lowlevel.checkpoint()  # else a loop that reads what was read ahead would stop for nobody
            while not self._slot:
                if self.gone:
                    await trio.lowlevel.checkpoint()
                    return None
                await (self._wait() if self._watched else self._take())
            message = self._slot.pop(0)
            self._buffered -= MESSAGE_BYTES + len(message)
            self._notify()
            return message
        finally:
            self._busy = False

    def told(self, end: tuple[int, str] | None) -> None:
        """The server has said how it was closed. Messages may still lie before that."""
        if end is not None and not self.gone:
            self.code, self.reason = end

    async def find_end(self) -> None:
        """Read ahead to the close, which the server has said is there; unless somebody else is reading."""
        while not self.gone and not self._watched and not self._reading:
            await self._take()

    def _accept(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.disconnect":
            self.code = message.get("code") or NO_STATUS
            self.reason = message.get("reason") or ""
            self.gone = True
            self._on_disconnect()
        elif kind == "websocket.receive" and not self._discarding:
            text: str | None = message.get("text")
            data: str | bytes = message["bytes"] if text is None else text
            self._slot.append(data)
            self._buffered += MESSAGE_BYTES + len(data)
        self._notify()
