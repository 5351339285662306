"""Sessions in an application: what browsers are given, and when, in memory and from both servers."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.harness import Serve
from trivet import App, Depends, EventSink, EventStream, File, HTTPError, Request, Response, Sink, Stream, WebSocket
from trivet._damping import QUIET
from trivet.contrib.sessions import MemoryStore, Session, SessionError, Sessions, SessionStore, TypedSession
from trivet.contrib.sessions._record import Record, decoded
from trivet.contrib.sessions._signed import SignedCookies
from trivet.contrib.sessions._stored import _key
from trivet.testing import TestClient

SECRET = "x" * 32
OLD = "y" * 32

Make = Callable[..., Sessions]


def signed(*contents: Any, **options: Any) -> Sessions:
    return Sessions(*contents, **{"secret": SECRET, "clock": trio.current_time, **options})


def stored(*contents: Any, **options: Any) -> Sessions:
    return Sessions(*contents, **{"store": MemoryStore(), "clock": trio.current_time, **options})


@pytest.fixture(params=[signed, stored], ids=["signed", "stored"])
def make(request: pytest.FixtureRequest) -> Make:
    """Both kinds of sessions."""
    found: Make = request.param
    return found


def site(sessions: Sessions, **options: Any) -> App:
    """Everything that can be done with one."""
    app = App(**options)
    current: TypeAlias = Annotated[Session, Depends(sessions)]

    @app.get("/")
    async def show(session: current) -> dict[str, Any]:
        return dict(session)

    @app.get("/new")
    async def new(session: current) -> bool:
        return session.new

    @app.get("/untouched", dependencies=[Depends(sessions)])
    async def untouched() -> str:
        return "x"

    @app.post("/set/{key}/{value}")
    async def put(key: str, value: str, session: current) -> None:
        session[key] = value

    @app.post("/append/{value}")
    async def append(value: str, session: current) -> None:
        session.setdefault("list", []).append(value)

    @app.post("/login/{user}")
    async def login(user: str, session: current) -> None:
        session.rotate()
        session["user"] = user

    @app.post("/logout")
    async def logout(session: current) -> None:
        session.clear()

    @app.post("/again/{user}")
    async def again(user: str, session: current) -> None:
        session.clear()
        session["user"] = user

    @app.post("/empty")
    async def empty(session: current) -> None:
        for key in list(session):
            del session[key]

    @app.post("/fails")
    async def fails(session: current) -> None:
        session["fails"] = True
        raise HTTPError(409)

    @app.post("/saves")
    async def saves(session: current) -> None:
        session["attempts"] = session.get("attempts", 0) + 1
        await session.save()
        session["lost"] = True
        raise HTTPError(401)

    return app


def cookies(response: httpx.Response) -> list[str]:
    return response.headers.get_list("set-cookie")


async def test_the_next_request_knows_what_this_one_has_put_in(make: Make, serve: Serve) -> None:
    """A visitor who only looks is given no cookie; one for whom something is kept is, and it comes back."""
    async with serve(site(make())) as client:
        assert (await client.get("/new")).json() is True
        response = await client.get("/")
        assert (response.json(), cookies(response)) == ({}, [])
        response = await client.post("/set/colour/blue")
        [cookie] = cookies(response)
        name, _, attributes = cookie.partition("=")
        assert name == "session"
        assert attributes.partition("; ")[2] == f"Max-Age={7 * 86400}; Path=/; HttpOnly; SameSite=Lax"
        assert (await client.get("/")).json() == {"colour": "blue"}
        assert (await client.get("/new")).json() is False


async def test_only_what_has_changed_is_written(make: Make) -> None:
    """Reading writes nothing, nor does putting in the same; a change in place of something inside counts."""
    async with TestClient(site(make())) as client:
        await client.post("/append/a")
        for path in ("/", "/untouched", "/new"):
            assert cookies(await client.get(path)) == []
        await client.post("/set/colour/blue")
        assert cookies(await client.post("/set/colour/blue")) == []
        assert len(cookies(await client.post("/append/b"))) == 1
        assert (await client.get("/")).json() == {"list": ["a", "b"], "colour": "blue"}


async def test_who_looks_at_it_makes_the_answer_private(make: Make) -> None:
    """`Vary` and `Cache-Control` go with whatever depends on the session, an error too, and with nothing else."""
    async with TestClient(site(make())) as client:
        untouched = await client.get("/untouched")
        assert "vary" not in untouched.headers
        assert "cache-control" not in untouched.headers
        for response in [await client.get("/"), await client.get("/new"), await client.post("/fails")]:
            assert response.headers["vary"] == "Cookie"
            assert response.headers["cache-control"] == "private"


async def test_a_response_may_be_stricter(make: Make) -> None:
    """What it, or another provider, says of caching wins; what it varies by adds up."""
    app, sessions = App(), make()

    async def unstored(request: Request) -> None:
        request.response_headers["cache-control"] = "no-cache"

    @app.get("/provider", dependencies=[Depends(unstored)])
    async def provided(session: Annotated[Session, Depends(sessions)]) -> int:
        return len(session)

    @app.get("/")
    async def show(session: Annotated[Session, Depends(sessions)]) -> Response:
        return Response(str(len(session)), headers={"cache-control": "no-store", "vary": "Accept"})

    async with TestClient(app) as client:
        response = await client.get("/")
        assert response.headers["cache-control"] == "no-store"
        assert response.headers.get_list("vary") == ["Accept", "Cookie"]
        assert (await client.get("/provider")).headers["cache-control"] == "no-cache"


async def test_who_does_not_look_is_sent_nothing(make: Make, mock_clock: MockClock) -> None:
    """A session that is due is not written for a handler that does not use it: its answer stays cacheable."""
    sessions = make(idle=100)
    app = site(sessions)

    @app.get("/logo", dependencies=[Depends(sessions)])
    async def logo() -> Response:
        return Response("x", headers={"cache-control": "public, max-age=86400"})

    async with TestClient(app) as client:
        await client.post("/login/ann")
        mock_clock.jump(50)
        response = await client.get("/logo")
        assert (cookies(response), response.headers["cache-control"]) == ([], "public, max-age=86400")
        assert "vary" not in response.headers
        assert len(cookies(await client.get("/"))) == 1


SAID: list[tuple[list[str], str]] = [
    ([], "private"),
    (["public, max-age=60"], "private, max-age=60"),
    (["Public"], "private"),
    (["max-age=60", "S-MaxAge=600"], "private, max-age=60"),
    (["no-cache"], "private, no-cache"),
    (["private, max-age=60"], "private, max-age=60"),
    (["Private, public"], "Private"),
    (['private="x-name"'], 'private, private="x-name"'),
    (["no-store"], "no-store"),
    (["no-store, must-understand"], "no-store"),
    ([" , "], "private"),
]


@pytest.mark.parametrize("by", ["response", "provider"])
@pytest.mark.parametrize(("said", "goes_out"), SAID)
async def test_no_shared_cache_may_keep_a_cookie(by: str, said: list[str], goes_out: str, make: Make) -> None:
    """Whatever the response, or another provider, says: with a `Set-Cookie` of ours it is for this visitor only."""
    app, sessions = App(), make()
    fields = [*(("cache-control", each) for each in said), ("cdn-cache-control", "max-age=60")]

    async def shared(request: Request) -> None:
        for name, value in fields if by == "provider" else ():
            request.response_headers.add(name, value)

    @app.get("/", dependencies=[Depends(shared)])
    async def show(session: Annotated[Session, Depends(sessions)]) -> Response:
        response = Response("x")
        for name, value in fields if by == "response" else ():
            response.headers.add(name, value)
        session["seen"] = True
        return response

    async with TestClient(app) as client:
        response = await client.get("/")
        assert len(cookies(response)) == 1
        assert response.headers["cache-control"] == goes_out
        assert "cdn-cache-control" not in response.headers


async def test_no_shared_cache_may_keep_a_cookie_of_a_stream(make: Make, serve: Serve) -> None:
    """Nor one that goes with a stream's head, or with an error whose page says how long it is good."""
    app, sessions = App(), make()

    @app.get("/stream")
    async def stream(session: Annotated[Session, Depends(sessions)]) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(b"x")

        session["seen"] = 1
        return Stream(feed, headers={"cache-control": "public, max-age=60"})

    @app.get("/error")
    async def error(session: Annotated[Session, Depends(sessions)]) -> None:
        session["seen"] = 2
        await session.save()
        raise HTTPError(404, headers={"cache-control": "public, max-age=60"})

    async with serve(app) as client:
        for path in ("/stream", "/error"):
            response = await client.get(path)
            assert len(cookies(response)) == 1
            assert response.headers["cache-control"] == "private, max-age=60"


