"""Dependencies: how long each is held, app-scoped ones, callable objects, headers they add, and overrides."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
import trio
import trio.testing

from trivet import App, Depends, Form, Header, HTTPError, Query, Request, Router, Sink, Stream
from trivet._describe import Description, description_of
from trivet.errors import RegistrationError
from trivet.testing import TestClient
from trivet.testing._lifespan import LifespanFailed

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


class Item(msgspec.Struct):
    name: str = ""


# ---- how long


def scoped(log: list[str]) -> App:
    app = App()

    def made(name: str, *, fails: bool = False) -> Any:
        @asynccontextmanager
        async def provider() -> AsyncIterator[str]:
            log.append(f"{name} in")
            try:
                yield name
            except BaseException as error:
                log.append(f"{name} saw {type(error).__name__}")
                raise
            finally:
                log.append(f"{name} out")
            if fails:
                raise HTTPError(409, "could not commit")

        return provider

    request, handler, commit = made("request"), made("handler"), made("commit", fails=True)

    @app.get("/stream")
    async def stream(
        h: Annotated[str, Depends(handler, scope="handler")], r: Annotated[str, Depends(request)]
    ) -> Stream:
        async def feed(sink: Sink) -> None:
            log.append("fed")
            await sink.send("x")

        log.append("handled")
        return Stream(feed)

    @app.get("/whole")
    async def whole(h: Annotated[str, Depends(handler, scope="handler")], r: Annotated[str, Depends(request)]) -> str:
        log.append("handled")
        return ""

    @app.get("/fails")
    async def fails(h: Annotated[str, Depends(handler, scope="handler")], r: Annotated[str, Depends(request)]) -> str:
        raise HTTPError(404)

    @app.get("/commit-before-stream")
    async def commit_before(
        c: Annotated[str, Depends(commit, scope="handler")], r: Annotated[str, Depends(request)]
    ) -> Stream:
        async def feed(sink: Sink) -> None:
            log.append("fed")

        return Stream(feed)

    @app.get("/commit")
    async def committed(c: Annotated[str, Depends(commit)]) -> str:
        return "never seen"

    @app.post("/order")
    async def order(
        item: Item, h: Annotated[str, Depends(handler, scope="handler")], r: Annotated[str, Depends(request)]
    ) -> str:
        return ""

    return app


@both_servers
@pytest.mark.parametrize(
    ("path", "status", "events"),
    [
        ("/stream", 200, ["request in", "handler in", "handled", "handler out", "fed", "request out"]),
        ("/whole", 200, ["request in", "handler in", "handled", "handler out", "request out"]),
        (
            "/fails",
            404,
            [
                "request in",
                "handler in",
                "handler saw HTTPError",
                "handler out",
                "request saw HTTPError",
                "request out",
            ],
        ),
        (
            "/commit-before-stream",
            409,
            ["request in", "commit in", "commit out", "request saw HTTPError", "request out"],
        ),
        ("/commit", 409, ["commit in", "commit out"]),
    ],
)
async def test_a_dependency_of_the_handlers_scope_leaves_before_the_stream(
    link: bool, path: str, status: int, events: list[str]
) -> None:
    """It is entered last whatever the order of parameters; its failure is the answer, and no chunk was sent."""
    log: list[str] = []
    async with TestClient(scoped(log), link=link) as client:
        assert (await client.get(path)).status_code == status
    assert log == events


async def test_what_is_no_context_manager_is_held_by_nobody() -> None:
    """So a plain function of the handler's scope runs where it would: authentication comes before the body."""
    app = App()

    async def user(authorization: Annotated[str | None, Header()] = None) -> str:
        if authorization is None:
            raise HTTPError(401)
        return authorization

    @app.post("/")
    async def handler(item: Item, user: Annotated[str, Depends(user, scope="handler")]) -> str:
        return user

    async with TestClient(app) as client:
        assert (await client.post("/", content=b"rubbish")).status_code == 401
        assert (await client.post("/", json={}, headers={"authorization": "me"})).text == "me"


# ---- the application's scope


