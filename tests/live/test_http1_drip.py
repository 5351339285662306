"""A head that comes byte by byte costs work in proportion to its bytes: how many are looked at is counted, no time is.

Whoever looks at all that came again with each byte of 30 KB looks at 450 MB, some seconds of everybody's time for each
such client.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

import pytest

from tests.live._http1 import answers, get, site
from trivet.server._http1_connection import HTTP1Connection

pytestmark = [pytest.mark.live, pytest.mark.slow]

OFTEN = 100
"""How often each byte may be looked at: several times more than it takes, and hundreds of times less than all of them
for each that comes."""


class Watched(bytes):
    """Bytes that count how many of them are looked at; what they are joined to or cut into counts on.

    Joining counts for nothing: it copies, at a microsecond for 32 KiB, and asks nothing.
    """

    looked = 0

    def _see(self, count: int) -> None:
        Watched.looked += max(0, count)

    def _span(self, start: SupportsIndex | None, end: SupportsIndex | None) -> int:
        return len(range(*slice(start, end).indices(len(self))))

    def __add__(self, other: Any) -> Watched:
        return Watched(super().__add__(other))

    def __radd__(self, other: Any) -> Watched:
        return Watched(bytes(other) + bytes(memoryview(self)))

    def __bytes__(self) -> Watched:
        self._see(len(self))
        return self

    def __getitem__(self, key: Any) -> Any:
        found: Any = super().__getitem__(key)
        self._see(len(found) if isinstance(found, bytes) else 1)
        return Watched(found) if isinstance(found, bytes) else found  # one byte is a number

    def __contains__(self, key: Any) -> bool:
        at = super().find(key)
        self._see(len(self) if at < 0 else at + 1)
        return at >= 0

    def find(self, sub: Any, start: SupportsIndex | None = None, end: SupportsIndex | None = None, /) -> int:
        at = super().find(sub, start, end)
        self._see(self._span(start, end if at < 0 else at + 1))
        return at

    def count(self, sub: Any, start: SupportsIndex | None = None, end: SupportsIndex | None = None, /) -> int:
        self._see(self._span(start, end))
        return super().count(sub, start, end)

    def split(self, sep: Any = None, maxsplit: SupportsIndex = -1) -> Any:
        self._see(len(self))
        return [Watched(part) for part in super().split(sep, maxsplit)]

    def partition(self, sep: Any, /) -> Any:
        self._see(len(self))
        before, found, after = super().partition(sep)
        return Watched(before), found, Watched(after)

    def removesuffix(self, suffix: Any, /) -> Watched:
        self._see(len(self))
        return Watched(super().removesuffix(suffix))


@pytest.fixture
def drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection gets what arrives byte by byte, as if each had been sent on its own."""
    received = HTTP1Connection.received

    def drip(self: HTTP1Connection, data: bytes, now: float) -> None:
        for at in range(len(data)):
            received(self, Watched(data[at : at + 1]), now)
        if not data:
            received(self, data, now)

    monkeypatch.setattr(HTTP1Connection, "received", drip)


LAST = b"Connection: close"
HEADS = {
    "one-long-field": (200, get(b"/", b"A: " + b"b" * 30_000, LAST)),
    "many-fields": (200, get(b"/", *[b"A%d: " % number + b"b" * 350 for number in range(80)], LAST)),
    "long-target": (200, get(b"/" + b"a" * 8000, *[b"A: " + b"b" * 4000] * 5, LAST)),
    "too-large": (431, get(b"/", b"A: " + b"b" * 33_000)),
    "too-many-fields": (431, get(b"/", b"A: " + b"b" * 20_000, *[b"C: d"] * 200)),
}


@pytest.mark.usefixtures("drips")
@pytest.mark.parametrize("name", HEADS)
async def test_a_head_that_drips_in_is_looked_at_once(name: str) -> None:
    """Or a few times, each byte of it, whether it is taken or refused."""
    status, head = HEADS[name]
    async with site() as served:
        Watched.looked = 0
        [answer] = answers(await served.exchange(head))
        looked = Watched.looked
    assert answer.status == status
    assert looked >= 20_000, "what is looked at is not seen any more: are the bytes kept in something else?"
    assert looked <= OFTEN * len(head), f"each byte was looked at {looked / len(head):,.0f} times"