async def test_a_stream_uses_the_session(make: Make, mock_clock: MockClock) -> None:
    """It may look at it, though nobody has when its head goes out: a session that is due is written then."""
    sessions = make(idle=100)
    app = site(sessions)

    @app.get("/stream", dependencies=[Depends(sessions)])
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(b"x")

        return Stream(feed)

    async with TestClient(app) as client:
        await client.post("/login/ann")
        assert cookies(await client.get("/stream")) == []
        mock_clock.jump(50)
        assert len(cookies(await client.get("/stream"))) == 1


async def test_a_request_that_fails_keeps_nothing_but_what_it_saved(make: Make) -> None:
    """An error is answered without a cookie; `save` writes what is there then, to go out with the error."""
    async with TestClient(site(make())) as client:
        response = await client.post("/fails")
        assert (response.status_code, cookies(response)) == (409, [])
        for attempt in (1, 2):
            response = await client.post("/saves")
            assert (response.status_code, len(cookies(response))) == (401, 1)
            assert (await client.get("/")).json() == {"attempts": attempt}


async def test_a_login_goes_on_under_another_identifier(serve: Serve) -> None:
    """What was there stays; who has planted the identifier from before has nothing by it."""
    async with serve(site(stored())) as client:
        await client.post("/set/cart/tea")
        planted = client.cookies["session"]
        await client.post("/login/ann")
        assert client.cookies["session"] != planted
        assert (await client.get("/")).json() == {"cart": "tea", "user": "ann"}
        client.cookies.set("session", planted)
        client.cookies.jar.clear()
        assert (await client.get("/", headers={"cookie": f"session={planted}"})).json() == {}


