"""`/tasks`: what is told of the requests and tasks of an application, and what is not; in memory and over sockets."""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.harness import Serve
from trivet import App, Depends, Request, RequestCancelled, Router, WebSocket
from trivet.contrib import _taskframes
from trivet.contrib._taskframes import frames_of, place_of
from trivet.contrib._tasktree import ALIKE, LOOK, SHOW, Node, finished, grow, text
from trivet.contrib.observe import _lookout
from trivet.contrib.observe._lookout import lookout
from trivet.contrib.observe._tasks_page import add_tasks
from trivet.testing import TestClient

Tree = dict[str, Any]


def made() -> App:
    """An application with something to see."""
    app, ops = App(timeout=20, cleanup_grace=7), Router()
    add_tasks(ops)
    app.mount("/ops", ops)

    @asynccontextmanager
    async def slowly_left() -> AsyncGenerator[None]:
        try:
            yield
        except RequestCancelled:
            await trio.sleep(3)
            raise

    @app.get("/sleep/{token}")
    async def sleep(token: str, secret: str = "") -> str:
        kept = token + secret
        await trio.sleep(300)
        return kept

    @app.get("/cleaned")
    async def cleaned(_: Annotated[None, Depends(slowly_left)]) -> None:
        await trio.sleep(300)

    @app.get("/together")
    async def together(nursery: trio.Nursery) -> None:
        nursery.start_soon(trio.sleep, 40, name="water the plants")

    @app.post("/later")
    async def later() -> None:
        app.tasks.start_soon(trio.sleep, 1, name="write the report")

    @app.websocket("/chat/{room}")
    async def chat(ws: WebSocket, room: str) -> None:
        async for message in ws:
            await ws.send(message)

    return app


def nodes(tree: Tree) -> Iterator[Tree]:
    """All of a tree."""
    yield tree
    for child in tree.get("children", ()):
        yield from nodes(child)


def named(told: Any, name: str) -> list[Tree]:
    """The nodes of this name; not the tasks that the client in memory has named for their requests."""
    kinds = ("request", "websocket") if " /" in name else ("task", "nursery")
    return [node for node in nodes(told["tree"]) if node["name"] == name and node["kind"] in kinds]


async def until(client: Any, wanted: Callable[[Any], Any]) -> Any:
    """What is told as soon as it is what is wanted."""
    with trio.fail_after(20):
        while True:
            told = (await client.get("/ops/tasks.json")).json()
            if wanted(told):
                return told
            await trio.sleep(0.01)


async def test_a_request_is_named_and_nothing_of_what_it_brought_is_told(serve: Serve) -> None:
    """Method, route, id, age, deadline and what it waits for; no path, query, header or local variable."""
    async with (
        serve(made()) as client,
        client.open("GET", "/sleep/s3cret?secret=s3cret", headers={"authorization": "s3cret"}),
    ):
        told = await until(client, lambda told: named(told, "GET /sleep/{token}"))
        (node,) = named(told, "GET /sleep/{token}")
        stack = await client.get(f"/ops/tasks/{node['id']}/stack")
        assert node["kind"] == "request"
        assert len(node["request"]) == 36
        assert node["began"] < told["now"] < node["deadline"] == pytest.approx(node["began"] + 20)
        assert node["wakes"] > node["deadline"]
        assert node["waits"] == "trio.sleep"
        assert node["at"].startswith("tests.asgi.test_tasks_page.made.sleep:")
        assert "await trio.sleep(300)" in stack.text
        mine = str(next(line for line in nodes(told["tree"]) if line is node))
        assert "s3cret" not in mine
        assert "s3cret" not in stack.text


async def test_what_a_handler_started_is_below_it_and_background_tasks_have_a_place_of_their_own(
    serve: Serve,
) -> None:
    """The nursery of a request, and `app.tasks`."""
    async with serve(made()) as client, client.open("GET", "/together"):
        await client.post("/later")
        told = await until(client, lambda told: named(told, "GET /together") and named(told, "write the report"))
        (request,) = named(told, "GET /together")
        assert request["waits"] == "the tasks it started"
        ((plants,),) = [nursery["children"] for nursery in request["children"]]
        assert (plants["name"], plants["kind"], plants["waits"]) == ("water the plants", "task", "trio.sleep_until")
        (nursery,) = named(told, "app.tasks")
        assert [task["name"] for task in nursery["children"]] == ["write the report"]
        assert not any(node.get("own") for node in (request, nursery, plants, *nursery["children"]))


