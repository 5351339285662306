"""Sleepers wait side by side, and stop when nobody waits for them any more."""

from __future__ import annotations

import httpx
import pytest
import trio
from trio.testing import MockClock

from apps.conftest import Run
from apps.sleepers import main
from trivet.testing import TestClient


@pytest.fixture(autouse=True)
def tally(monkeypatch: pytest.MonkeyPatch) -> main.Tally:
    """A tally of this test's own."""
    fresh = main.Tally()
    monkeypatch.setattr(main, "tally", fresh)
    return fresh


@pytest.mark.parametrize("seconds", [0, 1, 5, 60])
async def test_sleep(seconds: int, autojump_clock: MockClock) -> None:
    """/sleep answers after one sleep of so many seconds; the longest is not cut by the timeout."""
    async with TestClient(main.app) as client:
        response = await client.get("/sleep", params={"seconds": seconds})
        assert trio.current_time() == pytest.approx(seconds)
    assert response.status_code == 200
    assert response.text == f"slept for {seconds} seconds\n"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("seconds", [0, 1, 5, 60])
async def test_loop(seconds: int, autojump_clock: MockClock) -> None:
    """/loop sends each line when its second is over, not all at the end."""
    async with TestClient(main.app) as client, client.stream("GET", f"/loop?seconds={seconds}") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert trio.current_time() == pytest.approx(0)
        lines = [(chunk, trio.current_time()) async for chunk in response.aiter_text()]
    assert [chunk for chunk, _ in lines] == ["slept for 1 seconds\n"] * seconds
    assert [when for _, when in lines] == pytest.approx([float(n + 1) for n in range(seconds)])


@pytest.mark.parametrize("path", ["/sleep", "/loop"])
@pytest.mark.parametrize(
    "query", ["?seconds=-1", "?seconds=61", "?seconds=2.5", "?seconds=", "?seconds=abc", "?seconds=05", "?second=5", ""]
)
async def test_refusals(path: str, query: str, autojump_clock: MockClock) -> None:
    """What is not a whole number of seconds from 0 to 60 is 422, names the parameter, and sleeps for no time."""
    async with TestClient(main.app) as client:
        response = await client.get(path + query)
        assert trio.current_time() == 0
    assert response.status_code == 422
    assert [(error["in"], error["name"]) for error in response.json()["errors"]] == [("query", "seconds")]
    assert main.tally == main.Tally()


async def test_two_sleep_at_once(autojump_clock: MockClock) -> None:
    """Two clients wait in parallel: together they take as long as the slower one."""
    ends: list[tuple[str, float]] = []

    async def get(client: TestClient, target: str) -> None:
        response = await client.get(target)
        assert response.status_code == 200
        ends.append((target, trio.current_time()))

    async with TestClient(main.app) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, client, "/sleep?seconds=5")
            nursery.start_soon(get, client, "/loop?seconds=3")
        assert trio.current_time() == pytest.approx(5)
    assert dict(ends) == pytest.approx({"/loop?seconds=3": 3.0, "/sleep?seconds=5": 5.0})


@pytest.mark.parametrize("link", [True, False], ids=["trivet's server", "any server"])
@pytest.mark.parametrize("path", ["/sleep", "/loop"])
async def test_who_leaves_is_not_slept_for(path: str, link: bool, tally: main.Tally, autojump_clock: MockClock) -> None:
    """A client that leaves stops its sleep at once, and nobody else's."""
    async with TestClient(main.app, link=link) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep?seconds=10")
        async with client.open("GET", f"{path}?seconds=60") as exchange:
            await trio.sleep(2.5)
            assert tally == main.Tally(asleep=2)
            exchange.leave()
            await exchange.wait_returned()
        assert trio.current_time() == pytest.approx(2.5, abs=0.01)
        assert tally == main.Tally(asleep=1, stopped=1)
    assert tally == main.Tally(finished=1, stopped=1)


async def test_over_a_socket(run: Run) -> None:
    """The same over HTTP: three seconds of sleep for two clients take less than three, and leaving stops one."""
    async with run("apps.sleepers:app") as server, server.client() as client:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/sleep?seconds=1")
            async with client.stream("GET", "/loop?seconds=2") as response:
                chunks = [chunk async for chunk in response.aiter_text()]
        assert 2 <= trio.current_time() - began < 3
        assert chunks == ["slept for 1 seconds\n"] * 2
        assert (await client.get("/sleep?seconds=61")).status_code == 422
        async with client.open("GET", "/sleep?seconds=60") as exchange:
            await _until(client, {"asleep": 1, "finished": 2, "stopped": 0})
            exchange.leave()
            await _until(client, {"asleep": 0, "finished": 2, "stopped": 1})


async def _until(client: httpx.AsyncClient, expected: dict[str, int]) -> None:
    """Ask until the tally is as expected: the server learns of it in its own time."""
    with trio.fail_after(5):
        while (await client.get("/tally")).json() != expected:  # noqa: ASYNC110 - it is another process
            await trio.sleep(0.01)