@pytest.mark.parametrize("path", ["/logout", "/empty"])
async def test_a_session_that_is_cleared_is_over(make: Make, path: str) -> None:
    """The browser is told to forget it; a store has nothing left; without a session there is nothing to forget."""
    sessions = make()
    async with TestClient(site(sessions)) as client:
        assert cookies(await client.post(path)) == []
        await client.post("/login/ann")
        value = client.cookies["session"]
        [removal] = cookies(await client.post(path))
        assert removal.startswith("session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; HttpOnly")
        assert "session" not in client.cookies
        left = (await client.get("/", headers={"cookie": f"session={value}"})).json()
        # What is in the browser alone the server cannot take back.
        assert left == ({"user": "ann"} if make is signed else {})


async def test_what_is_put_in_after_clear_is_a_new_session(make: Make) -> None:
    """One cookie goes out, the new one; nothing of the old session is in it."""
    async with TestClient(site(make())) as client:
        await client.post("/login/ann")
        value = client.cookies["session"]
        [cookie] = cookies(await client.post("/again/bob"))
        assert cookie.partition("=")[2].partition(";")[0] not in ("", value)
        assert (await client.get("/")).json() == {"user": "bob"}


# ---- streams and WebSockets


async def test_the_cookie_goes_with_the_head_of_a_stream(make: Make, serve: Serve) -> None:
    """What the handler has put in is kept before the first chunk; a stream may look at it."""
    sessions = make()
    app = site(sessions)

    @app.post("/stream")
    async def stream(session: Annotated[Session, Depends(sessions)]) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(f"{session['user']} {session.new}".encode())

        session["user"] = "ann"
        return Stream(feed)

    @app.get("/events")
    async def events(session: Annotated[Session, Depends(sessions)]) -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send(session["user"])

        return EventStream(feed)

    async with serve(app) as client:
        response = await client.post("/stream")
        assert (response.text, len(cookies(response))) == ("ann False", 1)
        assert response.headers["vary"] == "Cookie"
        assert (await client.get("/")).json() == {"user": "ann"}
        response = await client.get("/events")
        assert (response.text, cookies(response)) == ("data: ann\n\n", [])
        assert response.headers["vary"] == "Cookie"


async def test_the_cookie_goes_with_a_file(make: Make, tmp_path: Path) -> None:
    """Its dependencies leave before it is sent, as those of a whole response do."""
    (tmp_path / "a.txt").write_text("content")
    app, sessions = App(), make()

    @app.get("/")
    async def file(session: Annotated[Session, Depends(sessions)]) -> File:
        session["seen"] = True
        return File(tmp_path / "a.txt")

    async with TestClient(app) as client:
        response = await client.get("/")
        assert (response.text, len(cookies(response))) == ("content", 1)


async def test_a_session_may_leave_before_a_stream(make: Make) -> None:
    """With `scope="handler"` it is written when the handler has returned, like any other dependency of that scope."""
    app, sessions = App(), make()

    @app.get("/")
    async def stream(session: Annotated[Session, Depends(sessions, scope="handler")]) -> Stream:
        async def feed(sink: Sink) -> None:
            with pytest.raises(SessionError, match="when the handler had returned"):
                session["late"] = True
            await sink.send(b"x")

        session["seen"] = True
        return Stream(feed)

    async with TestClient(app) as client:
        response = await client.get("/")
        assert (response.text, len(cookies(response))) == ("x", 1)