def pooled(log: list[str]) -> App:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        log.append("lifespan in")
        yield
        log.append("lifespan out")

    app = App(lifespan=lifespan)

    async def settings() -> dict[str, int]:
        log.append("settings")
        return {"size": 3}

    @asynccontextmanager
    async def pool(settings: Annotated[dict[str, int], Depends(settings, scope="app")]) -> AsyncIterator[list[int]]:
        log.append("pool in")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield list(range(settings["size"]))
            nursery.cancel_scope.cancel()
        log.append("pool out")

    @contextmanager
    def threaded(pool: Annotated[list[int], Depends(pool, scope="app")]) -> Iterator[str]:
        main = threading.current_thread() is threading.main_thread()
        log.append(f"threaded in {main}")
        yield f"threaded {len(pool)}"
        log.append("threaded out")

    @asynccontextmanager
    async def session(pool: Annotated[list[int], Depends(pool, scope="app")]) -> AsyncIterator[int]:
        number = pool.pop()
        yield number
        pool.append(number)

    @app.get("/")
    async def handler(
        session: Annotated[int, Depends(session)],
        t: Annotated[str, Depends(threaded, scope="app")],
        pool: Annotated[list[int], Depends(pool, scope="app")],
    ) -> str:
        return f"{session} {t} {pool}"

    @app.get("/immediate")
    async def immediate(settings: Annotated[dict[str, int], Depends(settings, scope="app")]) -> int:
        return settings["size"]

    return app


@both_servers
async def test_app_scoped_dependencies_are_entered_once_at_startup(link: bool) -> None:
    """After the lifespan, in order of need, whatever asks for them; left in reverse; again at the next start."""
    log: list[str] = []
    app = pooled(log)
    for _ in range(2):
        log.clear()
        async with TestClient(app, link=link) as client:
            entered = ["lifespan in", "settings", "pool in", "threaded in False"]
            assert log == entered
            for _ in range(2):
                assert (await client.get("/")).text == "2 threaded 3 [0, 1]"
                assert (await client.get("/immediate")).json() == 3
        assert log == [*entered, "threaded out", "pool out", "lifespan out"]


async def test_an_app_scoped_dependency_that_fails_fails_the_startup() -> None:
    """What was entered before is left again."""
    log: list[str] = []
    app = App()

    @asynccontextmanager
    async def first() -> AsyncIterator[None]:
        yield
        log.append("first out")

    async def second(first: Annotated[None, Depends(first, scope="app")]) -> None:
        raise OSError("no database")

    @app.get("/", dependencies=[Depends(second, scope="app")])
    async def handler() -> None: ...

    with pytest.raises(LifespanFailed, match="no database"):
        async with TestClient(app):
            pass
    assert log == []  # `first` saw the error at its yield


async def test_without_a_lifespan_an_app_scoped_value_is_an_error_that_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """500, and the log names the dependency."""
    app = pooled([])
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await trio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/immediate", "headers": [], "http_version": "1.1"}
    await app(scope, receive, send)
    assert sent[0]["status"] == 500
    assert "has not been entered: this server runs no ASGI lifespan" in caplog.text


# ---- callable objects, and what they say of themselves


@dataclass(frozen=True)
class Limit:
    most: int

    async def __call__(self, request: Request, n: Annotated[int, Query()] = 0) -> int:
        request.response_headers["ratelimit-remaining"] = str(self.most - n)
        request.response_headers["content-length"] = "7"
        request.response_headers.add("set-cookie", "seen=1")
        if n > self.most:
            raise HTTPError(429)
        return n

    def describe(self) -> Description:
        return Description(responses={429: "Too many."})


def limited() -> App:
    app = App()

    @app.get("/")
    async def handler(a: Annotated[int, Depends(Limit(3))], b: Annotated[int, Depends(Limit(3))]) -> int:
        return a + b

    @app.get("/own", dependencies=[Depends(Limit(3))])
    async def own() -> tuple[int, str, dict[str, str]]:
        return 200, "", {"ratelimit-remaining": "mine", "set-cookie": "own=1"}

    @app.get("/stream", dependencies=[Depends(Limit(3))])
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("12345")

        return Stream(feed)

    return app


@both_servers
async def test_an_instance_provides_and_adds_headers_to_any_response(link: bool) -> None:
    """Equal instances run once; an error has the headers too; a response's own word wins, its framing above all."""
    async with TestClient(limited(), link=link) as client:
        for path, status, remaining in (("/?n=2", 200, "1"), ("/?n=4", 429, "-1"), ("/stream", 200, "3")):
            response = await client.get(path)
            assert (response.status_code, response.headers["ratelimit-remaining"]) == (status, remaining)
            assert response.headers.get_list("set-cookie") == ["seen=1"]
            assert response.headers.get("content-length", "0") != "7"
        response = await client.get("/own")
        assert response.headers.get_list("ratelimit-remaining") == ["mine"]
        assert sorted(response.headers.get_list("set-cookie")) == ["own=1", "seen=1"]


