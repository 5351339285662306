"""The application that calls itself: what it answers, what bounds it, and that a tree of calls ends as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apps.fanout import itself, main
from tests.harness import Serve
from trivet import App, Request
from trivet.testing import TestClient

HANDLERS = ["series", "loop", "parallel"]


@asynccontextmanager
async def site() -> AsyncGenerator[TestClient]:
    """The application in memory."""

    async def to_itself(request: httpx.Request) -> httpx.Response:
        return await client.transport.handle_async_request(request)

    app = main.create_app(
        "http://upstreams.test",
        transport=httpx.MockTransport(to_itself),
        own_url=lambda request, path: f"http://itself.test{path}",
    )
    async with TestClient(app, base_url="http://itself.test") as client:
        yield client


async def tally_of(client: Any) -> dict[str, int]:
    tally: dict[str, int] = (await client.get("/tally")).json()
    return tally


@pytest.mark.parametrize("handler", HANDLERS)
async def test_as_many_as_asked_for(handler: str, autojump_clock: MockClock) -> None:
    """None, one, odd and even numbers."""
    async with site() as client:
        for length in (0, 1, 2, 3, 7, 8):
            response = await client.get(f"/{handler}?length={length}")
            assert (response.status_code, response.text) == (200, "z" * length)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize(
    "query", ["", "length=-1", "length=128", "length=many", "length=1&pause=2", "length=1&pause=-1"]
)
async def test_what_makes_no_sense(handler: str, query: str) -> None:
    """Is refused, and calls nobody: a negative length would never come to an end."""
    async with site() as client:
        assert (await client.get(f"/{handler}?{query}")).status_code == 422


@pytest.mark.parametrize(("handler", "took"), [("series", 8), ("loop", 8), ("parallel", 1)])
async def test_side_by_side_takes_less_time(handler: str, took: float, autojump_clock: MockClock) -> None:
    """Eight of one second each."""
    async with site() as client:
        assert (await client.get(f"/{handler}?length=8&pause=1")).text == "z" * 8
        assert trio.current_time() == took


async def test_the_longest_is_within_the_bound(autojump_clock: MockClock) -> None:
    """Forks run out, and the rest is done one after the other; more than `MOST` are never under way."""
    async with site() as client:
        assert (await client.get("/parallel?length=65&pause=0.1")).text == "z" * 65
        tally = await tally_of(client)
        assert tally["running"] == 0
        assert itself.FORKS < tally["most"] <= itself.HEIGHT * (1 + itself.FORKS)
        # Forks are given back: the next one has as many.
        began = trio.current_time()
        assert (await client.get("/parallel?length=8&pause=1")).text == "z" * 8
        assert trio.current_time() == began + 1


async def test_as_many_visitors_as_there_is_room_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are served, with the highest tree each."""
    visitors, forks = 3, 2
    monkeypatch.setattr(itself, "FORKS", forks)
    monkeypatch.setattr(itself, "MOST", itself.HEIGHT * (visitors + forks))
    answers: list[str] = []

    async def visit() -> None:
        answers.append((await client.get("/parallel?length=65")).text)

    async with site() as client:
        async with trio.open_nursery() as nursery:
            for _ in range(visitors):
                nursery.start_soon(visit)
        tally = await tally_of(client)
    assert answers == ["z" * 65] * visitors
    assert itself.HEIGHT * visitors <= tally["most"] <= itself.MOST


async def test_too_many_visitors_are_turned_away(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with a time to come back; nobody waits for somebody who waits, and the server goes on."""
    monkeypatch.setattr(itself, "MOST", 16)
    answers: list[httpx.Response] = []

    async def visit() -> None:
        answers.append(await client.get("/parallel?length=16&pause=0.5"))

    async with site() as client:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(visit)
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert {answer.status_code for answer in answers} <= {200, 503}
        tally = await tally_of(client)
        assert tally["running"] == 0
        assert tally["most"] <= itself.MOST
        assert (await client.get("/parallel?length=16")).text == "z" * 16


@pytest.mark.parametrize("handler", HANDLERS)
async def test_who_leaves_takes_the_tree_along(handler: str, autojump_clock: MockClock) -> None:
    """No call of it is left, and no fork is taken."""
    async with site() as client:
        async with client.open("GET", f"/{handler}?length=64&pause=1") as exchange:
            await trio.sleep(0.5)
            assert (await tally_of(client))["running"] >= 6
            exchange.leave()
            await exchange.wait_returned()
        await wait_all_tasks_blocked()
        assert (await tally_of(client))["running"] == 0
        began = trio.current_time()
        await client.get("/parallel?length=8&pause=1")
        assert trio.current_time() == began + 1


async def test_a_tree_ends_with_its_deadline(autojump_clock: MockClock) -> None:
    """One deadline, that of the first request, is over all of them."""
    async with site() as client:
        assert (await client.get("/series?length=127&pause=1")).status_code == 503
        assert trio.current_time() == 10
        await wait_all_tasks_blocked()
        assert (await tally_of(client))["running"] == 0


async def test_a_half_that_fails_ends_the_other(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """At once; and what that raises then is in the log, too."""

    async def fail(request: httpx.Request) -> httpx.Response:
        try:
            await trio.sleep(int(request.url.params["length"]))
        finally:
            raise httpx.ConnectError("refused", request=request)

    app = main.create_app("http://upstreams.test", transport=httpx.MockTransport(fail))
    async with TestClient(app) as client:
        assert (await client.get("/parallel?length=5")).status_code == 502
    assert trio.current_time() == 2
    assert caplog.text.count("could not be reached") == 2


@pytest.mark.parametrize(
    ("base", "expected"),
    [("http://10.0.0.1:8000", "http://10.0.0.1:8000/x"), ("https://[::1]:8443", "https://[::1]:8443/x")],
)
async def test_own_address(base: str, expected: str) -> None:
    """It is the socket's; a Host header does not choose whom the server calls."""
    app = App()

    @app.get("/x")
    async def show(request: Request) -> str:
        return itself.on_this_server(request, "/x")

    async with TestClient(app, base_url=base) as client:
        assert (await client.get("/x", headers={"host": "elsewhere.test"})).text == expected


async def test_a_unix_socket_has_no_address() -> None:
    """So it is said that this cannot be done."""
    app = App()

    @app.get("/x")
    async def show(request: Request) -> str:
        request.scope["server"] = ("/run/socket", None)
        return itself.on_this_server(request, "/x")

    async with TestClient(app) as client:
        assert (await client.get("/x")).status_code == 501


@pytest.mark.slow
async def test_over_sockets(serve: Serve) -> None:
    """The tree is made of connections; when the first is closed, the last handler is cancelled."""
    outer = App()
    outer.mount("/below", main.create_app("http://127.0.0.1:1"))
    async with serve(outer) as client:
        for handler in HANDLERS:
            response = await client.get(f"/below/{handler}?length=9", headers={"host": "elsewhere.test"})
            assert response.text == "z" * 9
        async with client.open("GET", "/below/parallel?length=64&pause=1") as exchange:
            await _until(client, lambda running: running >= 16)
            exchange.leave()
            await _until(client, lambda running: running == 0)


async def _until(client: Any, there: Callable[[int], bool]) -> None:
    """Wait until so many calls are under way."""
    with trio.fail_after(5):
        while not there((await client.get("/below/tally")).json()["running"]):  # noqa: ASYNC110
            await trio.sleep(0.01)
