"""L13: some clients of a room stop reading, which costs bounded memory and nobody's latency; the drain closes all."""

from __future__ import annotations

import signal
import time
from statistics import median
from typing import Final, get_args

import trio

from trivet.contrib.broadcast import Slow

from ._client import Connection, Gone, connect, open_many
from ._figures import Figure, Report, Scenario, Setting, at_most, exactly, told
from ._server import Server, serving
from .l10_websockets import shake_hands

APP: Final = "benchmarks.load.room:app"
MESSAGE: Final = b"x" * 32_768
FRAME: Final = b"\x81\x7e\x80\x00" + MESSAGE
MESSAGES: Final = 200
"""Enough to fill the kernel's buffers of a client that does not read, and all that waits behind them."""

MIB_EACH: Final = 0.5
LATENCY: Final = 0.5
DRAIN: Final = 2.0
SLACK: Final = 1.0
SAID: Final = b"POST /room/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"


async def run(setting: Setting, report: Report) -> None:
    """One policy after the other, with stalled clients as many as the size, and ten that read; then the drain."""
    async with serving(setting, "--drain-timeout", str(DRAIN), app=APP) as server:
        for policy in get_args(Slow):
            await _stalled(server, policy, setting.size, report)
        await _drained(server, setting.size, report)


async def _stalled(server: Server, policy: str, size: int, report: Report) -> None:
    path = b"/room/" + policy.encode()

    async def greet(connection: Connection) -> None:
        await shake_hands(connection, path)

    before = server.memory()
    stalled = await open_many(size, server.port, greet, receive_buffer=4096)
    readers = await open_many(10, server.port, greet)
    speaker = await connect(server.port)
    await speaker.send(SAID % (b"nobody", 0, b""))
    already = int((await speaker.answer()).body)
    times: list[float] = []
    wrong = dropped = 0
    for _ in range(MESSAGES):
        await speaker.send(SAID % (policy.encode(), len(MESSAGE), MESSAGE))
        began = time.monotonic()
        with trio.fail_after(30):
            for reader in readers:
                try:
                    frame = await reader.at_least(len(FRAME))
                    wrong += frame != FRAME
                except Gone:
                    wrong += 1
            times.append(time.monotonic() - began)
            dropped = int((await speaker.answer()).body) - already
    grown = server.memory() - before
    report(exactly(f"{policy}: messages that readers did not get", wrong))
    report(Figure(f"{policy}: messages that the others did not get", dropped, least=size, counted=True))
    report(told(f"{policy}: until the readers have a message, median", median(times) * 1000, "ms"))
    report(at_most(f"{policy}: the slowest", max(times), LATENCY, "s"))
    report(at_most(f"{policy}: memory per stalled client", grown / size / 2**20, MIB_EACH, "MiB"))
    for connection in (*stalled, *readers, speaker):
        connection.close()
    _, stats = await server.quiet(within=10)
    report(exactly(f"{policy}: live handlers after all have left", stats.live))


async def _drained(server: Server, size: int, report: Report) -> None:
    async def greet(connection: Connection) -> None:
        await shake_hands(connection, b"/room/disconnect")

    listeners = await open_many(size, server.port, greet)
    server.signal(signal.SIGTERM)
    began = time.monotonic()
    told_so = 0

    async def see(connection: Connection) -> None:
        nonlocal told_so
        frame = await connection.at_least(4)
        told_so += frame[2:4] == (1001).to_bytes(2, "big")
        await connection.send(b"\x88\x82\0\0\0\0\x03\xe9")
        await connection.ended()
        connection.close()

    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(see, listener)
        code = await server.ended()
        took = time.monotonic() - began
        nursery.cancel_scope.deadline = trio.current_time() + 5
    report(exactly("drain: clients told 1001", told_so, size))
    report(exactly("drain: exit code", -1 if code is None else code))
    report(at_most("drain: until the exit", took, DRAIN + SLACK, "s"))


SCENARIO = Scenario("L13", "a room in which some do not read", 200, 10, run)