async def test_a_request_of_a_mounted_application_is_named_with_its_prefix(serve: Serve) -> None:
    """As in the access log: two applications may both have a `GET /events`."""
    app = made()
    app.mount("/inner", made())
    async with serve(app) as client, client.open("GET", "/inner/sleep/1"), client.open("GET", "/sleep/1"):
        told = await until(client, lambda told: named(told, "GET /inner/sleep/{token}"))
        assert len(named(told, "GET /inner/sleep/{token}")) == 1
        assert len(named(told, "GET /sleep/{token}")) <= 1


def of_module(name: str, filename: str, source: str, **known: Any) -> Any:
    """The function `run` of a module that is called `name`, and would be read from this file."""
    namespace = {"__name__": name, **known}
    exec(compile(source, filename, "exec"), namespace)
    return namespace["run"]


@pytest.mark.parametrize(
    ("begun_by", "own"),
    [("trivet.contrib.redis._link", True), ("trivet._services", False), ("trivet._tasks", False), ("shop", False)],
)
async def test_a_library_that_works_for_a_package_of_ours_is_the_servers_own(begun_by: str, own: bool) -> None:
    """And what it starts in turn; in a service or a background task, or called by the application, it is not."""
    source = "async def run(*args):\n    await inner(*args)\n"
    library = of_module("coredis.connection", "/venv/site-packages/coredis/connection.py", source, inner=trio.sleep)
    begun = of_module(begun_by, "/srv/begun.py", source, inner=library)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(begun, 60, name="begun")
        nursery.start_soon(library, 60, name="of the library")
        await wait_all_tasks_blocked()
        places = {task.name: place_of(frames_of(task)) for task in nursery.child_tasks}
        nursery.cancel_scope.cancel()
    assert (places["begun"].own, places["begun"].began_by_us) == (own, own)
    # Whose it is, is said by whoever started it.
    assert (places["of the library"].own, places["of the library"].began_by_us) == (True, False)


async def test_what_a_mounted_application_has_started_bears_its_prefix(serve: Serve) -> None:
    """Its services and its background tasks: they are of this process, and would else be nobody's."""
    app, inner = made(), App()
    app.mount("/inner", inner)

    @app.service
    @inner.service
    async def refresh() -> None:
        await trio.sleep_forever()

    async with serve(app) as client:
        inner.tasks.start_soon(trio.sleep, 300, name="water the plants")
        told = await until(client, lambda told: named(told, "water the plants"))
        (nursery,) = [node for node in nodes(told["tree"]) if node["name"] == "app.tasks of /inner"]
        assert [task["name"] for task in nursery["children"]] == ["water the plants"]
        assert [(each["name"], each["state"]) for each in told["services"]] == [
            ("refresh", "running"), ("refresh of /inner", "running"),
        ]  # fmt: skip
        inner.tasks.current[0].scope.cancel()


async def test_requests_of_a_mounted_application_are_named_as_in_the_access_log(serve: Serve) -> None:
    """With the prefix, of all levels: two applications may well have routes of one name."""
    app, middle = made(), App()
    middle.mount("/inner", made())
    app.mount("/middle", middle)
    async with serve(app) as client, client.open("GET", "/middle/inner/sleep/s3cret") as exchange:
        async with client.websocket("/middle/inner/chat/s3cret"):
            names = "GET /middle/inner/sleep/{token}", "WebSocket /middle/inner/chat/{room}"
            told = await until(client, lambda told: all(named(told, name) for name in names))
        assert not named(told, "GET /sleep/{token}")
        exchange.leave()


async def test_a_websocket_is_a_line_too(serve: Serve) -> None:
    """By the route of its handshake."""
    async with serve(made()) as client, client.websocket("/chat/s3cret"):
        told = await until(client, lambda told: named(told, "WebSocket /chat/{room}"))
        (node,) = named(told, "WebSocket /chat/{room}")
        assert (node["kind"], node["waits"]) == ("websocket", "trivet.WebSocket.__anext__")


async def test_a_request_is_seen_to_come_and_to_go_with_its_reason(serve: Serve) -> None:
    """By the event stream: its client leaves."""
    async with serve(made()) as client, client.open("GET", "/ops/tasks/events") as page:
        events = told_by(page)
        await anext(events)
        async with client.open("GET", "/sleep/x") as exchange:
            while not named(await anext(events), "GET /sleep/{token}"):
                pass
            exchange.leave()
            told = await anext(events)
            while not told["ended"]:
                told = await anext(events)
        (ended,) = told["ended"]
        assert (ended["name"], ended["reason"], ended["number"]) == ("GET /sleep/{token}", "disconnected", 1)
        assert named(told, "GET /sleep/{token}") == []
        await events.aclose()