def test_what_a_provider_says_of_itself_is_found() -> None:
    """By its `describe`; a class, a function and a wrong one are told apart."""
    found = description_of(Limit(1))
    assert found is not None
    assert found.responses == {429: "Too many."}
    assert description_of(Limit) is None
    assert description_of(limited) is None

    class Wrong:
        def describe(self) -> str:
            return ""

    with pytest.raises(RegistrationError, match="gave str, not a Description"):
        description_of(Wrong())


# ---- overrides


def database_app() -> tuple[App, Any, Any]:
    app, router = App(), Router()

    async def database(q: str = "real") -> str:
        return q

    async def repository(db: Annotated[str, Depends(database)]) -> str:
        return f"repository of {db}"

    @router.get("/{key}", dependencies=[Depends(database)])
    async def handler(key: int, repo: Annotated[str, Depends(repository)]) -> str:
        return f"{key} {repo}"

    app.mount("/items", router)
    return app, database, repository


async def test_an_override_is_in_force_at_once_and_can_be_taken_back() -> None:
    """Before the start and while the application serves; it is any kind of provider, with parameters of its own."""
    app, database, repository = database_app()

    @asynccontextmanager
    async def fake(x_db: Annotated[str, Header()] = "fake") -> AsyncIterator[str]:
        yield x_db

    before = app.override(repository, lambda: "nothing")
    async with TestClient(app) as client:

        async def get(**headers: str) -> str:
            return (await client.get("/items/1", headers=headers)).text

        assert await get() == "1 nothing"
        before.undo()
        before.undo()
        assert await get() == "1 repository of real"
        with app.override(database, fake):
            assert await get() == "1 repository of fake"
            assert await get(**{"x-db": "other"}) == "1 repository of other"
            with app.override(database, lambda: "inner"):
                assert await get() == "1 repository of inner"
            assert await get() == "1 repository of fake"
        assert await get() == "1 repository of real"


async def test_an_app_scoped_provider_is_overridden_before_the_start() -> None:
    """What only it needed is not entered."""
    log: list[str] = []
    app = App()

    async def settings() -> int:
        log.append("settings")
        return 1

    async def pool(n: Annotated[int, Depends(settings, scope="app")]) -> int:
        return n

    async def fake() -> int:
        return 7

    @app.get("/")
    async def handler(pool: Annotated[int, Depends(pool, scope="app")]) -> int:
        return pool

    with app.override(pool, fake):
        async with TestClient(app) as client:
            assert (await client.get("/")).json() == 7
            with pytest.raises(RegistrationError, match="Override it before the application starts"):
                app.override(pool, fake)
    assert log == []
    async with TestClient(app) as client:
        assert (await client.get("/")).json() == 1
    app.override(pool, fake)  # it has stopped: the value is gone
    async with TestClient(app) as client:
        assert (await client.get("/")).json() == 7


async def test_a_replacement_that_cannot_be_leaves_everything_as_it_was() -> None:
    """One route of two compiles, the other does not: neither is changed."""
    app, database, _ = database_app()

    @app.post("/form")
    async def form(name: Annotated[str, Form()], db: Annotated[str, Depends(database)]) -> str:
        return db

    async def reads_json(item: Item) -> str:
        return item.name

    with pytest.raises(RegistrationError, match="wants the body"):
        app.override(database, reads_json)

    @app.get("/later")
    async def later(db: Annotated[str, Depends(database)]) -> str:
        return db

    async with TestClient(app) as client:
        assert (await client.get("/items/1")).text == "1 repository of real"
        assert (await client.post("/form", data={"name": "x"})).text == "real"
        assert (await client.get("/later")).text == "real"


async def test_a_route_that_is_registered_later_is_overridden_too() -> None:
    """The override says what the provider is, not which routes there are."""
    app, database, _ = database_app()
    with app.override(database, lambda: "fake"):

        @app.get("/later")
        async def later(db: Annotated[str, Depends(database)]) -> str:
            return db

        async with TestClient(app) as client:
            assert (await client.get("/later")).text == "fake"


