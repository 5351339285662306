"""`limit=`: who runs, who waits, who is turned away, and that no place is ever lost."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, sampled_from, tuples
from trio.testing import MockClock

from tests.harness import Serve
from trivet import (
    App,
    Depends,
    File,
    HTTPError,
    Limit,
    Next,
    Request,
    RequestCancelled,
    Response,
    Router,
    Sink,
    Stream,
    Text,
    WebSocket,
)
from trivet._immediate import is_immediate
from trivet.errors import RegistrationError, WebSocketClosed
from trivet.testing import TestClient, WebSocketRefused


class Site:
    """An application whose handlers sleep, and what became of its requests."""

    def __init__(self, *limits: Limit, **options: Any) -> None:
        outer, *inner = limits
        self.app = App(limit=outer, **options)
        self.limits = limits
        self.ran: list[str] = []
        self.ended: dict[str, str | None] = {}

        async def watching(request: Request, call_next: Next) -> Response:
            response = await call_next(request)
            self.ended[request.query.get("n", "")] = request.ended
            return response

        self.app.middleware(watching)
        extra: dict[str, Any] = {"limit": inner[0]} if inner else {}

        @self.app.get("/sleep/{seconds}", **extra)
        @self.app.post("/sleep/{seconds}", **extra)
        async def sleep(seconds: float, n: str = "") -> str:
            self.ran.append(n)
            await trio.sleep(seconds)
            return f"slept {n}"

    def counts(self) -> list[tuple[int, int, int]]:
        return [(each.running, each.waiting, each.shed) for each in self.limits]


async def ask(client: TestClient, answers: dict[str, tuple[float, int]], path: str, n: str, **options: Any) -> None:
    """Ask, and note when the answer came, and its status."""
    response = await client.get(f"{path}?n={n}", **options)
    answers[n] = (trio.current_time(), response.status_code)


async def test_who_comes_first_is_served_first(autojump_clock: MockClock) -> None:
    """Two run, two wait for their turn, the fifth is turned away at once."""
    site = Site(Limit(2, queue=2))
    answers: dict[str, tuple[float, int]] = {}
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        start = trio.current_time()
        for n, path in zip("abcde", ["/sleep/1", "/sleep/1.5", "/sleep/1", "/sleep/1", "/sleep/1"], strict=True):
            nursery.start_soon(ask, client, answers, path, n)
            await trio.testing.wait_all_tasks_blocked()
        assert site.counts() == [(2, 2, 1)]
        assert site.ran == ["a", "b"]
    assert site.ran == ["a", "b", "c", "d"]
    assert {n: (when - start, status) for n, (when, status) in answers.items()} == {
        "a": (1, 200), "b": (1.5, 200), "c": (2, 200), "d": (2.5, 200), "e": (0, 503),
    }  # fmt: skip
    assert site.ended["e"] == "shed"
    assert site.counts() == [(0, 0, 1)]


async def test_the_answer_says_when_to_come_back(autojump_clock: MockClock) -> None:
    """A problem with `Retry-After` in whole seconds: here after the one that runs and the one that waits."""
    site = Site(Limit(1, queue=1))
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        assert (await client.get("/sleep/1.2")).status_code == 200
        nursery.start_soon(client.get, "/sleep/1.2")
        nursery.start_soon(client.get, "/sleep/1.2")
        await trio.testing.wait_all_tasks_blocked()
        response = await client.get("/sleep/1.2")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "The server is busy."


async def test_the_wait_is_bounded(autojump_clock: MockClock) -> None:
    """After `wait` seconds the request is turned away, and its place in the queue is free."""
    site = Site(Limit(1, queue=1, wait=2))
    answers: dict[str, tuple[float, int]] = {}
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(ask, client, answers, "/sleep/5", "a")
        await trio.testing.wait_all_tasks_blocked()
        await ask(client, answers, "/sleep/5", "b")
        assert (answers["b"][0] - start, answers["b"][1]) == (2, 503)
        assert (site.counts(), site.ran, site.ended["b"]) == ([(1, 0, 1)], ["a"], "shed")


async def test_the_wait_counts_against_the_timeout(autojump_clock: MockClock) -> None:
    """What waited for three of four seconds has one left; what waited for all of its time was turned away."""
    site = Site(Limit(1, queue=3), timeout=4, trusted=["127.0.0.1"])
    answers: dict[str, tuple[float, int]] = {}
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        start = trio.current_time()
        for n in "ab":
            nursery.start_soon(ask, client, answers, "/sleep/3", n)
            await trio.testing.wait_all_tasks_blocked()
        await ask(client, answers, "/sleep/3", "c", headers={"x-request-timeout-ms": "500"})
        nursery.start_soon(ask, client, answers, "/sleep/3", "d")
    assert {n: (when - start, status) for n, (when, status) in answers.items()} == {
        "a": (3, 200), "b": (4, 503), "c": (0.5, 503), "d": (4.5, 503),
    }  # fmt: skip
    assert site.ran == ["a", "b", "d"]
    assert site.ended == {"a": None, "b": "deadline", "c": "shed", "d": "deadline"}


async def test_who_has_no_time_to_wait_is_turned_away_at_once(autojump_clock: MockClock) -> None:
    """A place is free every three seconds by experience; two are left."""
    site = Site(Limit(1, queue=5), trusted=["127.0.0.1"])
    answers: dict[str, tuple[float, int]] = {}
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        assert (await client.get("/sleep/3")).status_code == 200
        nursery.start_soon(client.get, "/sleep/3")
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await ask(client, answers, "/sleep/0", "late", headers={"x-request-timeout-ms": "2000"})
        await ask(client, answers, "/sleep/0", "patient", headers={"x-request-timeout-ms": "4000"})
    assert {n: (when - start, status) for n, (when, status) in answers.items()} == {
        "late": (0, 503), "patient": (3, 200),
    }  # fmt: skip
    assert site.ended["late"] == "shed"


async def test_who_comes_shortly_before_a_place_is_free_waits_for_it(autojump_clock: MockClock) -> None:
    """By experience it is free every three seconds. It was taken two and a half ago, so one second is enough."""
    site = Site(Limit(1, queue=5), Limit(1, queue=5, wait=1), trusted=["127.0.0.1"])
    answers: dict[str, tuple[float, int]] = {}
    async with TestClient(site.app) as client:
        assert (await client.get("/sleep/3")).status_code == 200
        for headers in ({"x-request-timeout-ms": "1000"}, {}):  # a deadline of the request, and `wait` of the limit
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, "/sleep/3")
                await trio.sleep(2.5)
                start = trio.current_time()
                await ask(client, answers, "/sleep/0", "late", headers=headers)
            assert (answers["late"][0] - start, answers["late"][1]) == (0.5, 200)
        assert site.counts() == [(0, 0, 0), (0, 0, 0)]


async def test_the_wait_is_waited_whatever_the_estimate_says(autojump_clock: MockClock) -> None:
    """Those before were slow, who has the place is quick: it is had within `wait`."""
    site = Site(Limit(1, queue=5, wait=1))
    answers: dict[str, tuple[float, int]] = {}
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        assert (await client.get("/sleep/3")).status_code == 200
        nursery.start_soon(client.get, "/sleep/0.5")
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await ask(client, answers, "/sleep/0", "lucky")
        assert (answers["lucky"][0] - start, answers["lucky"][1]) == (0.5, 200)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_frees_its_place_in_the_queue(autojump_clock: MockClock, method: str) -> None:
    """At once, whatever the method: nothing of it has begun that could be finished."""
    site = Site(Limit(1, queue=1))
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep/5?n=a")
        await trio.testing.wait_all_tasks_blocked()
        async with client.open(method, "/sleep/5?n=b") as exchange:
            await trio.testing.wait_all_tasks_blocked()
            assert site.counts() == [(1, 1, 0)]
            exchange.leave()
            await trio.testing.wait_all_tasks_blocked()
            assert site.counts() == [(1, 0, 0)]
        nursery.start_soon(client.get, "/sleep/5?n=c")
    assert site.ran == ["a", "c"]
    assert site.ended["b"] == "disconnected"
    assert site.counts() == [(0, 0, 0)]


async def test_a_post_that_has_begun_is_finished_although_it_waited(autojump_clock: MockClock) -> None:
    """That it would have ended with its client is over when it has its place."""
    site = Site(Limit(1, queue=1))
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep/1?n=a")
        await trio.testing.wait_all_tasks_blocked()
        async with client.open("POST", "/sleep/5?n=b") as exchange:
            await trio.sleep(2)
            exchange.leave()
        await trio.sleep(10)
    assert site.ended == {"a": None, "b": None}
    assert site.counts() == [(0, 0, 0)]


async def test_a_body_waits_with_its_request(serve: Serve) -> None:
    """Under every server: it is whole when its request has its turn; who leaves meanwhile is out of the queue."""
    limit, go = Limit(1, queue=2), trio.Event()
    app = App(limit=limit)
    bodies: list[bytes] = []

    @app.post("/")
    async def upload(request: Request) -> str:
        await go.wait()
        bodies.append(await request.body())
        return "read"

    async with serve(app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(partial(client.post, "/", content=b"a" * 20_000))
        await until(lambda: limit.running == 1)
        nursery.start_soon(partial(client.post, "/", content=b"b" * 100_000))
        await until(lambda: limit.waiting == 1)
        async with client.open("POST", "/", content=b"c") as exchange:
            await until(lambda: limit.waiting == 2)
            assert (await client.post("/", content=b"d")).status_code == 503
            exchange.leave()
            await until(lambda: limit.waiting == 1)
        go.set()
    assert bodies == [b"a" * 20_000, b"b" * 100_000]
    assert (limit.running, limit.waiting, limit.shed) == (0, 0, 1)


async def until(true: Callable[[], bool]) -> None:
    """Wait for a count, which sets no event."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.005)


