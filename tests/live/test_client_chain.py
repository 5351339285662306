"""Three services in a chain, each asking the next with a `Client`: who leaves, and how much time is left, goes through.

All three run in the test's own Trio run, on sockets of their own: so their clocks agree, and how each request ended can
be looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Annotated, Any

import httpx
import pytest
import trio

from tests.live._inprocess import Served, get, read_until, serving
from trivet import App, Depends, Request, RequestCancelled, Sink, Stream
from trivet.contrib.client import Client, Retry

MARGIN = 5.0
"""Seconds: more than it takes a machine with other things to do to hand on a request."""


class Service:
    """One of the chain: asks `behind`, or is the last one, which answers nothing that ends.

    Args:
        behind: the URL of the next one.
        options: of the application.
        margin: of its client.
    """

    def __init__(self, behind: str | None, margin: float = MARGIN, **options: Any) -> None:
        self.ended = trio.Event()
        self.reached = trio.Event()
        self.reason: str | None = None
        self.deadline = 0.0
        options = {"timeout": 60, "trusted": ["127.0.0.1"], **options}
        self.app = App(**options)

        @asynccontextmanager
        async def open_client() -> AsyncGenerator[Client | None]:
            if behind is None:
                yield None
                return
            async with Client(base_url=behind, margin=margin, trust_env=False) as client:
                yield client

        @asynccontextmanager
        async def noted(request: Request) -> AsyncGenerator[None]:
            self.deadline = request.deadline
            self.reached.set()
            try:
                yield
            except RequestCancelled as error:
                self.reason = error.reason
                raise
            finally:
                self.ended.set()

        following = Annotated[Client | None, Depends(open_client, scope="app")]

        @self.app.get("/wait", dependencies=[Depends(noted)])
        async def wait(client: following) -> str:
            if client is None:
                await trio.sleep_forever()
                raise AssertionError
            return (await client.get("/wait")).text

        @self.app.get("/optional")
        async def optional(client: following) -> str:
            assert client is not None
            with trio.move_on_after(0.02):
                await client.get("/wait")
            return "without"

        @self.app.get("/stream", dependencies=[Depends(noted)])
        async def stream(client: following) -> Stream:
            async def feed(sink: Sink) -> None:
                if client is None:
                    await sink.send(b"part")
                    await trio.sleep_forever()
                    raise AssertionError
                async with client.stream("GET", "/stream") as response:
                    async for part in response.aiter_bytes():
                        await sink.send(part)

            return Stream(feed)


@asynccontextmanager
async def chain(*options: dict[str, Any]) -> AsyncGenerator[tuple[Served, list[Service]]]:
    """Serve the services, the last one first; gives the first one's server, and all of them, first to last."""
    services: list[Service] = []
    behind: str | None = None
    async with AsyncExitStack() as stack:
        served: Served | None = None
        for each in reversed(options):
            services.insert(0, Service(behind, **each))
            served = await stack.enter_async_context(serving(services[0].app, options={"drain_timeout": 0}))
            behind = f"http://127.0.0.1:{served.port}"
        assert served is not None
        yield served, services


@pytest.mark.parametrize(("path", "begun"), [(b"/wait", None), (b"/stream", b"part\r\n")])
async def test_when_the_first_client_leaves_the_last_handler_ends(path: bytes, begun: bytes | None) -> None:
    """Each is cancelled as one whose client has left, before the head or in the middle of the body."""
    async with chain({}, {}, {}) as (first, services):
        async with await first.connect() as wire:
            await wire.send_all(get(path))
            await services[-1].reached.wait()
            if begun is not None:
                await read_until(wire, begun)
        for service in services:
            await service.ended.wait()
        assert [service.reason for service in services] == ["disconnected"] * 3


async def test_the_deadline_shrinks_along_the_chain() -> None:
    """Each has what the one before has left, less its margin, whatever its own timeout is."""
    async with chain({"timeout": 60}, {"timeout": 600}, {"timeout": None}) as (first, services):
        async with await first.connect() as wire:
            await wire.send_all(get(b"/wait"))
            await services[-1].reached.wait()
        one, two, three = (service.deadline for service in services)
        assert one > two > three > one - 3 * MARGIN


async def test_a_deadline_that_is_spent_is_504() -> None:
    """Who knows of no deadlines behind it is left instead, and sees that; who knows has nobody asked in vain."""
    deaf: dict[str, Any] = {"timeout": None, "trusted": []}
    async with chain({"timeout": 1, "margin": 0.5}, deaf, deaf) as (first, services):
        answer = await first.request(get(b"/wait", close=True))
        assert answer.startswith(b"HTTP/1.1 504 ")
        for service in services[1:]:
            await service.ended.wait()
        assert [service.reason for service in services] == [None, "disconnected", "disconnected"]
    async with chain({"timeout": 1, "margin": 2}, {}) as (first, services):
        answer = await first.request(get(b"/wait", close=True))
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert not services[1].reached.is_set()


async def test_what_is_given_up_quietly_fails_nothing() -> None:
    """A scope of the handler's own, shorter than the margin: the service behind is left, and the answer is there."""
    async with chain({}, {"timeout": None, "trusted": []}) as (first, services):
        answer = await first.request(get(b"/optional", close=True))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"without")
        await services[1].ended.wait()
        assert services[1].reason == "disconnected"


async def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    """Of a service that is stopped in the middle of the first."""
    asked = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal asked
        async with stream:
            await read_until(stream, b"\r\n\r\n")
            asked += 1
            body = b"half" if asked == 1 else b"the whole"
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + body)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with Client(trust_env=False, retry=Retry(pause=0)) as client:
            assert (await client.get(url)).text == "the whole"
        nursery.cancel_scope.cancel()
    assert asked == 2


@pytest.mark.parametrize(
    ("method", "headers", "attempts"), [("POST", {}, 1), ("POST", {"Idempotency-Key": "8e03978e"}, 2), ("PUT", {}, 2)]
)
async def test_what_may_be_done_twice_is_asked_for_again(method: str, headers: dict[str, str], attempts: int) -> None:
    """Of a service that hangs up on who asks first."""
    asked: list[bytes] = []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            asked.append(await read_until(stream, b"body"))
            if len(asked) > 1:
                await stream.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with Client(trust_env=False, retry=Retry(pause=0)) as client:
            if attempts == 1:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.request(method, url, headers=headers, content=b"body")
            else:
                assert (await client.request(method, url, headers=headers, content=b"body")).status_code == 204
        nursery.cancel_scope.cancel()
    assert len(asked) == attempts
    assert all((b"8e03978e" in each) == bool(headers) for each in asked)


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked", b"Content-Length: 1000000"])
async def test_a_body_that_is_left_between_two_parts_leaves_nothing(head: bytes) -> None:
    """Neither a connection nor a generator, which somebody whose warnings are errors would have to answer for."""
    left = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        parts = b"1\r\nx\r\n" * 3 if head.startswith(b"T") else b"xxx"
        await stream.send_all(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + parts)
        assert await stream.receive_some() == b""
        left.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            async with Client(trust_env=False) as client, client.stream("GET", url) as response:
                parts = response.aiter_raw()
                assert (await anext(parts)).startswith(b"x")
            await left.wait()
        assert [str(each.message) for each in warned] == []
        nursery.cancel_scope.cancel()
