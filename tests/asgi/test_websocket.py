"""WebSockets through the whole application: which handler gets one, what it is bound to, and what it can say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trivet import App, Cookie, Depends, Header, HTTPError, Query, Request, Response, Router, WebSocket, WebSocketClosed
from trivet.asgi import ASGIApp, Receive, Scope, Send
from trivet.errors import InvalidMessage
from trivet.testing import TestClient, WebSocketRefused

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


async def refusal(client: TestClient, path: str, **options: Any) -> WebSocketRefused:
    with pytest.raises(WebSocketRefused) as caught:
        async with client.websocket(path, **options):
            raise AssertionError("it was accepted")
    return caught.value


@dataclass
class Page:
    limit: int
    after: str = ""


@both_servers
async def test_it_is_bound_as_a_request_is(link: bool) -> None:
    """Path, query, header, cookie, a model of the query and a dependency."""
    app, seen = App(), list[Any]()

    async def who(token: Annotated[str, Header()], session: Annotated[str, Cookie()]) -> str:
        return f"{token} {session}"

    @app.websocket("/rooms/{room}/{seat:int}")
    async def handler(
        seat: int, ws: WebSocket, page: Annotated[Page, Query()], user: Annotated[str, Depends(who)], room: str
    ) -> None:
        seen.append((room, seat, page, user))
        await ws.accept()

    async with TestClient(app, link=link, cookies={"session": "s"}) as client:
        async with client.websocket("/rooms/tea/7?limit=3", headers={"token": "t"}) as ws:
            assert await ws.wait_closed() == (1000, "")
        assert seen == [("tea", 7, Page(3), "t s")]
        assert (await refusal(client, "/rooms/tea/x?limit=3", headers={"token": "t"})).status == 404
        refused = await refusal(client, "/rooms/tea/7?limit=x", headers={"token": "t"})
        assert refused.status == 422
        assert [fault["name"] for fault in refused.response.json()["errors"]] == ["limit"]


@both_servers
async def test_a_websocket_and_a_get_may_share_a_path(link: bool) -> None:
    """And neither is found by the other's kind: not by a method of the same name either."""
    app = App()

    @app.get("/both")
    async def get() -> str:
        return "get"

    @app.websocket("/both")
    async def both(ws: WebSocket) -> None:
        await ws.send("socket")

    @app.websocket("/socket")
    async def socket(ws: WebSocket) -> None: ...

    @app.get("/get")
    async def only() -> None: ...

    async with TestClient(app, link=link) as client:
        assert (await client.get("/both")).text == "get"
        async with client.websocket("/both") as ws:
            assert await ws.receive() == "socket"
        assert (await client.request("WEBSOCKET", "/both")).status_code == 405
        assert (await client.get("/socket")).status_code == 404
        refused = await refusal(client, "/get")
        assert (refused.status, refused.response.json()["detail"]) == (404, "there is no WebSocket at this path")
        assert "/socket" not in (await client.get("/openapi.json")).text


