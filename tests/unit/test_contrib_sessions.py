"""Sessions without an application: the store in memory, signatures, times, and what they refuse."""

from __future__ import annotations

from trio.testing import MockClock

from trivet.contrib.sessions import MemoryStore, SessionStore


async def test_the_memory_forgets_what_is_over(mock_clock: MockClock) -> None:
    """What was set is given for `ttl` seconds, counted from the last `set`; `replace` finds nothing afterwards."""
    store: SessionStore = MemoryStore()
    assert await store.get("a") is None
    assert await store.set("a", b"1", 10)
    mock_clock.jump(9.5)
    assert await store.get("a") == b"1"
    assert await store.set("a", b"2", 10, replace=True)
    mock_clock.jump(9.5)
    assert await store.get("a") == b"2"
    mock_clock.jump(0.5)
    assert await store.get("a") is None
    assert not await store.set("a", b"3", 10, replace=True)
    assert await store.get("a") is None


async def test_a_deleted_session_is_not_replaced() -> None:
    """`replace` brings back nothing that another request has deleted; to delete what is not there is no error."""
    store = MemoryStore()
    await store.set("a", b"1", 10)
    await store.delete("a")
    await store.delete("a")
    assert not await store.set("a", b"2", 10, replace=True)
    assert (await store.get("a"), len(store), store._bytes) == (None, 0, 0)


async def test_the_least_recently_used_goes_first() -> None:
    """When there is no room, who was not used for longest is forgotten: a use is a `get` or a `set`."""
    store = MemoryStore(max_sessions=3)
    for key in "abc":
        await store.set(key, b"1", 10)
    await store.get("a")
    await store.set("b", b"2", 10)
    await store.set("d", b"1", 10)
    assert [await store.get(key) for key in "abcd"] == [b"1", b"2", None, b"1"]


async def test_bytes_are_bounded_as_well() -> None:
    """However large sessions are, all together take about `max_bytes`."""
    store = MemoryStore(max_bytes=10_000)
    for number in range(100):
        await store.set(str(number), bytes(number * 20), 10)
        assert store._bytes <= 10_000
    assert await store.get("99") is not None
    assert 3 <= len(store) <= 5


async def test_what_is_over_makes_room_as_others_come(mock_clock: MockClock) -> None:
    """No task cleans up: each that is set forgets up to two that are over and were not used for longest."""
    store = MemoryStore()
    for number in range(100):
        await store.set(str(number), b"", 10)
    mock_clock.jump(10)
    for number in range(60):
        await store.set(f"new {number}", b"", 10)
    assert len(store) == 60