async def told_by(page: Any) -> AsyncGenerator[Any]:
    """The data of the events of a stream."""
    buffer = b""
    assert (await page.head())[0] == 200
    while (chunk := await page.receive()) is not None:
        *events, buffer = (buffer + chunk).split(b"\n\n")
        for event in events:
            data = [line.removeprefix(b"data: ") for line in event.split(b"\n") if line.startswith(b"data: ")]
            if data:
                yield json.loads(b"\n".join(data))


# In memory -------------------------------------------------------------------------------------------------------


async def test_a_request_that_is_ending_says_why_while_it_cleans_up(autojump_clock: MockClock) -> None:
    """The deadline has passed, a dependency is leaving, and then it is gone."""
    async with TestClient(made()) as client, client.open("GET", "/cleaned"):
        with lookout().following():
            await trio.sleep(21)
            view = await lookout().look()
            (node,) = [node for node in whole(view.tree) if (node.kind, node.name) == ("request", "GET /cleaned")]
            assert (node.ended, node.request is not None) == ("deadline", True)
            assert view.ended == []
            await trio.sleep(3)
            (ended,) = (await lookout().look()).ended
            assert (ended.reason, ended.request, ended.seconds) == ("deadline", node.request, 24)


async def test_nothing_is_sent_while_nothing_changes(autojump_clock: MockClock) -> None:
    """Ages and deadlines change, and the page counts them itself: only what has changed is told."""
    seen = 0
    async with (
        TestClient(made(), timeout=None) as client,
        client.open("GET", "/sleep/x"),
        client.events("/ops/tasks/events") as events,
    ):
        with trio.move_on_after(15):
            async for _ in events:
                seen += 1
    assert 1 <= seen <= 3


async def test_nothing_is_held_when_nobody_looks_any_more(autojump_clock: MockClock) -> None:
    """A request that was shown can go."""
    app, requests = made(), list[weakref.ref[Request]]()

    @app.get("/mine/{number}")
    async def mine(number: int, request: Request) -> None:
        requests.append(weakref.ref(request))
        await trio.sleep(200)

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        async with client.events("/ops/tasks/events") as events:
            nursery.start_soon(client.get, "/mine/1")
            async for event in events:
                assert trio.current_time() < 100
                if named(json.loads(event.data or ""), "GET /mine/{number}"):
                    break
            assert [seen for seen in lookout()._seen if seen is requests[0]()]
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        assert (lookout()._seen, lookout()._view) == ({}, None)


def whole(root: Node) -> Iterator[Node]:
    """All of a tree."""
    yield root
    for child in root.children:
        yield from whole(child)


async def test_of_many_tasks_few_are_looked_at_and_fewer_shown_and_all_are_counted() -> None:
    """Of one name a few, the rest by number; and a crowd in one nursery does not hide what is in another."""
    total = 3 * LOOK
    async with trio.open_nursery() as crowd, trio.open_nursery() as other:
        for _ in range(total):
            crowd.start_soon(trio.sleep_forever)
        other.start_soon(trio.sleep_forever, name="the other")
        await wait_all_tasks_blocked()
        root = finished(grow(names={crowd: "the crowd"}))
        (node,) = [node for node in whole(root) if node.name == "the crowd"]
        shown = [child for child in node.children if child.kind == "task"]
        assert len(shown) == ALIKE
        assert len(shown) + sum(child.count for child in node.children) == total
        assert [child.name for child in node.children if child.count] == ["trio.sleep_forever", "tasks, not looked at"]
        assert any(node.name == "the other" for node in whole(root))
        assert sum(1 for _ in whole(root)) <= SHOW
        crowd.cancel_scope.cancel()


async def test_nurseries_of_different_tasks_are_not_alike() -> None:
    """One task with many nurseries, as an application with many mounted ones has: what is in each is shown."""
    async with AsyncExitStack() as stack:
        for number in range(ALIKE + 3):
            nursery = await stack.enter_async_context(trio.open_nursery())
            nursery.start_soon(trio.sleep_forever, name=f"number {number}")
            stack.callback(nursery.cancel_scope.cancel)
        await wait_all_tasks_blocked()
        found = {node.name for node in whole(finished(grow(names={})))}
        assert {f"number {number}" for number in range(ALIKE + 3)} <= found


async def test_of_many_names_no_more_are_shown_than_there_is_room_for() -> None:
    """What is left out is counted."""
    async with trio.open_nursery() as crowd:
        for number in range(SHOW + 50):
            crowd.start_soon(trio.sleep_forever, name=f"task {number}")
        await wait_all_tasks_blocked()
        root = finished(grow(names={}))
        lines = list(whole(root))
        assert SHOW - 10 <= len(lines) <= SHOW + 10
        (more,) = [node for node in lines if node.name == "lines"]
        assert more.count >= 50
        crowd.cancel_scope.cancel()