async def test_a_server_that_lets_us_say_no_more_refuses_with_403() -> None:
    """Without the extension `websocket.http.response` each refusal is a close before the acceptance."""
    app = App()

    def without(inner: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                scope["extensions"].pop("websocket.http.response")
            await inner(scope, receive, send)

        return wrapped

    app.wrap(without)
    async with TestClient(app) as client:
        assert (await refusal(client, "/nowhere")).status == 403


@both_servers
async def test_routers_pass_on_websockets_and_their_options(link: bool, autojump_clock: MockClock) -> None:
    """Prefixes, dependencies and options of each level, whatever the order; the nearest value wins."""
    app, inner, outer = App(timeout=3), Router(), Router(timeout=2)
    app.mount("/a", outer)
    outer.mount("/b", inner)

    async def deny(q: str = "") -> None:
        if q:
            raise HTTPError(401, q)

    @inner.websocket("/slow")
    async def slow(ws: WebSocket) -> None:
        await trio.sleep(2.5)

    @inner.websocket("/slower", timeout=5, name="it")
    async def slower(ws: WebSocket) -> None:
        await trio.sleep(2.5)
        await ws.accept()

    outer._level.dependencies.append(Depends(deny))

    @outer.websocket("/guarded", dependencies=[Depends(deny)])
    async def guarded(ws: WebSocket) -> None:
        raise AssertionError

    async with TestClient(app, link=link) as client:
        assert (await refusal(client, "/a/b/slow")).status == 503
        async with client.websocket("/a/b/slower"):
            pass
        refused = await refusal(client, "/a/guarded?q=no")
        assert (refused.status, refused.response.headers["www-authenticate"]) == (401, "Bearer")
    assert app.url_for("it") == app.url_for(slower) == "/a/b/slower"


@both_servers
async def test_it_has_the_head_of_its_handshake(link: bool) -> None:
    """What a request can be asked, a WebSocket can; a provider that asks for the request is given the handshake."""
    app, seen = App(), dict[str, Any]()

    async def provider(request: Request) -> Request:
        request.response_headers["x-seen"] = request.method
        request.response_headers.add("set-cookie", "seen=1")
        request.state["user"] = "u"
        assert await request.body() == b""
        return request

    @app.websocket("/in/{name}")
    async def handler(ws: WebSocket, name: str, request: Annotated[Request, Depends(provider)]) -> None:
        seen.update({key: getattr(ws, key) for key in ("path", "raw_path", "url", "client", "path_params", "ended")})
        seen["same"] = [
            ws.id == request.id, ws.state is request.state, ws.headers is request.headers, ws.app is app,
            ws.scope is request.scope, ws.deadline == request.deadline, ws.draining is request.draining,
        ]  # fmt: skip
        seen["route"] = (ws.route and ws.route.path, ws.route and ws.route.name)
        seen["more"] = (ws.query["q"], ws.headers["x-a"], ws.cookies, list(ws.subprotocols))
        seen["url_for"] = ws.url_for("handler", name="b c")
        assert 0 < ws.time_left() <= 30
        assert repr(ws) == "<WebSocket '/m/in/a' handshake>"
        await ws.accept(headers={"x-own": "2"})
        assert ws.time_left() > 1e9
        assert repr(ws) == "<WebSocket '/m/in/a' open>"

    async with TestClient(app, link=link, root_path="/m", base_url="https://x") as client:
        async with client.websocket("/m/in/a?q=1", headers={"x-a": "h", "cookie": "c=d"}, subprotocols=["p"]) as ws:
            assert ws.headers["x-own"] == "2"
            assert ws.headers["x-seen"] == "GET"
            await ws.wait_closed()
        assert client.cookies["seen"] == "1"
    assert seen == {
        "path": "/m/in/a",
        "raw_path": b"/m/in/a",
        "url": "wss://x/m/in/a?q=1",
        "client": ("127.0.0.1", 50000),
        "path_params": {"name": "a"},
        "ended": None,
        "same": [True] * 7,
        "route": ("/in/{name}", "handler"),
        "more": ("1", "h", {"c": "d"}, ["p"]),
        "url_for": "/m/in/b%20c",
    }


@both_servers
async def test_middleware_is_https_alone(link: bool) -> None:
    """A middleware of the application is not asked; ASGI middleware sees the scope, and what it adds stays."""
    app, seen = App(), list[str]()

    @app.middleware
    async def never(request: Request, call_next: Any) -> Response:
        raise AssertionError

    def outer(inner: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])
            await inner({**scope, "added": "x"}, receive, send)

        return wrapped

    app.wrap(outer)

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.send(ws.scope["added"])

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        assert await ws.receive() == "x"
    assert seen[:2] == ["lifespan", "websocket"]


# ---- the handshake