CHANGES: dict[str, Callable[[Session], object]] = {
    "set": lambda session: session.update(a=1),
    "delete": lambda session: session.pop("user"),
    "assign": lambda session: setattr(session, "data", {}),
    "rotate": lambda session: session.rotate(),
    "clear": lambda session: session.clear(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_after_the_head_is_an_error_where_it_is_made(make: Make, change: str) -> None:
    """It could not be kept, and says so at the line; nothing of it is kept."""
    sessions = make()
    app = site(sessions)

    @app.post("/stream")
    async def stream(session: Annotated[Session, Depends(sessions)]) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(b"begun")
            with pytest.raises(SessionError, match="goes with the head"):
                CHANGES[change](session)
            with pytest.raises(SessionError, match="goes with the head"):
                await session.save()

        session["user"] = "ann"
        return Stream(feed)

    async with TestClient(app) as client:
        assert (await client.post("/stream")).text == "begun"
        assert (await client.get("/")).json() == {"user": "ann"}


async def test_a_change_in_place_after_the_head_cuts_the_stream(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is seen when the stream has ended: the response is cut, and the log says what was wrong."""
    sessions = make()
    app = site(sessions)

    @app.post("/stream")
    async def stream(session: Annotated[Session, Depends(sessions)]) -> Stream:
        items = session.setdefault("list", [])

        async def feed(sink: Sink) -> None:
            items.append("late")
            await sink.send(b"x")

        return Stream(feed)

    async with TestClient(app) as client:
        await client.post("/append/a")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/stream")
        assert (await client.get("/")).json() == {"list": ["a"]}
    assert "goes with the head of the response" in caplog.text


async def test_a_session_that_cannot_be_kept_is_answered_before_a_stream() -> None:
    """The head is not out: 500, not half a stream."""
    app = App()

    @app.get("/")
    async def stream(session: Annotated[Session, Depends(signed())]) -> Stream:
        async def feed(sink: Sink) -> None: ...

        session["large"] = "x" * 5000
        return Stream(feed)

    async with TestClient(app) as client:
        assert (await client.get("/")).status_code == 500


async def test_a_websocket_can_look_at_it_only(make: Make) -> None:
    """Its handshake sends the cookie; to change anything is an error."""
    sessions = make()
    app = site(sessions)

    @app.websocket("/socket")
    async def socket(ws: WebSocket, session: Annotated[Session, Depends(sessions)]) -> None:
        await ws.send(session["user"])
        with pytest.raises(SessionError, match="WebSocket"):
            session["user"] = "bob"

    async with TestClient(app) as client:
        await client.post("/login/ann")
        async with client.websocket("/socket") as ws:
            assert await ws.receive() == "ann"


# ---- who is stopped


async def test_nothing_is_written_for_a_client_that_has_left(make: Make) -> None:
    """Whether the handler was cancelled or returned all the same: the browser keeps what it had."""
    sessions = make()
    app = site(sessions)
    arrived, left = trio.Event(), trio.Event()

    @app.get("/slow/{shielded}")
    async def slow(shielded: bool, session: Annotated[Session, Depends(sessions)]) -> None:
        session["slow"] = True
        arrived.set()
        with trio.CancelScope(shield=shielded):
            await left.wait()

    async with TestClient(app) as client:
        await client.post("/login/ann")
        for shielded in ("false", "true"):
            arrived, left = trio.Event(), trio.Event()
            async with client.open("GET", f"/slow/{shielded}") as exchange:
                await arrived.wait()
                exchange.leave()
                await wait_all_tasks_blocked()
                left.set()
                await wait_all_tasks_blocked()
            assert (await client.get("/")).json() == {"user": "ann"}


async def test_the_deadline_writes_nothing_unless_there_is_an_answer(make: Make, autojump_clock: MockClock) -> None:
    """503 has no cookie; a value that the handler returns counts, however late, and so does its session."""
    sessions = make()
    app = site(sessions, timeout=5)

    @app.get("/slow/{shielded}")
    async def slow(shielded: bool, session: Annotated[Session, Depends(sessions)]) -> None:
        session["slow"] = True
        with trio.CancelScope(shield=shielded):
            await trio.sleep(10)

    async with TestClient(app) as client:
        response = await client.get("/slow/false")
        assert (response.status_code, cookies(response)) == (503, [])
        response = await client.get("/slow/true")
        assert (response.status_code, len(cookies(response))) == (204, 1)


async def test_what_fails_when_it_is_left_writes_nothing(make: Make) -> None:
    """A dependency that came later leaves earlier: a commit that fails leaves the session as it was."""
    sessions = make()
    app = site(sessions)

    @asynccontextmanager
    async def transaction() -> AsyncGenerator[None]:
        yield
        raise HTTPError(409)

    @app.post("/commit", dependencies=[Depends(sessions), Depends(transaction)])
    async def commit(session: Annotated[Session, Depends(sessions)]) -> None:
        session["committed"] = True

    async with TestClient(app) as client:
        response = await client.post("/commit")
        assert (response.status_code, cookies(response)) == (409, [])


async def test_an_ended_session_does_not_come_back(autojump_clock: MockClock) -> None:
    """A request that was under way when another one logged out changes nothing any more."""
    sessions = stored()
    app = site(sessions)

    @app.post("/slow")
    async def slow(session: Annotated[Session, Depends(sessions)]) -> None:
        session["slow"] = True
        await trio.sleep(5)

    async with TestClient(app) as client:
        await client.post("/login/ann")
        value = client.cookies["session"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.post, "/slow")
            await trio.sleep(1)
            await client.post("/logout")
        assert (await client.get("/", headers={"cookie": f"session={value}"})).json() == {}


class Slow(MemoryStore):
    """Takes a while for the next thing that it is to write."""

    pause = 0.0

    async def _wait(self) -> None:
        pause, self.pause = self.pause, 0.0
        await trio.sleep(pause)

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        await self._wait()
        return await super().set(key, value, ttl, replace=replace)

    async def compare_and_set(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        await self._wait()
        return await super().compare_and_set(key, expected, value, ttl)


@pytest.mark.parametrize("overtaken", ["in the handler", "in the store"])
@pytest.mark.parametrize("ends", ["/logout", "/login/bob"])
async def test_an_ended_session_does_not_go_on_elsewhere(ends: str, overtaken: str, autojump_clock: MockClock) -> None:
    """`rotate` in a request that another one has overtaken comes to nothing, even while it is being written."""
    store = Slow()
    sessions = stored(store=store, timeout=10)
    app = site(sessions)
    responses: list[httpx.Response] = []

    @app.post("/slow")
    async def slow(session: Annotated[Session, Depends(sessions)]) -> None:
        session.rotate()
        await trio.sleep(5 if overtaken == "in the handler" else 0)

    async with TestClient(app) as client:

        async def ask() -> None:
            responses.append(await client.post("/slow"))

        await client.post("/login/ann")
        store.pause = 5.0 if overtaken == "in the store" else 0.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            await client.post(ends)
            assert responses == []
        assert (responses[0].status_code, cookies(responses[0])) == (204, [])
        assert len(store) == (0 if ends == "/logout" else 1)


# ---- time


async def test_it_is_over_when_nobody_uses_it(make: Make, mock_clock: MockClock) -> None:
    """`idle` counts from the last look, to a tenth: each that is a tenth later writes it anew."""
    async with TestClient(site(make(idle=100, lifetime=100_000))) as client:
        await client.post("/login/ann")
        value = client.cookies["session"]
        for seconds, written in [(5, False), (4, False), (2, True), (95, True), (95, True)]:
            mock_clock.jump(seconds)
            assert cookies(await client.get("/untouched")) == []
            response = await client.get("/new")
            assert (len(cookies(response)) == 1) == written, seconds
            if written:
                assert "Max-Age=100;" in cookies(response)[0]
                assert response.headers["cache-control"] == "private"
        assert (await client.get("/")).json() == {"user": "ann"}
        mock_clock.jump(101)
        late = (await client.get("/", headers={"cookie": f"session={value}"})).json()
        assert late == {}


@pytest.mark.parametrize("overtaken", ["in the handler", "in the store"])
async def test_a_look_does_not_undo_what_another_request_has_done(overtaken: str, autojump_clock: MockClock) -> None:
    """One that only writes the time anew, and was overtaken by a change or an end, writes nothing, and says nothing."""
    store = Slow()
    sessions = stored(store=store, timeout=10, idle=100)
    app = site(sessions)
    responses: list[httpx.Response] = []

    @app.get("/slow")
    async def slow(session: Annotated[Session, Depends(sessions)]) -> str:
        await trio.sleep(5 if overtaken == "in the handler" else 0)
        user: str = session["user"]
        return user

    async with TestClient(app) as client:

        async def ask() -> None:
            responses.append(await client.get("/slow"))

        await client.post("/login/ann")
        for path, left in [("/set/colour/blue", {"user": "ann", "colour": "blue"}), ("/logout", {})]:
            await trio.sleep(50)
            store.pause = 5.0 if overtaken == "in the store" else 0.0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(1)
                assert len(cookies(await client.post(path))) == 1
            overtook = responses.pop()
            assert (overtook.text, cookies(overtook)) == ("ann", [])
            assert (await client.get("/")).json() == left


async def test_a_look_keeps_what_came_as_it_was(mock_clock: MockClock) -> None:
    """Only its time is new: neither is the order of a set nor are the defaults of new fields written by it."""
    store = MemoryStore()
    sessions = stored(Cart, store=store, idle=100)
    now = int(trio.current_time())
    contents = msgspec.msgpack.encode({"tags": ["c", "b", "a"]})
    identifier = "x" * 43
    await store.set(_key(identifier), Record(now, now, contents).encoded(), 100)
    app = App()

    @app.get("/")
    async def show(session: Annotated[TypedSession[Cart], Depends(sessions)]) -> int:
        return len(session.data.tags)

    async with TestClient(app) as client:
        for _ in range(3):
            mock_clock.jump(60)
            response = await client.get("/", headers={"cookie": f"session={identifier}"})
            assert (response.json(), len(cookies(response))) == (3, 1)
    kept = decoded(await store.get(_key(identifier)) or b"")
    assert kept is not None
    assert (kept.began, kept.used, kept.contents) == (now, now + 180, contents)


async def test_it_is_over_after_its_lifetime(make: Make, mock_clock: MockClock) -> None:
    """However it is used and changed; `rotate` begins anew."""
    async with TestClient(site(make(idle=None, lifetime=100))) as client:
        await client.post("/set/a/1")
        mock_clock.jump(60)
        [cookie] = cookies(await client.post("/set/a/2"))
        assert "Max-Age=40;" in cookie
        await client.post("/login/ann")
        mock_clock.jump(60)
        value = client.cookies["session"]
        assert (await client.get("/", headers={"cookie": f"session={value}"})).json() == {"a": "2", "user": "ann"}
        mock_clock.jump(41)
        assert (await client.get("/", headers={"cookie": f"session={value}"})).json() == {}


class Strict(MemoryStore):
    """As Redis is: it keeps nothing for no time."""

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        assert ttl > 0
        return await super().set(key, value, ttl, replace=replace)

    async def compare_and_set(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        assert ttl > 0
        return await super().compare_and_set(key, expected, value, ttl)


@pytest.mark.parametrize("kind", ["signed", "stored"])
@pytest.mark.parametrize("what", ["change", "look", "stream", "save", "rotate"])
async def test_its_lifetime_may_end_while_a_request_goes_on(what: str, kind: str, serve: Serve) -> None:
    """Then it is over, as if it had been before: nothing is kept, and the browser is told; but `rotate` begins anew."""
    now, store = [1000.5], Strict()
    options: dict[str, Any] = {"clock": lambda: now[0], "lifetime": 20, "idle": 15}
    sessions = stored(store=store, **options) if kind == "stored" else signed(**options)
    app = site(sessions)

    @app.get("/long")
    async def long(session: Annotated[Session, Depends(sessions)]) -> str | Stream:
        if what == "rotate":
            session.rotate()
        elif what != "look":
            session["lost"] = True
        now[0] += 12
        if what == "save":
            await session.save()
        if what != "stream":
            return cast("str", session["user"])

        async def feed(sink: Sink) -> None:
            await sink.send(session["user"])

        return Stream(feed)

    async with serve(app) as client:
        await client.post("/login/ann")
        now[0] += 10
        response = await client.get("/long")
        assert (response.status_code, response.text) == (200, "ann")
        [cookie] = cookies(response)
        assert ("Max-Age=0;" in cookie) == (what != "rotate")
        kept = {"user": "ann"} if what == "rotate" else {}
        assert (await client.get("/")).json() == kept
        if kind == "stored":
            assert len(store) == len(kept)


async def test_a_session_may_last_until_the_browser_is_closed(make: Make) -> None:
    """Without `Max-Age`."""
    async with TestClient(site(make(persistent=False))) as client:
        [cookie] = cookies(await client.post("/login/ann"))
        assert cookie.partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(("ahead", "known"), [(-30, True), (0.5, True), (59, True), (62, False)])
async def test_clocks_of_several_machines_differ(ahead: float, known: bool) -> None:
    """A session of a machine whose clock is a little ahead is good here; one from the future is not."""
    other = site(signed(clock=lambda: 1000 + ahead))
    here = site(signed(clock=lambda: 1000.0))
    async with TestClient(other) as client:
        await client.post("/login/ann")
        value = client.cookies["session"]
    async with TestClient(here) as client:
        answer = (await client.get("/", headers={"cookie": f"session={value}"})).json()
        assert answer == ({"user": "ann"} if known else {})


# ---- keys


async def test_a_secret_can_be_changed() -> None:
    """What the old one has signed is good while it is in the list, and is signed with the new one when it is used."""
    async with TestClient(site(signed(secret=OLD))) as client:
        await client.post("/login/ann")
        value = client.cookies["session"]
    async with TestClient(site(signed(secret=[SECRET, OLD]))) as client:
        response = await client.get("/new", headers={"cookie": f"session={value}"})
        renewed = client.cookies["session"]
        assert cookies(await client.get("/new", headers={"cookie": f"session={renewed}"})) == []
    async with TestClient(site(signed())) as client:
        assert len(cookies(response)) == 1
        assert (await client.get("/", headers={"cookie": f"session={renewed}"})).json() == {"user": "ann"}
        assert (await client.get("/", headers={"cookie": f"session={value}"})).json() == {}


async def test_a_cookie_of_other_sessions_is_nothing_here() -> None:
    """The same secret signs for one name only."""
    async with TestClient(site(signed(name="other"))) as client:
        await client.post("/login/ann")
        value = client.cookies["other"]
    async with TestClient(site(signed())) as client:
        assert (await client.get("/", headers={"cookie": f"session={value}"})).json() == {}


# ---- the cookie


async def test_over_tls_the_cookie_is_secure_and_has_a_prefix(make: Make) -> None:
    """By the scheme of the request, as trusted proxies tell it too; one without the prefix is nothing there."""
    async with TestClient(site(make(), trusted=["127.0.0.1"]), base_url="https://testserver") as client:
        [cookie] = cookies(await client.post("/login/ann"))
        assert cookie.startswith("__Host-session=")
        assert cookie.partition("; ")[2] == f"Max-Age={7 * 86400}; Path=/; Secure; HttpOnly; SameSite=Lax"
        assert (await client.get("/")).json() == {"user": "ann"}
        value = client.cookies["__Host-session"]
        assert (await client.get("/new", headers={"cookie": f"session={value}"})).json() is True
        [removal] = cookies(await client.post("/logout"))
        assert removal.startswith("__Host-session=;")
    async with TestClient(site(make(), trusted=["127.0.0.1"])) as client:
        response = await client.post(
            "/login/ann", headers={"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1"}
        )
        assert cookies(response)[0].startswith("__Host-session=")


@pytest.mark.parametrize(
    ("options", "starts", "ends"),
    [
        ({"secure": True}, "__Host-session=", "Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"secure": False}, "session=", "Path=/; HttpOnly; SameSite=Lax"),
        ({"secure": True, "path": "/shop"}, "__Secure-session=", "Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        ({"path": "/shop"}, "session=", "Path=/shop; HttpOnly; SameSite=Lax"),
        (
            {"secure": True, "domain": "example.com", "samesite": "none", "name": "id"},
            "__Secure-id=",
            "Domain=example.com; Path=/; Secure; HttpOnly; SameSite=None",
        ),
        ({"samesite": "strict"}, "session=", "Path=/; HttpOnly; SameSite=Strict"),
    ],
)
async def test_options_of_the_cookie(options: dict[str, Any], starts: str, ends: str) -> None:
    """The prefix is what the attributes allow."""
    async with TestClient(site(signed(persistent=False, **options))) as client:
        [cookie] = cookies(await client.post("/login/ann"))
        assert cookie.startswith(starts)
        assert cookie.partition("; ")[2] == ends


async def test_of_two_cookies_none_is_believed(make: Make) -> None:
    """One of them may be from a neighbouring host; the same one twice is one."""
    async with TestClient(site(make())) as client:
        await client.post("/login/ann")
        one = client.cookies["session"]
        client.cookies.clear()
        await client.post("/login/eve")
        other = client.cookies["session"]
        client.cookies.clear()
        for field, user in [
            (f"session={one}; session={other}", {}),
            (f"session={one}; session={one}", {"user": "ann"}),
        ]:
            assert (await client.get("/", headers={"cookie": field})).json() == user


# ---- types


class Cart(msgspec.Struct):
    user: int | None = None
    items: list[str] = []
    tags: set[str] = set()


async def test_contents_can_have_a_type(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Read into it, changed in place or as a whole; what does not fit it is an error, before it is kept."""
    sessions = make(Cart)
    app = App()
    current: TypeAlias = Annotated[TypedSession[Cart], Depends(sessions)]

    @app.get("/")
    async def show(session: current) -> Cart:
        return session.data

    @app.post("/items/{item}")
    async def add(item: str, session: current) -> None:
        session.data.items.append(item)
        session.data.tags |= {item, item.upper()}

    @app.post("/reset")
    async def reset(session: current) -> None:
        session.data = Cart(user=7)

    @app.post("/logout")
    async def logout(session: current) -> None:
        session.clear()

    @app.post("/wrong")
    async def wrong(session: current) -> None:
        session.data.user = "ann"  # type: ignore[assignment]

    async with TestClient(app) as client:
        response = await client.post("/wrong")
        assert (response.status_code, cookies(response)) == (500, [])
        assert "does not fit its own type" in caplog.text
        assert (await client.get("/")).json() == {"user": None, "items": [], "tags": []}
        await client.post("/items/tea")
        assert cookies(await client.get("/")) == []
        assert (await client.get("/")).json()["items"] == ["tea"]
        await client.post("/reset")
        assert (await client.get("/")).json() == {"user": 7, "items": [], "tags": []}
        await client.post("/logout")
        assert "session" not in client.cookies


@pytest.mark.parametrize("tags", [["a", "b", "c"], ["c", "b", "a"]])
async def test_a_set_has_no_order(tags: list[str]) -> None:
    """In another process it may have been written in another one: to look at it is no change."""
    now = int(trio.current_time())
    record = Record(now, now, msgspec.msgpack.encode({"user": None, "items": [], "tags": tags}))
    value = await SignedCookies([SECRET], "session", 14).keep(record, 100, None)
    app, sessions = App(), signed(Cart)

    @app.get("/")
    async def show(session: Annotated[TypedSession[Cart], Depends(sessions)]) -> int:
        return len(session.data.tags)

    async with TestClient(app) as client:
        response = await client.get("/", headers={"cookie": f"session={value}"})
        assert (response.json(), cookies(response)) == (3, [])


class OtherCart(msgspec.Struct):
    user: str = ""


async def test_contents_of_another_version_are_a_new_session(caplog: pytest.LogCaptureFixture) -> None:
    """Of a type whose fields were other ones when they were written; the log says so."""
    store = MemoryStore()
    one, other = App(), App()

    @one.post("/")
    async def put(session: Annotated[TypedSession[Cart], Depends(stored(Cart, store=store))]) -> None:
        session.data.user = 7

    @other.get("/")
    async def show(session: Annotated[TypedSession[OtherCart], Depends(stored(OtherCart, store=store))]) -> bool:
        return session.new

    async with TestClient(one) as client:
        await client.post("/")
        value = client.cookies["session"]
    async with TestClient(other) as client:
        assert (await client.get("/", headers={"cookie": f"session={value}"})).json() is True
    assert "does not fit the type" in caplog.text


# ---- bounds, and a store that fails


async def test_a_cookie_that_browsers_would_drop_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """More than 4096 bytes are a 500 whose log has the remedy; just as many go out and come back."""
    app = App()
    sessions = signed()

    @app.post("/{size}")
    async def put(size: int, session: Annotated[Session, Depends(sessions)]) -> int:
        before = len(session.get("x", ""))
        session["x"] = "x" * size
        return before

    async with TestClient(app) as client:
        sizes = [size for size in range(2990, 3020) if (await client.post(f"/{size}")).status_code == 200]
        assert sizes == list(range(2990, sizes[-1] + 1))
        assert sizes[-1] < 3019
        assert 4093 <= len(client.cookies["session"]) + len("__Host-session") <= 4096  # it shall fit over TLS too
        assert (await client.post("/1")).json() == sizes[-1]
    assert "Sessions(store=MemoryStore())" in caplog.text


class Broken:
    """Fails, or does not answer, when told."""

    def __init__(self) -> None:
        self.kept = MemoryStore()
        self.mode = ""

    async def _fail(self) -> None:
        if self.mode == "raises":
            raise OSError("no route to host")
        if self.mode == "hangs":
            await trio.sleep_forever()

    async def get(self, key: str) -> bytes | None:
        await self._fail()
        return await self.kept.get(key)

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        await self._fail()
        return await self.kept.set(key, value, ttl, replace=replace)

    async def compare_and_set(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        await self._fail()
        return await self.kept.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> bool:
        await self._fail()
        return await self.kept.delete(key)


@pytest.mark.parametrize("mode", ["raises", "hangs"])
async def test_a_store_that_fails_is_a_503(
    mode: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """When it is read and when it is written, within `timeout`; who has no cookie and changes nothing is served."""
    caplog.set_level(logging.INFO, "trivet")
    broken = Broken()
    store: SessionStore = broken
    async with TestClient(site(stored(store=store, timeout=2))) as client:
        await client.post("/login/ann")
        broken.mode = mode
        start = trio.current_time()
        response = await client.get("/")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert trio.current_time() - start == pytest.approx(2 if mode == "hangs" else 0)
        broken.mode = ""
        assert (await client.get("/")).json() == {"user": "ann"}
        client.cookies.clear()
        await trio.sleep(QUIET)
        broken.mode = mode
        assert (await client.get("/")).status_code == 200
        for _ in range(2):
            response = await client.post("/set/a/1")
            assert (response.status_code, cookies(response)) == (503, [])
        broken.mode = ""
        await client.get("/new", headers={"cookie": f"session={'x' * 43}"})
    told = [record for record in caplog.records if record.name == "trivet.contrib.sessions"]
    why = {"raises": "no route to host", "hangs": "it took too long"}[mode]
    failed = f"the store of sessions failed; until it works again requests get 503: {why}"
    works = "the store of sessions works again;"
    assert [(record.levelname, record.getMessage()) for record in told] == [
        ("WARNING", failed),
        ("INFO", f"{works} 1 requests got 503"),
        ("WARNING", failed),
        ("INFO", f"{works} 2 requests got 503"),
    ]
    assert bool(told[0].exc_info) == (mode == "raises")


class Connected(Broken):
    """A store with a connection, which the application opens."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        self.log.append("open")
        yield
        self.log.append("closed")

    async def get(self, key: str) -> bytes | None:
        self.log.append("asked")
        if self.mode == "away":
            raise Away
        return await super().get(key)


class Away(Exception):
    retry_after = 2.5


async def test_a_store_is_connected_with_the_application() -> None:
    """Its `connected` is an app-scoped dependency; what it says of the time to wait, clients are told."""
    store = Connected()
    app = site(stored(store=store))
    async with TestClient(app) as client:
        assert store.log == ["open"]
        await client.post("/login/ann")
        assert (await client.get("/")).json() == {"user": "ann"}
        store.mode = "away"
        response = await client.get("/")
        assert (response.status_code, response.headers["retry-after"]) == (503, "3")
        assert store.log == ["open", "asked", "asked"]
    assert store.log[-1] == "closed"


async def test_others_cookies_stay_beside_ours(make: Make) -> None:
    """Saving twice replaces our own `Set-Cookie`, and no other."""
    app, sessions = App(), make()

    @app.post("/")
    async def put(request: Request, session: Annotated[Session, Depends(sessions)]) -> None:
        session["a"] = 1
        await session.save()
        request.response_headers.add("set-cookie", "other=1")
        session["a"] = 2

    async with TestClient(app) as client:
        names = [cookie.partition("=")[0] for cookie in cookies(await client.post("/"))]
        assert sorted(names) == ["other", "session"]


async def test_a_session_can_be_overridden_in_a_test() -> None:
    """One that is made by hand keeps nothing."""
    sessions = signed()
    app = site(sessions)

    async def pretended() -> Session:
        return Session({"user": "ann"})

    with app.override(sessions, pretended):
        async with TestClient(app) as client:
            assert (await client.get("/")).json() == {"user": "ann"}
            assert (await client.get("/new")).json() is True
            for path in ("/login/bob", "/logout", "/saves"):
                assert cookies(await client.post(path)) == []


async def test_nothing_of_a_session_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its repr has none of its contents."""
    session = Session({"password": "hunter2"})
    assert repr(session) == "<Session>"
    logging.getLogger("x").warning("%s", session)
    assert "hunter2" not in caplog.text
