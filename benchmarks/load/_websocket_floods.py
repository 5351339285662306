"""Floods over WebSockets, in frames made by hand."""

from __future__ import annotations

import zlib

import trio

from ._client import Connection
from ._figures import MEBIBYTE
from ._http1_floods import Target, many
from .l10_websockets import shake_hands

TEXT, CONTINUED, BINARY, PING = 1, 0, 2, 9
FIN, COMPRESSED = 0x80, 0x40


def frame(opcode: int, payload: bytes, flags: int = FIN) -> bytes:
    """One frame (RFC 6455, 5.2), masked with zeros."""
    first = bytes((flags | opcode,))
    if len(payload) < 126:
        length = bytes((0x80 | len(payload),))
    elif len(payload) < 65_536:
        length = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        length = b"\xff" + len(payload).to_bytes(8, "big")
    return first + length + bytes(4) + payload


async def large_message(target: Target, count: int) -> None:
    """A message of 17 MiB, where 16 are allowed."""

    async def one(connection: Connection) -> None:
        await shake_hands(connection)
        await _pour(connection, frame(BINARY, bytes(17 * MEBIBYTE)))

    await many(count, target, one)


async def endless_message(target: Target, count: int) -> None:
    """Fragment after fragment, 64 MiB."""

    async def one(connection: Connection) -> None:
        await shake_hands(connection)
        await connection.send(frame(BINARY, b"a", flags=0))
        fragment = frame(CONTINUED, bytes(65_536), flags=0)
        for _ in range(1024):
            await _pour(connection, fragment)

    await many(count, target, one)


async def compressed_bomb(target: Target, count: int) -> None:
    """512 MiB of zeros in half a megabyte, if the server agrees to permessage-deflate."""
    bomb = await trio.to_thread.run_sync(_deflated, 512)

    async def one(connection: Connection) -> None:
        head = await shake_hands(connection, fields=b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
        if b"permessage-deflate" in head.lower():
            await _pour(connection, frame(BINARY, bomb, FIN | COMPRESSED))
            with trio.move_on_after(10):
                await connection.ended()

    await many(count, target, one)


async def pings_unread(target: Target, count: int) -> None:
    """Pings whose answers are not read."""

    async def one(connection: Connection) -> None:
        await shake_hands(connection)
        await _pour(connection, frame(PING, bytes(100)) * count)

    await many(1, target, one)


async def unread_echoes(target: Target, count: int) -> None:
    """Messages whose echoes are not read."""

    async def one(connection: Connection) -> None:
        await shake_hands(connection)
        await _pour(connection, frame(BINARY, bytes(1024)) * count)

    await many(1, target, one)


async def unread_pushes(target: Target, count: int) -> None:
    """Consumers that do not read what the handler sends for ever."""

    async def one(connection: Connection) -> None:
        await shake_hands(connection, b"/push")
        await trio.sleep(target.patience)

    await many(count, target, one, at_once=count)


async def slow_handler(target: Target, count: int) -> None:
    """More messages than the handler can take."""

    async def one(connection: Connection) -> None:
        await shake_hands(connection, b"/slow")
        await _pour(connection, frame(TEXT, b"a" * 1024) * count)

    await many(1, target, one)


async def _pour(connection: Connection, data: bytes, within: float = 3.0) -> None:
    """Send it, or as much of it as the server takes in time."""
    with trio.move_on_after(within):
        await connection.send(data)


def _deflated(mebibytes: int) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    zeros = bytes(MEBIBYTE)
    parts = [compressor.compress(zeros) for _ in range(mebibytes)]
    return b"".join([*parts, compressor.flush(zlib.Z_SYNC_FLUSH)])[:-4]