@both_servers
async def test_a_subprotocol_is_chosen_from_what_is_offered(link: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What the client did not offer is the application's error, with the remedy, before it is accepted."""
    app = App()

    @app.websocket("/{name}")
    async def handler(ws: WebSocket, name: str) -> None:
        await ws.accept(subprotocol=name)
        await ws.send(str(ws.subprotocol))

    async with TestClient(app, link=link) as client:
        async with client.websocket("/b", subprotocols=["a", "b"]) as ws:
            assert ws.subprotocol == "b"
            assert await ws.receive() == "b"
        assert (await refusal(client, "/c", subprotocols=["a", "b"])).status == 500
        assert "has not offered the subprotocol 'c', but 'a', 'b'" in caplog.text
        assert (await refusal(client, "/c")).status == 500
        assert "has not offered the subprotocol 'c', but none" in caplog.text


async def test_a_header_that_cannot_be_sent_is_refused_before_the_acceptance(caplog: pytest.LogCaptureFixture) -> None:
    """CR and LF would be written as they are by some servers."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept(headers={"x-a": "b\r\nc: d"})

    async with TestClient(app) as client:
        assert (await refusal(client, "/")).status == 500


@pytest.mark.parametrize("by_provider", [True, False])
async def test_a_header_that_is_the_servers_is_refused_before_the_acceptance(by_provider: bool) -> None:
    """Whoever sets it: what follows depends on the server, and ends stock hypercorn."""
    app = App()

    async def provider(request: Request) -> None:
        if by_provider:
            request.response_headers["sec-websocket-protocol"] = "a"

    @app.websocket("/")
    async def handler(ws: WebSocket, provided: Annotated[None, Depends(provider)]) -> None:
        await ws.accept(headers={} if by_provider else {"Sec-WebSocket-Protocol": "a"})

    async with TestClient(app) as client:
        assert (await refusal(client, "/", subprotocols=["a"])).status == 500


@both_servers
async def test_the_first_use_accepts_once(link: bool) -> None:
    """Whichever it is, and whoever is first: all others wait for it."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ws.send, f"{number}")
            nursery.start_soon(ws.send_json, 3)
            assert await ws.receive() == "in"

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        await ws.send("in")
        assert sorted([str(message) async for message in ws]) == ["0", "1", "2", "3"]
        assert ws.close_code == 1000


async def test_accepting_twice_is_an_error_that_says_so() -> None:
    """After a first use, too: a subprotocol would be lost without a word."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.send("used")
        with pytest.raises(RuntimeError, match="has been accepted already: it is at first use"):
            await ws.accept("p")

    async with TestClient(app) as client, client.websocket("/", subprotocols=["p"]) as ws:
        assert await ws.wait_closed() == (1000, "")


@both_servers
async def test_a_cancelled_first_use_leaves_it_whole(link: bool, autojump_clock: MockClock) -> None:
    """A receive that is given up after a while has accepted; one in a cancelled scope has not."""
    app, log = App(), list[Any]()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.receive()
        log.append(repr(ws))
        with trio.move_on_after(1):
            await ws.receive()
        log.append(repr(ws))
        await ws.send("still here")

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        assert await ws.receive() == "still here"
    assert log == ["<WebSocket '/' handshake>", "<WebSocket '/' open>"]


ORIGINS: list[tuple[dict[str, Any], str | None, bool]] = [
    ({}, None, True),
    ({}, "http://testserver", True),
    ({}, "https://TestServer", True),
    ({}, "http://testserver:8000", False),
    ({}, "http://evil.example", False),
    ({}, "http://testserver.evil.example", False),
    ({}, "http://evil.example/testserver", False),
    ({}, "null", False),
    ({}, "", False),
    ({"origins": ["https://a.example"]}, "https://a.example", True),
    ({"origins": ["https://A.example:443"]}, "https://a.example", True),
    ({"origins": ["https://a.example"]}, "http://a.example", False),
    ({"origins": ["https://a.example"]}, "https://a.example:8443", False),
    ({"origins": ["https://a.example"]}, "http://testserver", True),
    ({"origins": []}, "http://testserver", True),
    ({"origins": None}, "http://evil.example", True),
    ({"origins": None}, "null", True),
]


@pytest.mark.parametrize(("options", "origin", "opens"), ORIGINS)
async def test_pages_of_other_origins_may_not_open_it(options: Any, origin: str | None, opens: bool) -> None:
    """Unless the option names them: a browser sends cookies along, and leaves it to the server to look."""
    app, router = App(origins=["https://other.example"]), Router(**options)

    @router.websocket("/x")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()

    app.mount("", router)
    headers = {} if origin is None else {"origin": origin}
    async with TestClient(app) as client:
        if opens:
            async with client.websocket("/x", headers=headers) as ws:
                assert await ws.wait_closed() == (1000, "")
        else:
            refused = await refusal(client, "/x", headers=headers)
            assert refused.status == 403
            assert origin == "" or str(origin) not in refused.response.text


# ---- messages


class Order(msgspec.Struct):
    item: str
    count: int = 1


@both_servers
async def test_texts_and_binary_messages_come_and_go(link: bool) -> None:
    """Each as what it is, the empty ones too; any bytes-like object is sent."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message if isinstance(message, str) else memoryview(message))  # type: ignore[arg-type]
        await trio.lowlevel.checkpoint()

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        for message in ("héllo", b"\x00\xff", "", b""):
            await ws.send(message)
            assert await ws.receive() == message


@both_servers
async def test_json_is_converted(link: bool) -> None:
    """One message or all of them, to a type or as it is, from texts and binary messages."""
    app, seen = App(), list[Any]()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        seen.append(await ws.receive_json())
        seen.append(await ws.receive_json(list[int]))
        async for order in ws.iter(Order):
            seen.append(order)
            await ws.send_json(order)

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        await ws.send_json({"a": None})
        await ws.send("[1]")
        await ws.send(b'{"item": "tea"}')
        assert await ws.receive_json() == {"item": "tea", "count": 1}
        await ws.close()
        await ws.wait_returned()
    assert seen == [{"a": None}, [1], Order("tea")]


async def test_a_type_is_looked_into_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages and bodies are to have it; one that cannot be kept is converted to as well."""

    class Item(msgspec.Struct):
        name: str

    types: tuple[Any, ...] = (list[Item], Annotated[int, ["unhashable"]])
    app, made = App(), list[Any]()
    really = msgspec.json.Decoder

    def counted(annotation: Any) -> Any:
        made.append(annotation)
        return really(annotation)

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        for _ in range(3):
            await ws.send_json([await ws.receive_json(each) for each in types])

    @app.post("/")
    async def by_hand(request: Request) -> Any:
        return await request.json(types[0])

    monkeypatch.setattr(msgspec.json, "Decoder", counted)
    async with TestClient(app) as client, client.websocket("/") as ws:
        for _ in range(3):
            await ws.send('[{"name": "tea"}]')
            await ws.send("1")
            assert await ws.receive() == '[[{"name":"tea"}],1]'
            assert (await client.post("/", json=[{"name": "tea"}])).json() == [{"name": "tea"}]
    assert [made.count(each) for each in types] == [1, 3]


BAD: list[tuple[str, str | bytes, tuple[int, str]]] = [
    ("text", b"x", (1003, "this takes texts, not binary messages")),
    ("bytes", "x", (1003, "this takes binary messages, not texts")),
    ("json", "{", (1007, "the message is not JSON: ")),
    ("json", '{"item": 1}', (1007, "/item: ")),
    ("iter", '{"count": 1}', (1007, "/item: is required")),
    ("iter", b"\xff", (1007, "the message is not UTF-8")),
    ("json", "", (1007, "the message is empty: JSON was expected")),
]


@pytest.mark.parametrize(("how", "message", "expected"), BAD)
@both_servers
async def test_a_message_that_is_not_what_was_asked_for_closes_it(
    how: str, message: Any, expected: Any, link: bool
) -> None:
    """With the code for that, and the first fault as its reason; a handler may catch it and go on."""
    app = App()

    async def ask(ws: WebSocket) -> None:
        if how == "text":
            await ws.receive_text()
        elif how == "bytes":
            await ws.receive_bytes()
        elif how == "json":
            await ws.receive_json(Order)
        else:
            async for _ in ws.iter(Order):
                raise AssertionError

    @app.websocket("/strict")
    async def strict(ws: WebSocket) -> None:
        await ask(ws)

    @app.websocket("/lax")
    async def lax(ws: WebSocket) -> None:
        with pytest.raises(InvalidMessage) as caught:
            await ask(ws)
        await ws.send(f"{caught.value.code}")

    async with TestClient(app, link=link) as client:
        async with client.websocket("/strict") as ws:
            await ws.send(message)
            code, reason = await ws.wait_closed()
            assert (code, reason.startswith(expected[1])) == (expected[0], True), reason
        async with client.websocket("/lax") as ws:
            await ws.send(message)
            assert await ws.receive() == str(expected[0])
            assert await ws.wait_closed() == (1000, "")


@both_servers
async def test_a_cancelled_receive_loses_nothing(link: bool, autojump_clock: MockClock) -> None:
    """Given up again and again, at any moment, every message arrives, in order."""
    app, seen = App(), list[Any]()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        while True:
            with trio.move_on_after(0.7):
                seen.append(await ws.receive())
                if seen[-1] == "end":
                    return

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        for number in range(20):
            await ws.send(str(number))
            await trio.sleep(number % 3 * 0.5)
        await ws.send("end")
        await ws.wait_closed()
    assert seen == [*map(str, range(20)), "end"]


@both_servers
async def test_two_tasks_that_receive_are_an_error(link: bool) -> None:
    """One would take what the other waits for; the first is not disturbed."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async with trio.open_nursery() as nursery:

            async def second() -> None:
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError, match="another task is receiving from this WebSocket"):
                    await ws.receive()
                await ws.send("refused")

            nursery.start_soon(second)
            await ws.send(await ws.receive_text())

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        assert await ws.receive() == "refused"
        await ws.send("first")
        assert await ws.receive() == "first"