async def test_a_provider_of_two_scopes_is_overridden_in_both() -> None:
    """Made once for one route and for each request for another, it is replaced in both, or in neither."""
    app = App()

    def real() -> str:
        return "real"

    def of_the_request(request: Request) -> str:
        return request.path

    @app.get("/app")
    async def of_app(value: Annotated[str, Depends(real, scope="app")]) -> str:
        return value

    @app.get("/request")
    async def of_request(value: Annotated[str, Depends(real)]) -> str:
        return value

    async def both() -> list[str]:
        async with TestClient(app) as client:
            return [(await client.get(path)).text for path in ("/app", "/request")]

    with app.override(real, lambda: "fake"):
        assert await both() == ["fake", "fake"]
    with pytest.raises(RegistrationError, match="of an app-scoped provider needs a request"):
        app.override(real, of_the_request)
    assert await both() == ["real", "real"]
    async with TestClient(app):
        with pytest.raises(RegistrationError, match="in use already"):
            app.override(real, lambda: "fake")


@pytest.mark.parametrize("scope", ["request", "app"])
@pytest.mark.parametrize(
    ("order", "seen"),
    [
        ("abc", ["c", "c", "real"]),
        ("cba", ["b", "a", "real"]),
        ("bac", ["c", "c", "real"]),
        ("cab", ["b", "b", "real"]),
    ],
)
async def test_overrides_are_taken_back_in_any_order(
    scope: Literal["request", "app"], order: str, seen: list[str]
) -> None:
    """The last of those that are left is in force, and in the end the original."""
    app = App()

    def real() -> str:
        return "real"

    @app.get("/")
    async def handler(value: Annotated[str, Depends(real, scope=scope)]) -> str:
        return value

    async def in_force() -> str:
        async with TestClient(app) as client:
            return (await client.get("/")).text

    overrides = {"a": app.override(real, lambda: "a"), "b": app.override(real, lambda: "b")}
    overrides["c"] = app.override(real, lambda: "c")
    assert await in_force() == "c"
    found: list[str] = []
    for name in order:
        overrides[name].undo()
        found.append(await in_force())
    assert found == seen


async def test_what_a_replacement_needs_is_entered_at_startup() -> None:
    """Later is too late: it is refused, and all stays as it was; so is an end that needs what was not entered."""
    app = App()

    def settings() -> str:
        return "settings"

    def needs_settings(settings: Annotated[str, Depends(settings, scope="app")]) -> str:
        return settings

    def user() -> str:
        return "user"

    @app.get("/user")
    async def as_user(user: Annotated[str, Depends(user)]) -> str:
        return user

    async with TestClient(app) as client:
        with pytest.raises(RegistrationError, match="by nothing else when the application started"):
            app.override(user, needs_settings)
        assert (await client.get("/user")).text == "user"
    outer, inner = app.override(user, needs_settings), app.override(user, lambda: "inner")
    async with TestClient(app) as client:
        assert (await client.get("/user")).text == "inner"
        with pytest.raises(RegistrationError, match="Take the override back when the application has stopped"):
            inner.undo()
        assert (await client.get("/user")).text == "inner"
        outer.undo()
        inner.undo()
        assert (await client.get("/user")).text == "user"


@pytest.mark.parametrize("scope", ["request", "app"])
async def test_a_replacement_may_need_what_it_replaces(scope: Literal["request", "app"]) -> None:
    """A spy: it is given the original's value, whatever else is in force; what would need the spy is a circle."""
    app = App()

    def real() -> list[str]:
        return ["real"]

    def spy(value: Annotated[list[str], Depends(real, scope=scope)]) -> list[str]:
        return [*value, "seen"]

    def between(value: Annotated[list[str], Depends(real, scope=scope)]) -> list[str]:
        return value

    def far(value: Annotated[list[str], Depends(between, scope=scope)]) -> list[str]:
        return value

    @app.get("/")
    async def handler(
        value: Annotated[list[str], Depends(real, scope=scope)], same: Annotated[list[str], Depends(real, scope=scope)]
    ) -> list[str]:
        assert value is same
        return value

    with app.override(real, lambda: ["fake"]), app.override(real, spy):
        async with TestClient(app) as client:
            assert (await client.get("/")).json() == ["real", "seen"]
    with pytest.raises(RegistrationError, match="in a circle"):
        app.override(real, far)
    async with TestClient(app) as client:
        assert (await client.get("/")).json() == ["real"]


async def test_an_app_scoped_provider_that_comes_later_is_overridden_too() -> None:
    """Like one of a request: the override says what the provider is."""
    app = App()

    def real() -> str:
        return "real"

    @app.get("/")
    async def first(value: Annotated[str, Depends(real)]) -> str:
        return value

    with app.override(real, lambda: "fake"):

        @app.get("/later")
        async def later(value: Annotated[str, Depends(real, scope="app")]) -> str:
            return value

        async with TestClient(app) as client:
            assert (await client.get("/later")).text == "fake"
