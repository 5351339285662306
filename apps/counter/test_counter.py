"""The site answers in time whatever becomes of its counter."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from trio.testing import MockClock

from apps.conftest import Run
from apps.counter import main, service
from tests.harness import free_port, run_server
from trivet.testing import TestClient

URL = "http://counter.test/visits"
WELCOME, SORRY = "Welcome to my site!", "Error registering your visit"

Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> service.Visits:
    """A count of this test's own."""
    fresh = service.Visits()
    monkeypatch.setattr(service, "registered", fresh)
    return fresh


@asynccontextmanager
async def site(answer: Answer) -> AsyncGenerator[TestClient]:
    """The site beside a counter that answers so."""
    async with TestClient(main.create_app(URL, transport=httpx.MockTransport(answer))) as client:
        yield client


async def test_visit_is_registered(registered: service.Visits, autojump_clock: MockClock) -> None:
    """Each visit is POSTed to the counter once, and the visitor is welcomed."""
    async with TestClient(service.app, base_url="http://counter.test") as counter:
        async with TestClient(main.create_app(URL, transport=counter.transport)) as client:
            for n in (1, 2):
                response = await client.get("/")
                assert (response.status_code, response.text) == (200, WELCOME)
                assert registered.visits == n
        assert (await counter.get("/visits")).json() == {"visits": 2}
        assert (await counter.post("/visits")).status_code == 201


async def down(request: httpx.Request) -> httpx.Response:
    """Refuse the connection."""
    raise httpx.ConnectError("connection refused", request=request)


async def broken(request: httpx.Request) -> httpx.Response:
    """Go away in the middle."""
    raise httpx.RemoteProtocolError("peer closed connection", request=request)


async def failing(request: httpx.Request) -> httpx.Response:
    """Answer, but with an error."""
    return httpx.Response(500)


async def elsewhere(request: httpx.Request) -> httpx.Response:
    """Answer with a redirect, which registers nothing."""
    return httpx.Response(302, headers={"location": "http://elsewhere.test/"})


@pytest.mark.parametrize("answer", [down, broken, failing, elsewhere])
async def test_counter_in_trouble(answer: Answer, autojump_clock: MockClock) -> None:
    """A counter that is down or fails is said to be so, at once."""
    async with site(answer) as client:
        response = await client.get("/")
        assert (response.status_code, response.text) == (200, SORRY)
        assert trio.current_time() == 0


class Drip(httpx.AsyncByteStream):
    """A body that comes byte by byte, each in time for a timeout between two reads."""

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """A byte a second."""
        for _ in range(100):
            await trio.sleep(1)
            yield b"."


async def slow(request: httpx.Request) -> httpx.Response:
    """Answer in a minute."""
    await trio.sleep(60)
    return httpx.Response(201)


async def dripping(request: httpx.Request) -> httpx.Response:
    """Answer at once, and never come to an end."""
    return httpx.Response(201, stream=Drip())


@pytest.mark.parametrize("answer", [slow, dripping])
async def test_slow_counter(answer: Answer, autojump_clock: MockClock) -> None:
    """A visitor waits as long as the deadline says, and no longer."""
    async with site(answer) as client:
        response = await client.get("/")
        assert trio.current_time() == pytest.approx(main.PATIENCE)
    assert (response.status_code, response.text) == (200, SORRY)


async def test_counter_in_time(autojump_clock: MockClock) -> None:
    """A counter that answers just before the deadline is in time."""

    async def just_in_time(request: httpx.Request) -> httpx.Response:
        await trio.sleep(main.PATIENCE - 0.01)
        return httpx.Response(201)

    async with site(just_in_time) as client:
        assert (await client.get("/")).text == WELCOME


async def test_visitor_who_leaves(autojump_clock: MockClock) -> None:
    """The call to the counter ends with the visit."""
    ended: list[float] = []

    async def noted(request: httpx.Request) -> httpx.Response:
        try:
            return await slow(request)
        finally:
            ended.append(trio.current_time())

    async with site(noted) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        exchange.leave()
        await exchange.wait_returned()
    assert ended == [pytest.approx(1)]


async def test_over_sockets(run: Run) -> None:
    """Site and counter as two processes: up, then down; the URL is a setting."""
    async with run("apps.counter.service:app") as counter:
        host, port = counter.address
        setting = {"COUNTER_URL": f"http://{host}:{port}/visits"}
        async with run("apps.counter:app", environment=setting) as server, server.client() as client:
            assert (await client.get("/")).text == WELCOME
            async with counter.client() as direct:
                assert (await direct.get("/visits")).json() == {"visits": 1}
            await counter.stop()
            assert (await client.get("/")).text == SORRY


@pytest.mark.live
@pytest.mark.slow
async def test_silent_counter_over_a_socket() -> None:
    """A counter that accepts a connection and says nothing costs a visitor the deadline, no more."""
    port = free_port()
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")

    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say_nothing, listeners)
        setting = {"COUNTER_URL": f"http://127.0.0.1:{port}/visits"}
        async with (
            run_server("hypercorn", "apps.counter:app", environment=setting) as server,
            server.client() as client,
        ):
            began = trio.current_time()
            assert (await client.get("/")).text == SORRY
            assert main.PATIENCE <= trio.current_time() - began < main.PATIENCE + 1
        nursery.cancel_scope.cancel()