@pytest.mark.parametrize("value", [1, None, ["x"]])
async def test_what_is_neither_text_nor_bytes_is_not_sent(value: Any) -> None:
    """The error has the remedy, and the WebSocket goes on."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        with pytest.raises(TypeError, match=r"await ws\.send_json\(value\)"):
            await ws.send(value)
        await ws.send("next")

    async with TestClient(app) as client, client.websocket("/") as ws:
        assert await ws.receive() == "next"


async def test_what_is_no_json_is_an_error_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """As of a response that cannot be encoded."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(object())

    async with TestClient(app) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (1011, "")
    assert "trivet.errors.ResponseError" in caplog.text


@both_servers
async def test_a_dependency_may_use_it(link: bool) -> None:
    """A first message as a login, say; it is accepted in the dependency then, and the handler goes on."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def login(ws: WebSocket) -> AsyncGenerator[str]:
        name = await ws.receive_text()
        if name == "nobody":
            raise HTTPError(401, "who are you?")
        yield name
        log.append("left")

    @app.websocket("/")
    async def handler(who: Annotated[str, Depends(login)], ws: WebSocket) -> None:
        await ws.send(f"hello {who}")

    async with TestClient(app, link=link) as client:
        async with client.websocket("/") as ws:
            await ws.send("ada")
            assert await ws.receive() == "hello ada"
            assert await ws.wait_closed() == (1000, "")
        async with client.websocket("/") as ws:
            await ws.send("nobody")
            assert await ws.wait_closed() == (1008, "who are you?")
    assert log == ["left"]


async def test_an_override_reaches_websockets() -> None:
    """As it does routes, while the application runs."""
    app = App()

    async def provider() -> str:
        return "real"

    @app.websocket("/")
    async def handler(ws: WebSocket, value: Annotated[str, Depends(provider)]) -> None:
        await ws.send(value)

    async with TestClient(app) as client:
        for expected, override in (("real", None), ("fake", lambda: "fake"), ("real", None)):
            undo = app.override(provider, override) if override else None
            async with client.websocket("/") as ws:
                assert await ws.receive() == expected
            if undo is not None:
                undo.undo()


async def test_closed_is_what_it_says() -> None:
    """The error's text is the code and the reason."""
    assert str(WebSocketClosed(1001, "bye")) == "1001 bye"
    assert str(WebSocketClosed(1006)) == "1006"
    assert isinstance(WebSocketClosed(1006), OSError)