# ---- several limits


async def test_the_outer_limit_is_taken_first(autojump_clock: MockClock) -> None:
    """Who waits for the inner one has a place of the outer one; both are given back."""
    site = Site(Limit(3, queue=1), Limit(1, queue=5))
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        for n in "abcd":
            nursery.start_soon(client.get, f"/sleep/1?n={n}")
            await trio.testing.wait_all_tasks_blocked()
        assert site.counts() == [(3, 1, 0), (1, 2, 0)]
        assert (await client.get("/sleep/1?n=e")).status_code == 503
        assert site.counts() == [(3, 1, 1), (1, 2, 0)]
    assert site.ran == list("abcd")
    assert site.counts() == [(0, 0, 1), (0, 0, 0)]


async def test_who_is_turned_away_by_the_inner_limit_gives_the_outer_one_back(autojump_clock: MockClock) -> None:
    """At once, before a catcher makes a page of it, and for good."""
    site = Site(Limit(2), Limit(1))
    during: list[tuple[int, int]] = []

    @site.app.catch(503)
    async def page(request: Request, error: HTTPError) -> Response:
        during.append(site.counts()[0][:2])
        return Text("busy", status=503)

    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep/1")
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/sleep/1")).status_code == 503
        assert site.counts() == [(1, 0, 0), (1, 0, 1)]
    assert during == [(1, 0)]
    assert site.counts() == [(0, 0, 0), (0, 0, 1)]


