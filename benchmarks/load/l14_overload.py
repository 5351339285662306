"""L14: ten times as many requests as can be answered. What can be is, in time; all others have their 503 at once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final, NamedTuple

import msgspec
import trio

from ._client import ask, connect, get
from ._figures import Figure, Report, Scenario, Setting, at_most, exactly, told
from ._server import serving
from .overload import CONNECTIONS, QUERY

APP: Final = "benchmarks.load.overload:app"
CAPACITY: Final = CONNECTIONS / QUERY
OVERLOAD: Final = 10
WARM_UP: Final = 1.0
SECONDS: Final = 4.0
GOODPUT: Final = 90.0
ADMITTED: Final = 2 * 2 * QUERY * 1000
"""Milliseconds: twice what the last in the queue waits and takes."""
AT_ONCE: Final = 100.0
"""Milliseconds: of a client that shares two cores with the server."""


class Counts(msgspec.Struct):
    """What the server's limit says."""

    running: int
    waiting: int
    shed: int


class Got(NamedTuple):
    """What a request got: a status, when it was there, after how many seconds, and whether with `Retry-After`."""

    status: int
    ended: float
    took: float
    told_when: bool


@dataclass(slots=True)
class Load:
    """Clients on connections that they keep, and what each of their requests got.

    Attributes:
        port: of the server.
        path: they ask for.
        every: seconds from one request of a client to its next, unless the answer takes longer.
        since: from when on it counts, by `time.monotonic`: all are connected, and the queue is full.
        until: when they stop.
        all: the account of all requests.
    """

    port: int
    path: str
    every: float
    since: float
    until: float
    all: list[Got] = field(default_factory=list[Got])

    async def client(self, after: float) -> None:
        """One of them, which begins a little later than the one before."""
        connection = await connect(self.port)
        due = trio.current_time() + after
        try:
            while True:
                await trio.sleep_until(due)
                began = time.monotonic()
                if began >= self.until:
                    return
                await connection.send(get(self.path))
                answer = await connection.answer()
                ended = time.monotonic()
                self.all.append(Got(answer.status, ended, ended - began, b"retry-after" in answer.fields))
                due = max(due + self.every, trio.current_time())
        finally:
            connection.close()

    def rate(self, *statuses: int) -> float:
        """How many were answered so in a second."""
        return len(self._times(*statuses)) / (self.until - self.since)

    def p99(self, status: int) -> float:
        """Milliseconds within which 99 of 100 with this status were answered."""
        times = self._times(status)
        return quantiles(times, n=100)[-1] * 1000 if len(times) > 1 else math.nan

    def _times(self, *statuses: int) -> list[float]:
        return [got.took for got in self.all if got.status in statuses and self.since <= got.ended < self.until]


async def load(port: int, path: str, clients: int, rate: float, haste: float) -> Load:
    """Ask for a while; infinite rate: each client again as soon as it has its answer."""
    every = clients / rate
    since = time.monotonic() + WARM_UP / haste
    made = Load(port, path, every, since, since + SECONDS / haste)
    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(made.client, every * number / clients)
    return made


async def run(setting: Setting, report: Report) -> None:
    """As many clients as it can bear, then ten times as many requests; and the same without a limit, to compare."""
    async with serving(setting, app=APP) as server:
        peak = await load(server.port, "/", 2 * CONNECTIONS, math.inf, setting.haste)
        over = await load(server.port, "/", setting.size, OVERLOAD * CAPACITY, setting.haste)
        counts = msgspec.json.decode((await ask(server.port, "/counts")).body, type=Counts)
        bare = await load(server.port, "/unlimited", setting.size, OVERLOAD * CAPACITY, setting.haste)
    turned_away = [got for got in (*peak.all, *over.all) if got.status == 503]
    others = [got for got in over.all if got.status not in (200, 503)]
    share, bare_share = (100 * each.rate(200) / max(1, peak.rate(200)) for each in (over, bare))
    report(Figure("requests that were turned away", len(turned_away), least=1, counted=True))
    report(exactly("of which the limit has not counted", len(turned_away) - counts.shed))
    report(exactly("without Retry-After", sum(not got.told_when for got in turned_away)))
    report(exactly("answers that are neither 200 nor 503", len(others)))
    report(exactly("places that are still taken", counts.running + counts.waiting))
    report(told("at the peak: 200 in a second", peak.rate(200)))
    report(told("overload: requests in a second", over.rate(200, 503)))
    report(Figure("overload: 200 in a second, of the peak", share, "%", least=GOODPUT))
    report(at_most("overload: p99 of those", over.p99(200), ADMITTED, "ms"))
    report(at_most("overload: p99 of the 503", over.p99(503), AT_ONCE, "ms"))
    report(told("without a limit: 200 in a second, of the peak", bare_share, "%"))
    report(told("without a limit: p99 of those", bare.p99(200), "ms"))


SCENARIO = Scenario("L14", "ten times as many requests as it can answer", 400, 60, run)
