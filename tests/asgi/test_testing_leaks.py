"""`TestClient`'s watch over tasks and the mock clock."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import trio
import trio.testing

import trivet
from trivet.asgi import ASGIApp, Receive, Scope, Send
from trivet.testing import TaskLeak, TestClient


async def answer(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


class App:
    """An application with a nursery of its own, background tasks and a limiter for threads."""

    def __init__(self) -> None:
        self.tasks = SimpleNamespace(nursery=None)
        self.thread_limiter = trio.CapacityLimiter(2)
        self.nursery: trio.Nursery | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await getattr(self, scope["path"].strip("/"))()
            await answer(send)
            return
        await receive()
        async with trio.open_nursery() as self.nursery, trio.open_nursery() as self.tasks.nursery:
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.nursery.cancel_scope.cancel()
            self.tasks.nursery.cancel_scope.cancel()

    async def leak(self) -> None:
        assert self.nursery is not None
        self.nursery.start_soon(trio.sleep, 3600)

    async def leak_started(self) -> None:
        assert self.nursery is not None

        async def helper(task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            await trio.sleep(3600)

        await self.nursery.start(helper)

    async def grandchild(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.leak)

    async def brief(self) -> None:
        # A watcher, say: ended by the request, but only after it.
        assert self.nursery is not None
        scope = trio.CancelScope()

        async def watch() -> None:
            with scope:
                await trio.sleep(3600)

        self.nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()

    async def joined(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 5)

    async def background(self) -> None:
        assert self.tasks.nursery is not None

        async def below() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 3600)

        self.tasks.nursery.start_soon(below)

    async def thread(self) -> None:
        with trio.move_on_after(100):
            await trio.to_thread.run_sync(time.sleep, 0.02)

    async def own_thread(self) -> None:
        with trio.move_on_after(100):
            await trio.to_thread.run_sync(time.sleep, 0.02, limiter=self.thread_limiter)


@pytest.mark.parametrize(
    ("path", "task", "function"),
    [
        ("/leak", "trio.sleep", "App.leak "),
        ("/leak_started", "helper", "App.leak_started "),
        ("/grandchild", "trio.sleep", "App.leak "),
    ],
)
async def test_task_that_outlives_its_request_fails(
    path: str, task: str, function: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The error names the task, where it was spawned, and the request."""
    client = TestClient(App())
    await client.__aenter__()
    assert (await client.get(path)).status_code == 204
    with pytest.raises(TaskLeak) as caught:
        await client.__aexit__()
    message = str(caught.value)
    assert task in message.splitlines()[0]
    assert f"request: GET {path}" in message
    assert f"spawned: {function}({__file__}:" in message
    assert "app.tasks.start_soon" in message


async def test_leak_that_ends_before_the_client_is_found(autojump_clock: trio.testing.MockClock) -> None:
    """A task that outlived its request is a leak even if it is gone by the end of the test."""
    client = TestClient(App())
    await client.__aenter__()
    await client.get("/leak")
    await trio.sleep(7200)
    with pytest.raises(TaskLeak):
        await client.__aexit__()


@pytest.mark.parametrize("path", ["/brief", "/joined", "/background"])
async def test_task_that_is_waited_for_passes(path: str, autojump_clock: trio.testing.MockClock) -> None:
    """Children of the request, those that end with it, and those below `app.tasks` are no leaks."""
    async with TestClient(App()) as client:
        assert (await client.get(path)).status_code == 204


async def test_tasks_of_a_wrapped_app_are_known(autojump_clock: trio.testing.MockClock) -> None:
    """ASGI middleware keeps what it wraps as `app`; its tasks and its limiter are found there."""

    class Middleware:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)

    async with TestClient(Middleware(Middleware(App()))) as client:
        assert (await client.get("/background")).status_code == 204
        assert (await client.get("/own_thread")).status_code == 204


async def test_check_can_be_switched_off() -> None:
    """For applications with a task pool of their own."""
    async with TestClient(App(), check_leaks=False) as client:
        assert (await client.get("/leak")).status_code == 204


async def test_tasks_of_the_test_are_its_own(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """What the test spawns is no request's, and what a client within a handler starts is that server's."""
    other = TestClient(App())

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        response = await other.get("/background")
        assert response.status_code == 204
        await other.open("GET", "/joined").head()
        await answer(send)

    async with other, TestClient(gateway) as client:
        nursery.start_soon(trio.sleep, 0.01)
        assert (await client.get("/")).status_code == 204


@pytest.mark.parametrize("path", ["/thread", "/own_thread"])
async def test_mock_clock_waits_for_threads(path: str, autojump_clock: trio.testing.MockClock) -> None:
    """Time does not jump over a worker thread, whichever limiter it runs under; it jumps again afterwards."""
    async with TestClient(App()) as client:
        start = trio.current_time()
        assert (await client.get(path)).status_code == 204
        assert trio.current_time() == start
        await trio.sleep(3600)
        assert trio.current_time() == start + 3600
    assert autojump_clock.autojump_threshold == 0


async def test_clock_jumps_over_threads_without_the_client(autojump_clock: trio.testing.MockClock) -> None:
    """The control: without the client's help a thread lets time pass to the next deadline."""
    start = trio.current_time()
    with trio.move_on_after(100):
        await trio.to_thread.run_sync(time.sleep, 0.02)
    assert trio.current_time() == start + 100


async def test_threads_of_mounted_applications_hold_the_clock(autojump_clock: trio.testing.MockClock) -> None:
    """They have limiters of their own, at whatever depth."""
    inner, middle, outer = trivet.App(), trivet.App(), trivet.App()

    @inner.get("/")
    def slow() -> str:
        time.sleep(0.02)
        return "here"

    middle.mount("/inner", inner)
    outer.mount("/middle", middle)
    async with TestClient(outer) as client:
        start = trio.current_time()
        assert (await client.get("/middle/inner/")).text == "here"
        assert trio.current_time() == start


async def test_two_clients_hold_one_clock(autojump_clock: trio.testing.MockClock) -> None:
    """A client within a client: each holds the clock for its own limiters, and gives it back."""
    async with TestClient(App()) as first, TestClient(App()) as second, trio.open_nursery() as nursery:
        start = trio.current_time()
        for client in (first, second):
            for path in ("/thread", "/own_thread"):
                nursery.start_soon(client.get, path)
    assert trio.current_time() == start
    assert autojump_clock.autojump_threshold == 0


async def test_other_clocks_are_left_alone(mock_clock: trio.testing.MockClock) -> None:
    """A mock clock that does not jump is not made to."""
    async with TestClient(App()) as client:
        assert (await client.get("/thread")).status_code == 204
    assert mock_clock.autojump_threshold == float("inf")