async def test_one_object_is_one_limit(autojump_clock: MockClock) -> None:
    """On several routes it is shared; at two levels of one route it counts once."""
    limit = Limit(1)
    app, api = App(), Router(limit=limit)

    @app.get("/a", limit=limit)
    async def a() -> None:
        await trio.sleep(1)

    @api.get("/b", limit=limit)
    async def b() -> None:
        await trio.sleep(1)

    app.mount("/api", api)
    async with TestClient(app) as client, trio.open_nursery() as nursery:
        assert (await client.get("/api/b")).status_code == 204
        nursery.start_soon(client.get, "/a")
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/api/b")).status_code == 503


async def test_what_is_without_a_limit_is_answered_when_those_further_out_are_full(serve: Serve) -> None:
    """`limit=None` of a router or a route takes it out of them; a limit further in counts, as it does elsewhere."""
    outer, inner, done = Limit(1), Limit(1), trio.Event()
    app, open_to_all = App(limit=outer), Router(limit=None)

    @app.get("/work")
    @app.get("/spared", limit=None)
    @open_to_all.get("/spared")
    @open_to_all.get("/work", limit=inner)
    async def work() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    @app.get("/long")
    @open_to_all.get("/long", limit=inner)
    async def long() -> None:
        await done.wait()

    app.mount("/open", open_to_all)
    async with serve(app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/long")
        await until(lambda: outer.running == 1)
        statuses = [(await client.get(path)).status_code for path in ("/work", "/spared", "/open/spared", "/open/work")]
        assert statuses == [503, 200, 200, 200]
        nursery.start_soon(client.get, "/open/long")
        await until(lambda: inner.running == 1)
        assert [(await client.get(path)).status_code for path in ("/open/work", "/open/spared")] == [503, 200]
        done.set()
    assert (outer.shed, inner.shed) == (1, 1)


async def feed_x(sink: Sink) -> None:
    await sink.send("x")


FEED = partial(feed_x)
"""A function that a handler names could wait, for all that is known of it; a value could not."""


async def streams_at_once() -> Stream:
    return Stream(FEED)


async def sends_at_once() -> File:
    return File(__file__)


async def streams_later() -> Stream:
    await trio.lowlevel.checkpoint()
    return Stream(FEED)


async def sends_later() -> File:
    await trio.lowlevel.checkpoint()
    return File(__file__)


@pytest.mark.parametrize("around", [False, True], ids=["bare", "middleware"])
async def test_an_adaptive_limit_learns_from_whatever_is_returned(serve: Serve, around: bool) -> None:
    """From a stream or a file of a handler that does not wait, too; the answer of a file is ready when it is open."""
    app = App()
    files: list[Callable[[], Any]] = [sends_at_once, sends_later]
    streams: list[Callable[[], Any]] = [streams_at_once, streams_later]
    assert [is_immediate(each) for each in (*files, *streams)] == [True, False] * 2
    in_time = [(each, Limit.adaptive(30, initial=1)) for each in (*files, *streams)]
    late = [(each, Limit.adaptive(1e-9, initial=20)) for each in files]
    for number, (handler, limit) in enumerate(in_time + late):
        app.get(f"/{number}", limit=limit)(handler)

    async def passing(request: Request, call_next: Next) -> Response:
        return await call_next(request)

    if around:
        app.middleware(passing)
    async with serve(app) as client:
        for number in range(len(in_time + late)):
            for _ in range(10):
                assert (await client.get(f"/{number}")).status_code == 200
    assert [limit.concurrent for _, limit in in_time] == [2] * 4
    assert all(limit.concurrent < 20 for _, limit in late)


async def test_limits_that_could_wait_for_each_other_are_refused_at_the_start() -> None:
    """Which of them is the outer one has to be the same everywhere."""
    one, two = Limit(1, queue=1), Limit(1, queue=1)
    app = App()
    for prefix, outer, inner in (("/x", one, two), ("/y", two, one)):
        router = Router(limit=outer)

        @router.get("/", limit=inner)
        async def handler() -> None:
            await trio.sleep(1)

        app.mount(prefix, router)
    with pytest.raises(RegistrationError, match=r"the limits of '/[xy]/', '/[xy]/' are taken in different orders"):
        app.__trivet_door__()


@settings(max_examples=20, deadline=None)
@given(
    lists(
        tuples(sampled_from(["/one", "/both", "/stream", "/fails"]), integers(0, 3), integers(1, 6), integers(0, 3)),
        max_size=12,
    )
)
def test_no_place_is_ever_lost(plan: list[tuple[str, int, int, int]]) -> None:
    """Whatever requests do and whenever their clients leave, all is free in the end, and no limit was exceeded."""

    async def main() -> None:
        outer, inner = Limit(2, queue=2, wait=2), Limit(1, queue=1)
        most = 0
        app, router = App(limit=outer, timeout=5), Router(limit=inner)

        async def work() -> None:
            nonlocal most
            most = max(most, outer.running)
            assert outer.running <= 2
            assert inner.running <= 1
            await trio.sleep(2)

        @app.get("/one")
        async def one() -> str:
            await work()
            return "one"

        @router.get("/both")
        async def both() -> str:
            await work()
            return "both"

        @router.get("/fails")
        async def fails() -> str:
            await work()
            raise HTTPError(409)

        @app.get("/stream")
        async def stream() -> Stream:
            async def feed(sink: Sink) -> None:
                await work()
                await sink.send("x")

            return Stream(feed)

        app.mount("", router)

        async def client_of(path: str, after: int, leaves: int, policy: int) -> None:
            await trio.sleep(after)
            if policy:
                await client.get(path)
                return
            async with client.open("GET", path) as exchange:
                await trio.sleep(leaves)
                exchange.leave()

        async with TestClient(app) as client:
            async with trio.open_nursery() as nursery:
                for each in plan:
                    nursery.start_soon(client_of, *each)
            await trio.sleep(10)
            assert (outer.running, outer.waiting, inner.running, inner.waiting) == (0, 0, 0, 0)
        assert most <= 2

    trio.run(main, clock=MockClock(autojump_threshold=0))


# ---- what holds a place


async def test_a_stream_keeps_its_place_to_its_last_byte(autojump_clock: MockClock) -> None:
    """Whether its handler had to wait or not; and so does one whose client leaves, no longer."""
    limit = Limit(1)
    app = App(limit=limit)

    async def feed(sink: Sink) -> None:
        await sink.send("a")
        await trio.sleep(3)
        await sink.send("b")

    @app.get("/waits")
    async def waits() -> Stream:
        await trio.lowlevel.checkpoint()
        return Stream(feed)

    @app.get("/at-once")
    async def at_once() -> Stream:
        return Stream(feed)

    async with TestClient(app) as client:
        for path in ("/waits", "/at-once"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, path)
                await trio.sleep(2)
                assert limit.running == 1
                for other in ("/waits", "/at-once"):
                    response = await client.get(other)
                    assert response.status_code == 503
                await trio.sleep(2)
                assert limit.running == 0
            async with client.open("GET", path) as exchange:
                await trio.testing.wait_all_tasks_blocked()
                assert limit.running == 1
                exchange.leave()
                await trio.testing.wait_all_tasks_blocked()
                assert limit.running == 0
            assert (await client.head(path)).status_code == 200
            assert limit.running == 0


class Ticks:
    """Two, and a long time between them."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"a"
        await trio.sleep(3)
        yield b"b"


TICKS = Ticks()
HERE = Path(__file__)


async def ticks() -> Stream:
    return Stream(TICKS)


async def this_file() -> File:
    return File(HERE)


@pytest.mark.parametrize("handler", [ticks, this_file])
@pytest.mark.parametrize("inside", [False, True])
async def test_what_a_handler_returns_that_never_waits_needs_a_place(
    autojump_clock: MockClock, handler: Callable[[], Any], inside: bool
) -> None:
    """By whichever way it is served: the handler runs, its stream or file waits for a place, or is not sent."""
    limit, seen = Limit(1), list[str | None]()
    app = App(limit=limit)
    app.get("/")(handler)

    async def watching(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        seen.append(request.ended)
        return response

    if inside:
        app.middleware(watching)
    assert is_immediate(handler)
    async with TestClient(app) as client:
        limit._take(trio.current_time())
        answer = await client.get("/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert seen == (["shed"] if inside else [])
        limit._leave(0, trio.current_time())
        async with client.stream("GET", "/") as response:
            assert response.status_code == 200
            await anext(response.aiter_raw())
            assert limit.running == (handler is ticks)  # a short file is over
        await trio.testing.wait_all_tasks_blocked()
        assert limit.running == 0


async def test_a_file_needs_a_place(tmp_path: Path) -> None:
    """It is opened and read by worker threads, of which there are not that many."""
    (tmp_path / "a.txt").write_text("text")
    limit = Limit(1)
    app = App(limit=limit)

    @app.get("/file")
    async def file() -> File:
        return File(tmp_path / "a.txt")

    async with TestClient(app) as client:
        assert (await client.get("/file")).text == "text"
        assert limit.running == 0
        limit._take(trio.current_time())
        assert (await client.get("/file")).status_code == 503


async def test_a_handler_that_never_waits_needs_no_place(autojump_clock: MockClock) -> None:
    """A health check is answered while everything else is turned away; so is a path that nobody takes."""
    site = Site(Limit(1))

    @site.app.get("/health")
    async def health() -> str:
        return "ok"

    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep/1")
        await trio.testing.wait_all_tasks_blocked()
        statuses = [(await client.request(*each)).status_code for each in PLAIN]
    assert statuses == [200, 200, 404, 405, 204, 503, 503]


PLAIN = [
    ("GET", "/health"), ("HEAD", "/health"), ("GET", "/nothing"), ("PUT", "/sleep/1"), ("OPTIONS", "/sleep/1"),
    ("GET", "/sleep/1"), ("HEAD", "/sleep/1"),
]  # fmt: skip


async def test_the_direct_door_stays_open_to_it() -> None:
    """A limit on the application costs the routes nothing that answer in one step."""
    app = App(limit=Limit(1))

    @app.get("/")
    async def root() -> str:
        return "x"

    @app.get("/slow")
    async def slow() -> str:
        await trio.sleep(1)
        return "x"

    app.__trivet_door__()
    doors = {path: app._table.lookup("GET", path.encode()) for path in ("/", "/slow")}
    assert {path: hit[0].door is not None for path, hit in doors.items() if hit} == {"/": True, "/slow": False}


async def test_dependencies_run_inside_of_the_place(autojump_clock: MockClock) -> None:
    """They cost something: who is turned away has none; and the place is free when they have left."""
    limit = Limit(1)
    app = App()
    log: list[str] = []

    @asynccontextmanager
    async def session() -> AsyncGenerator[None]:
        log.append("enter")
        yield
        await trio.sleep(1)
        log.append(f"leave, {limit.running} running")

    @app.get("/", limit=limit)
    async def root(used: Annotated[None, Depends(session)]) -> str:
        return "x"

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/")
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/")).status_code == 503
    assert log == ["enter", "leave, 1 running"]
    assert limit.running == 0


async def test_a_middleware_that_tries_again_has_one_place(autojump_clock: MockClock) -> None:
    """The place of the stream that it does not send is given back first, or it would wait for itself."""
    limit = Limit(1, queue=1)
    app = App(timeout=5)

    @app.middleware
    async def twice(request: Request, call_next: Next) -> Response:
        await call_next(request)
        return await call_next(request)

    @app.get("/", limit=limit)
    async def root() -> Stream:
        await trio.lowlevel.checkpoint()
        return Stream(feed)

    async def feed(sink: Sink) -> None:
        await sink.send("x")

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "x"
    assert limit.running == 0


async def test_a_catcher_has_the_page_for_it(autojump_clock: MockClock) -> None:
    """By status or by class, and with its `Retry-After`; a middleware sees a response."""
    site = Site(Limit(1))

    @site.app.catch(RequestCancelled)
    async def busy(request: Request, error: RequestCancelled) -> Response:
        return Text(f"{error.reason}, {error.retry_after}", status=429)

    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep/1")
        await trio.testing.wait_all_tasks_blocked()
        response = await client.get("/sleep/1?n=b")
    assert (response.status_code, response.text, site.ended["b"]) == (429, "shed, 1", "shed")


async def test_the_log_has_one_line_for_many(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A server that has too much to do does not write a line for each; the access log says which they were."""
    caplog.set_level(logging.INFO)
    site = Site(Limit(1, name="sleepers"))
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/sleep/1?n=a")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            await client.get("/sleep/1?n=b")
    said = [record.getMessage() for record in caplog.records if record.name == "trivet"]
    assert said == [
        "turned away by <Limit sleepers: 1 of 1 running, 0 of 0 waiting, 1 shed>: 1 since the last line, now '/sleep/1'"
    ]
    lines = [record.getMessage() for record in caplog.records if record.name == "trivet.access"]
    assert len(lines) == 21
    assert sum("shed" in line and " 503 " in line for line in lines) == 20


# ---- WebSockets


async def test_a_websocket_keeps_its_place_to_its_end(autojump_clock: MockClock) -> None:
    """Another handshake is refused with 503, and taken when the first has gone."""
    limit = Limit(1)
    app = App()

    @app.websocket("/ws", limit=limit)
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async with TestClient(app) as client:
        async with client.websocket("/ws") as first:
            await first.send("a")
            assert await first.receive() == "a"
            assert limit.running == 1
            with pytest.raises(WebSocketRefused) as caught:
                async with client.websocket("/ws"):
                    pass
            assert caught.value.response.status_code == 503
            assert caught.value.response.headers["retry-after"] == "1"
        await trio.testing.wait_all_tasks_blocked()
        assert limit.running == 0
        async with client.websocket("/ws") as second:
            await second.send("b")
            assert await second.receive() == "b"
        with pytest.raises(WebSocketClosed):
            await second.receive()


async def test_an_adaptive_limit_does_not_grow_on_requests_that_were_stopped(autojump_clock: MockClock) -> None:
    """Neither on those whose `timeout` is shorter than the target, nor on those whose clients leave before it."""
    limit = Limit.adaptive(0.5, initial=5)
    app = App(limit=limit)

    @app.get("/slow", timeout=0.3)
    @app.get("/left")
    async def slow() -> None:
        await trio.sleep(10)

    async with TestClient(app) as client:

        async def keep_asking(path: str) -> None:
            for _ in range(20):
                with trio.move_on_after(0.4):
                    await client.get(path)
                await trio.sleep(0.01)

        for path, least, most in (("/left", 5, 5), ("/slow", 1, 4)):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(keep_asking, path)
            assert least <= limit.concurrent <= most
