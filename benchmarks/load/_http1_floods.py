"""Floods over HTTP/1.1, as clients: each takes whom to flood, and how many of its kind to send."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import trio

from tests.live._attack import mutations

from ._client import Connection, Gone, connect, get


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to flood.

    Attributes:
        port: of the server.
        patience: seconds that a client holds on: longer than the server's `send_timeout`.
    """

    port: int
    patience: float


POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


async def many(count: int, target: Target, each: Callable[[Connection], Awaitable[object]], at_once: int = 100) -> None:
    """`count` connections, some at the same time; each is closed when `each` returns or the server is gone."""
    numbers = iter(range(count))

    async def some() -> None:
        for _ in numbers:
            try:
                connection = await connect(target.port)
            except OSError:
                continue
            try:
                await each(connection)
            except (OSError, Gone):
                pass  # turned away, as it should be
            finally:
                connection.close()

    async with trio.open_nursery() as nursery:
        for _ in range(min(at_once, count)):
            nursery.start_soon(some)


async def random_bytes(target: Target, count: int) -> None:
    """64 to 4096 random bytes, requests with one byte replaced, in turn, or some; half of them look at the answer."""
    inputs = _malformed(count)

    async def one(connection: Connection) -> None:
        data = next(inputs)
        await connection.send(data)
        if len(data) % 2:
            with trio.move_on_after(0.02):
                await connection.receive(4096)

    await many(count, target, one)


def _malformed(count: int) -> Iterator[bytes]:
    rng = random.Random(20261120)
    valid = get("/", "Accept: */*", "Connection: close")
    yield from mutations(seed=20261120, count=count // 2)
    for number in range(count - count // 2):
        if number % 2:
            yield rng.randbytes(rng.randint(64, 4096))
        else:
            at = number // 2 % len(valid)
            yield valid[:at] + rng.randbytes(1) + valid[at + 1 :]


async def silent(target: Target, count: int) -> None:
    """Connections that say nothing until they are closed, or its patience ends."""

    async def one(connection: Connection) -> None:
        with trio.move_on_after(target.patience):
            await connection.ended()

    await many(count, target, one, at_once=count)


async def one_byte_chunks(target: Target, count: int) -> None:
    """A body in chunks of one byte."""

    async def one(connection: Connection) -> None:
        await connection.send(POST % (b"/upload", CHUNKED) + b"1\r\na\r\n" * count + b"0\r\n\r\n")
        answer = await connection.answer()
        if (answer.status, answer.body) != (200, str(count).encode()):
            raise RuntimeError(f"one-byte chunks were answered with {answer.status} {answer.body!r}")

    await many(1, target, one)


async def pipelined(target: Target, count: int) -> None:
    """Requests sent without waiting for answers, which are read. The server may end it early; then no answer is cut."""

    async def one(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, connection, get("/") * count)
            for _ in range(count):
                if (await connection.answer()).closes:
                    break
            nursery.cancel_scope.cancel()

    await many(1, target, one)


async def pipelined_unread(target: Target, count: int) -> None:
    """The same, and the answers are not read."""

    async def one(connection: Connection) -> None:
        with trio.move_on_after(3):
            await connection.send(get("/") * count)
            await trio.sleep_forever()

    await many(1, target, one)


async def long_heads(target: Target, count: int) -> None:
    """Three thousand fields, 64 KiB, at once."""
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-a: 0123456789abcd\r\n" * 3000 + b"\r\n"
    await many(count, target, _sender(head))


async def endless_heads(target: Target, count: int) -> None:
    """Field after field until the server has enough of it."""

    async def one(connection: Connection) -> None:
        await connection.send(get("/")[:-2])
        with trio.move_on_after(target.patience):
            while True:
                await connection.send(b"X-a: 0123456789abcd\r\n" * 50)
                await trio.sleep(0.01)

    await many(count, target, one)


async def long_targets(target: Target, count: int) -> None:
    """Targets of 65,000 bytes."""
    await many(count, target, _sender(get("/" + "a" * 65_000)))


async def chunk_extensions(target: Target, count: int) -> None:
    """Chunks with an extension of 20,000 bytes."""
    await many(count, target, _sender(POST % (b"/upload", CHUNKED) + b"1;" + b"a" * 20_000 + b"\r\na\r\n0\r\n\r\n"))


async def refused_uploads(target: Target, count: int) -> None:
    """Uploads of 3 MB to a handler that answers without reading."""
    await many(count, target, _sender(POST % (b"/refuse", b"Content-Length: 3000000") + b"a" * 3_000_000))


async def aborted_uploads(target: Target, count: int) -> None:
    """Uploads that end in the middle, with RST."""

    async def one(connection: Connection) -> None:
        await connection.send(POST % (b"/upload", b"Content-Length: 1000000") + b"a" * 500_000)
        connection.reset()

    await many(count, target, one)


async def aborted_downloads(target: Target, count: int) -> None:
    """Downloads of which the first bytes are read, then RST."""

    async def one(connection: Connection) -> None:
        await connection.send(get("/big/100"))
        await connection.receive(4096)
        connection.reset()

    await many(count, target, one)


def _sender(data: bytes) -> Callable[[Connection], Awaitable[object]]:
    async def one(connection: Connection) -> None:
        await connection.send(data)
        with trio.move_on_after(5):
            await connection.answer()

    return one


async def _send(connection: Connection, data: bytes) -> None:
    try:
        await connection.send(data)
    except OSError:
        pass  # the reader sees the end, too
