"""A WebSocket client for tests: frames by hand, so that it can say what no library would, and sees what really came.

This file owns how a test speaks WebSocket to a `_http1.Site`. It shares no code with the server.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.live._http1 import RST, Site, Wire

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Both from RFC 6455 section 1.3."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Frame(NamedTuple):
    """One frame of the server's."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0


def handshake(*fields: bytes, path: bytes = b"/", version: bytes = b"13", key: bytes = KEY) -> bytes:
    """A request that opens a WebSocket."""
    lines = [b"GET " + path + b" HTTP/1.1", b"Host: x", b"Connection: Upgrade", b"Upgrade: websocket"]
    lines += [b"Sec-WebSocket-Version: " + version, b"Sec-WebSocket-Key: " + key, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


MASK = bytes.fromhex("37fa213d")  # as in the examples of RFC 6455 section 5.7


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = MASK) -> bytes:
    """A frame of the client's."""
    size = len(payload)
    first = fin << 7 | rsv << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, 128 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 128 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 128 | 127, size)
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + mask + masked


def text(payload: str, *, fin: bool = True) -> bytes:
    return frame(TEXT, payload.encode(), fin=fin)


def close(code: int | None = 1000, reason: str = "") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class Peer:
    """A client whose handshake has been answered; `head` is the answer."""

    def __init__(self, wire: Wire, head: bytes) -> None:
        self.wire = wire
        self.head = head
        self._held = bytearray(wire.held)
        wire.held = b""
        self._said_goodbye = False

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        return bytes(self._held) + await self.wire.rest()

    def field(self, name: bytes) -> bytes | None:
        """A field of the answer."""
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:]]
        return next((value for key, _, value in lines if key.lower() == name), None)

    async def send(self, *parts: bytes) -> None:
        """Send all at once."""
        self._said_goodbye |= any(part[:1] == b"\x88" for part in parts)
        await self.wire.send(b"".join(parts))

    async def next(self) -> Frame | None:
        """The next frame; None at the end of the stream.

        Raises:
            AssertionError: the end came with RST, or in the middle of a frame.
        """
        while True:
            found = self._take()
            if found is not None:
                return found
            data = await self.wire.some()
            assert data != RST, self._held[:100]
            if not data:
                assert not self._held, self._held[:100]
                return None
            self._held += data

    def _take(self) -> Frame | None:
        data = self._held
        if len(data) < 2:
            return None
        assert data[1] < 128, "a server does not mask"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
            assert size > 125 or len(data) < 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
            assert size > 65_535 or len(data) < 10
        if len(data) < start + size:
            return None
        found = Frame(data[0] & 15, bytes(data[start : start + size]), data[0] > 127, data[0] >> 4 & 7)
        del data[: start + size]
        return found

    async def closed(self) -> tuple[int, str]:
        """What the server closes with, answered as a client does; then the end of the stream."""
        found = await self.next()
        assert found is not None, "no close frame"
        assert found.opcode == CLOSE, found
        if not self._said_goodbye:
            await self.send(frame(CLOSE, found.payload[:2]))
        assert await self.next() is None
        if not found.payload:
            return 1005, ""
        return int.from_bytes(found.payload[:2], "big"), found.payload[2:].decode()


@asynccontextmanager
async def opened(served: Site, *fields: bytes, path: bytes = b"/", **kwargs: Any) -> AsyncGenerator[Peer]:
    """A WebSocket, open unless it was refused: see `status`."""
    async with served.connect(**kwargs) as wire:
        await wire.send(handshake(*fields, path=path))
        yield Peer(wire, await wire.until(b"\r\n\r\n"))


# Applications -------------------------------------------------------------------------------------------------------


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and send back what comes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})


class Recorder:
    """Accepts, and records what it receives until the end, and what the link says."""

    def __init__(self, *, attached: bool = True) -> None:
        self.messages: list[Any] = []
        self.reasons: list[str] = []
        self.scope: Any = None
        self._attached = attached

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = {key: value for key, value in scope.items() if key != "extensions"}
        if self._attached:
            scope["extensions"]["trivet"].attach(self.reasons.append)
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.disconnect":
                break

    @property
    def said(self) -> list[Any]:
        """The messages, less the end."""
        return [each["text"] if each["bytes"] is None else each["bytes"] for each in self.messages[:-1]]

    @property
    def end(self) -> tuple[int, str]:
        assert self.messages[-1]["type"] == "websocket.disconnect"
        return self.messages[-1]["code"], self.messages[-1]["reason"]
