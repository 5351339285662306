"""WebSockets under random handlers and clients: what must hold whatever both do, on both kinds of server.

A seed makes options, dependencies, what a handler does in several tasks, and what its client does meanwhile.
`Simulation.check` has the promises; the client under test adds its own: no rule of ASGI is broken, no error escapes, no
task outlives the WebSocket. `TRIVET_FUZZ_SEEDS=100000` runs more seeds. The order of tasks within a tick is Trio's and
random: a seed that fails once may need a few runs to fail again.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trivet import App, Depends, HTTPError, WebSocket, WebSocketClosed
from trivet.testing import TestClient, TestWebSocket, WebSocketRefused

SEEDS = int(os.environ.get("TRIVET_FUZZ_SEEDS", "160"))
CHUNK = 40

ACTIONS = ["send", "send", "send", "sleep", "stop", "start", "read", "close", "leave", "drain"]

LONGEST = 400
"""Seconds, on a clock that takes none: no seed has anything to do for longer."""


class Simulation:
    """One WebSocket."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        pick = self.random.choice
        self.link = pick([True, True, False])
        self.log: list[str] = []
        self.sent: list[str] = []
        self.received: list[str] = []
        self.arrived: list[str] = []
        self.delivered: list[str] = []
        self.over: list[Any] = []
        self.numbers = iter(range(10_000))
        self.dependencies = pick([0, 0, 1, 2])
        self.app = App(cleanup_grace=pick([0, 1, 5]), drain_timeout=3)
        options: dict[str, Any] = {"on_disconnect": pick(["cancel", "finish"])} if pick([True, False]) else {}
        options["dependencies"] = [Depends(self.dependency(index)) for index in range(self.dependencies)]
        options |= {"idle_timeout": pick([None, None, 3, 30]), "send_timeout": pick([1, 10]), "timeout": pick([2, 20])}
        self.app.websocket("/", **options)(self.handler)

    def dependency(self, index: int) -> Callable[[], Any]:
        """One that takes its time, uses a nursery, and may fail on the way out."""
        before, after, fails = (self.random.choice([0, 0, 1, 9]) for _ in range(3))

        @asynccontextmanager
        async def entered() -> AsyncGenerator[None]:
            await trio.sleep(before)
            async with trio.open_nursery():
                self.log.append(f"> {index}")
                try:
                    yield
                finally:
                    self.log.append(f"< {index}")
                    await trio.sleep(after / 20)
            if fails == 9:
                raise RuntimeError("the commit failed")

        return entered

    async def handler(self, ws: WebSocket) -> None:
        """Do a few things, in up to three tasks."""
        self.log.append("> handler")
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self.random.choice([0, 0, 1, 2])):
                    nursery.start_soon(self.act, ws, False)
                await self.act(ws, True)
                if self.random.random() < 0.7:
                    nursery.cancel_scope.cancel()
        finally:
            self.log.append("< handler")

    async def act(self, ws: WebSocket, receives: bool) -> None:
        actions: list[Callable[[WebSocket], Awaitable[object]]] = [self.send, self.send, self.sleep, self.sleep]
        actions += [self.receive, self.receive, self.receive_a_while, self.iterate] if receives else []
        actions += [self.close] if self.random.random() < 0.3 else []
        actions += [self.fail] if self.random.random() < 0.2 else []
        actions += [self.drained] if self.random.random() < 0.2 else []
        for _ in range(self.random.randrange(8)):
            await self.random.choice(actions)(ws)

    async def send(self, ws: WebSocket) -> None:
        text = f"{next(self.numbers)} " + "x" * self.random.choice([0, 10, 100_000])
        self.sent.append(text)
        await ws.send(text)

    async def sleep(self, ws: WebSocket) -> None:
        await trio.sleep(self.random.choice([0, 0.5, 2, 7]))

    async def receive(self, ws: WebSocket) -> None:
        self.received.append(await ws.receive_text())

    async def receive_a_while(self, ws: WebSocket) -> None:
        with trio.move_on_after(self.random.choice([0, 0.1, 1])):
            self.received.append(await ws.receive_text())

    async def iterate(self, ws: WebSocket) -> None:
        async for message in ws:
            self.received.append(str(message))
        assert ws.close_code is not None

    async def close(self, ws: WebSocket) -> None:
        await ws.close(self.random.choice([1000, 4000]))

    async def fail(self, ws: WebSocket) -> None:
        raise self.random.choice([HTTPError(409), ValueError("a bug"), TimeoutError()])

    async def drained(self, ws: WebSocket) -> None:
        with trio.move_on_after(20):
            await ws.draining.wait()

    # ---- the client

    async def client(self, client: TestClient) -> None:
        try:
            with trio.move_on_after(self.random.choice([1, 30, 30, 30])):
                async with client.websocket("/") as ws:
                    await self.converse(client, ws)
                    if self.random.random() < 0.5:
                        ws.start_reading()
                        await self.read(ws)
                    self.over.append(ws.close_code)
                    return
        except WebSocketRefused as refused:
            self.over.append(refused.status)

    async def converse(self, client: TestClient, ws: TestWebSocket) -> None:
        for _ in range(self.random.randrange(12)):
            action = self.random.choice(ACTIONS)
            if action == "send":
                text = str(next(self.numbers))
                self.arrived.append(text)
                with trio.move_on_after(3):
                    await ws.send(text)
            elif action == "sleep":
                await trio.sleep(self.random.choice([0, 0.5, 2, 7]))
            elif action == "stop":
                ws.stop_reading()
            elif action == "start":
                ws.start_reading()
            elif action == "read":
                ws.start_reading()
                with trio.move_on_after(1):
                    await self.read(ws)
            elif action == "drain" and self.random.random() < 0.3:
                client.drain()
            elif action in ("close", "leave") and self.random.random() < 0.3:
                if action == "leave":
                    ws.leave()
                else:
                    await ws.close(4001)
                return

    async def read(self, ws: TestWebSocket) -> None:
        try:
            while True:
                self.delivered.append(str(await ws.receive()))
        except (WebSocketClosed, trio.ClosedResourceError):
            pass

    # ---- the promises

    async def run(self) -> None:
        async with TestClient(self.app, link=self.link) as client:
            with trio.fail_after(LONGEST):
                await self.client(client)

    def check(self) -> None:
        """What must hold."""
        assert is_subsequence(self.received, self.arrived)
        if self.received:  # nothing is skipped: what is lost was sent after the last that was received
            assert self.received == self.arrived[: len(self.received)]
        assert is_subsequence(sorted(self.delivered), sorted(self.sent))
        opened: list[str] = []
        for kind, name in (entry.split() for entry in self.log):
            if kind == ">":
                opened.append(name)
            else:
                assert opened.pop() == name
        assert opened == []
        for code in self.over:
            assert code in (None, 403, 409, 500, 503, 504, 1000, 1001, 1006, 1008, 1011, 4000, 4001), code


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    remaining = iter(whole)
    return all(each in remaining for each in part)


@pytest.mark.parametrize(("first", "last"), [*pairwise([*range(0, SEEDS, CHUNK), SEEDS])])
def test_the_promises_hold(first: int, last: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a handler, its dependencies and its client do."""
    caplog.set_level(logging.CRITICAL, "trivet")
    for seed in range(first, last):
        simulation = Simulation(seed)
        try:
            trio.run(simulation.run, clock=MockClock(autojump_threshold=0))
            simulation.check()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