async def test_others_have_their_turn_while_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a thousand tasks is done in slices."""
    monkeypatch.setattr(_lookout, "SLICE", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(trio.sleep_forever)
        await wait_all_tasks_blocked()
        nursery.start_soon(other)
        view = await lookout().look()
        assert turns >= 100
        assert view.looked > 100
        nursery.cancel_scope.cancel()


async def test_a_crowd_is_looked_at_no_more_often_than_can_be_afforded(autojump_clock: MockClock) -> None:
    """However many ask: who comes before its time is shown what the one before has seen."""
    async with trio.open_nursery() as crowd:
        for _ in range(200):
            crowd.start_soon(trio.sleep_forever)
        await wait_all_tasks_blocked()
        watch = lookout()
        with watch.following():
            first = await watch.look()
            assert await watch.look() is first
            await trio.sleep(_lookout.PER_TASK * first.looked)
            assert await watch.look() is not first
        crowd.cancel_scope.cancel()


async def test_however_many_pages_are_open_one_look_is_enough(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was opened at a time of its own; they look together, though there is little to see."""
    looks, read = list[float](), _lookout.Lookout._read

    async def counted(self: _lookout.Lookout) -> _lookout.View:
        looks.append(trio.current_time())
        return await read(self)

    monkeypatch.setattr(_lookout.Lookout, "_read", counted)
    pages = 10
    async with TestClient(made(), timeout=None) as client, trio.open_nursery() as nursery:

        async def follow() -> None:
            async with client.events("/ops/tasks/events") as events:
                async for _ in events:
                    pass

        for _ in range(pages):
            nursery.start_soon(follow)
            await trio.sleep(0.07)
        looks.clear()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert len(looks) <= 10 / _lookout.PERIOD + 1


async def test_the_page_and_its_files() -> None:
    """Its own script and style only; as JSON for who accepts nothing else."""
    async with TestClient(made()) as client:
        page = await client.get("/ops/tasks", headers={"accept": "text/html,application/json;q=0.9"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert 'src="http' not in page.text
        for name, kind in [("css", "text/css"), ("js", "text/javascript"), ("svg", "image/svg+xml")]:
            file = await client.get(f"/ops/tasks/page.{name}")
            assert (file.status_code, file.headers["content-type"].partition(";")[0]) == (200, kind)
        told = await client.get("/ops/tasks", headers={"accept": "application/json"})
        assert set(told.json()) == {"now", "tasks", "looked", "tree", "services", "ended"}
        assert told.headers["cache-control"] == "no-store"
        assert (await client.get("/openapi.json")).json()["paths"].keys() == {
            "/sleep/{token}", "/cleaned", "/together", "/later",
        }  # fmt: skip


async def test_where_a_task_is_without_stackscope(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain stack then; and 404 for a task that is gone."""
    monkeypatch.setitem(sys.modules, "stackscope", None)
    async with TestClient(made()) as client:
        async with client.open("GET", "/sleep/x"):
            told = await until(client, lambda told: named(told, "GET /sleep/{token}"))
            (node,) = named(told, "GET /sleep/{token}")
            stack = await client.get(f"/ops/tasks/{node['id']}/stack")
            assert "await trio.sleep(300)" in stack.text
        await until(client, lambda told: not named(told, "GET /sleep/{token}"))
        assert (await client.get(f"/ops/tasks/{node['id']}/stack")).status_code == 404


async def test_services_are_told_by_name_and_state_and_not_by_their_errors() -> None:
    """What one has failed with is in the log."""

    class Service:
        name, state, restarts, error = "poll", "backing-off", 3, "KeyError: 's3cret'"

    class Served(App):
        services = (Service(),)

    app, ops = Served(), Router()
    add_tasks(ops)
    app.mount("/ops", ops)
    async with TestClient(app) as client:
        told = (await client.get("/ops/tasks.json")).json()
    assert told["services"] == [{"name": "poll", "state": "backing-off", "restarts": 3}]


async def test_the_tree_as_text(autojump_clock: MockClock) -> None:
    """One line each, indented."""
    async with TestClient(made()) as client, client.open("GET", "/sleep/s3cret"):
        await trio.sleep(2)
        (line,) = [line for line in text().splitlines() if "GET /sleep/{token}" in line]
        assert line.lstrip() != line
        assert "2.0 s] deadline in 18.0 s - waits for trio.sleep until 298.0 s from now at tests.asgi." in line
        assert "s3cret" not in line


def test_without_what_trio_does_not_promise() -> None:
    """No times of tasks, and all the rest."""
    assert _taskframes.times_of(object(), []) == (None, None)  # type: ignore[arg-type]
    assert not _taskframes.is_cancelled(object())  # type: ignore[arg-type]
