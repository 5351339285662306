"""What somebody who comes from another framework does first, and what they are told."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import fastapi
import httpx
import pydantic
import pytest
from trio.testing import MockClock

from trivet import App, Depends, Sink, Stream
from trivet.errors import RegistrationError
from trivet.testing import TestClient


async def test_another_event_loop_is_told_at_startup() -> None:
    """Served by asyncio, the application answers startup.failed with the remedy, so that the server stops."""

    def run() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(App()({"type": "lifespan"}, receive, send))
        return sent

    import trio

    (message,) = await trio.to_thread.run_sync(run)
    assert message["type"] == "lifespan.startup.failed"
    assert "hypercorn --worker-class trio module:app" in message["message"]


def test_a_decorator_without_its_path_is_refused() -> None:
    """`@app.get` without parentheses registers nothing, so it is an error, and shows the handler."""
    app = App()
    with pytest.raises(RegistrationError, match=r"a route has no path:\n    async def hello\(\)(.|\n)*@app.get"):

        @app.get  # type: ignore[arg-type]
        async def hello() -> str:
            return ""

    with pytest.raises(RegistrationError, match="5 is not a path"):
        app.get(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("marker", "owner"),
    [(fastapi.Query(ge=1), "Query of fastapi"), (pydantic.Field(ge=1), "FieldInfo of pydantic")],
)
def test_constraints_of_another_framework_are_refused(marker: object, owner: str) -> None:
    """A bound that would be ignored is an error, with the one that is read."""

    async def handler(x: Any) -> None: ...

    handler.__annotations__["x"] = Annotated[int, marker]
    with pytest.raises(RegistrationError, match=owner) as caught:
        App().get("/")(handler)
    assert "msgspec.Meta" in str(caught.value)


def test_a_provider_that_was_called_is_refused_with_the_remedy() -> None:
    """`Depends(f())` is met often."""

    async def handler(x: Annotated[int, Depends(5)]) -> None: ...  # type: ignore[arg-type]

    with pytest.raises(RegistrationError, match="without calling it"):
        App().get("/")(handler)


@pytest.mark.parametrize(("chunk", "came"), [(5, "int"), (None, "NoneType"), ({"a": 1}, "dict"), ([72, 105], "list")])
async def test_a_sink_takes_text_and_bytes_only(
    chunk: Any, came: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Anything else cuts the response and is explained: bytes(5) would have been five zeros."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("first")
            await sink.send(chunk)

        return Stream(feed)

    async with TestClient(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
    assert f"sink.send() takes str or bytes, not {came}" in caplog.text


async def test_a_sink_takes_what_is_like_bytes(autojump_clock: MockClock) -> None:
    """bytearray and memoryview are sent as they are."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(bytearray(b"a"))
            await sink.send(memoryview(b"bc"))  # type: ignore[arg-type]

        return Stream(feed)

    async with TestClient(app) as client:
        assert (await client.get("/")).content == b"abc"


@pytest.mark.parametrize(
    ("status", "name", "guess", "said"),
    [(401, "WWW-Authenticate", "Bearer", 'Basic realm="x"'), (405, "Allow", "", "PUT")],
)
async def test_a_401_and_a_405_always_have_what_http_asks_of_them(
    status: int, name: str, guess: str, said: str, autojump_clock: MockClock
) -> None:
    """Returned by hand they have it too (RFC 9110 sections 15.5.2 and 15.5.6), unless they bring their own."""
    app = App()

    @app.get("/plain")
    async def plain() -> tuple[int, str]:
        return status, "no"

    @app.get("/own")
    async def own() -> tuple[int, str, dict[str, str]]:
        return status, "no", {name: said}

    async with TestClient(app) as client:
        assert (await client.get("/plain")).headers.get_list(name) == [guess]
        assert (await client.get("/own")).headers.get_list(name) == [said]
