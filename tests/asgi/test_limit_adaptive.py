"""An adaptive limit in front of something that bears so much and no more: what it finds, from wherever it begins."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trivet import Limit
from trivet._limiting import _park

TARGET = 0.25
"""Two and a half times what one query takes alone."""


class Database:
    """So many connections, and a queue; each query takes 0.1 s."""

    def __init__(self, connections: int) -> None:
        self.connections = trio.CapacityLimiter(connections)

    async def query(self) -> None:
        async with self.connections:
            await trio.sleep(0.1)


async def settled(limit: Limit, database: Database, seconds: int) -> list[int]:
    """What the limit is in each second, of clients that ask all the time, and of which there are too many."""
    found: list[int] = []

    async def keep_asking() -> None:
        while True:
            if not limit._take(trio.current_time()):
                await _park(limit)
            began = trio.current_time()
            try:
                await database.query()
                limit._answered(began, trio.current_time(), None)
            finally:
                limit._leave(began, trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(keep_asking)
        for _ in range(seconds):
            await trio.sleep(1)
            found.append(limit.concurrent)
        nursery.cancel_scope.cancel()
    return found


@pytest.mark.parametrize(("initial", "connections"), [(1, 8), (40, 8), (20, 3)])
async def test_it_finds_what_can_be_borne(autojump_clock: MockClock, initial: int, connections: int) -> None:
    """Within the target two queries fit one after the other: twice as many as there are connections, and few more."""
    found = await settled(Limit.adaptive(TARGET, initial=initial, queue=100), Database(connections), 40)
    late = found[25:]
    assert 1.5 * connections <= min(late) <= max(late) <= 2.5 * connections + 2


async def test_it_follows_what_can_be_borne(autojump_clock: MockClock) -> None:
    """Half of the connections are gone for a while, and come back."""
    limit, database = Limit.adaptive(TARGET, initial=16, queue=100), Database(8)
    before = (await settled(limit, database, 20))[-1]
    database.connections.total_tokens = 4
    during = (await settled(limit, database, 20))[-1]
    database.connections.total_tokens = 8
    after = (await settled(limit, database, 20))[-1]
    assert during <= 0.7 * before
    assert after >= 1.4 * during
