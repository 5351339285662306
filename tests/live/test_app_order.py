"""A client leaves, or the deadline passes, at each step of a request: who is told, in which order, and what is left.

The steps: before the body, in it, entering a dependency, in the handler, leaving a dependency, in the stream. In
memory and over a socket, under stock hypercorn and our own server; after each no task, file or connection is left.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypeAlias

import pytest
import trio
import trio.testing

from tests.harness import SERVERS, serving
from tests.harness.serving import Server
from trivet import App, Depends, RequestCancelled, Sink, Stream, UploadFile
from trivet._upload import IN_MEMORY

pytestmark = [pytest.mark.live, pytest.mark.slow]

Step: TypeAlias = Literal["before the body", "in the body", "entering", "handling", "leaving", "streaming"]

BEGIN = b'--X\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n' + b"x" * (IN_MEMORY + 1000)
END = b"\r\n--X--\r\n"
HEADERS = {"content-type": "multipart/form-data; boundary=X", "content-length": str(len(BEGIN + END))}

GRACE = 0.3
DEADLINE = 0.5


def told(error: BaseException) -> str:
    return error.reason if isinstance(error, RequestCancelled) else type(error).__name__


class Journey:
    """An application that stops at one step, and what happened until then and after."""

    def __init__(self, step: Step, timeout: float) -> None:
        self.step = step
        self.log: list[str] = []
        self.there = trio.Event()
        self.app = App(timeout=timeout, cleanup_grace=GRACE, max_body=None, on_disconnect="cancel", body_timeout=None)

        @asynccontextmanager
        async def outer() -> AsyncIterator[None]:
            self.log.append("outer in")
            if step == "before the body":
                self.there.set()
            try:
                yield
            except BaseException as error:
                await trio.sleep(0.01)  # it has time: its scope is not cancelled
                self.log.append(f"outer told {told(error)}")
                raise
            finally:
                self.log.append("outer out")

        @asynccontextmanager
        async def inner(photo: UploadFile) -> AsyncIterator[int]:
            try:
                await self.stop("entering")
                self.log.append("inner in")
                yield photo.size
                self.log.append("inner leaves")
                await self.stop("leaving")
            except BaseException as error:
                self.log.append(f"inner told {told(error)}")
                raise
            finally:
                self.log.append("inner out")

        @self.app.post("/")
        async def handler(size: Annotated[int, Depends(inner)], o: Annotated[None, Depends(outer)]) -> str | Stream:
            try:
                await self.stop("handling")
            except trio.Cancelled:
                self.log.append("handler stopped")
                raise
            self.log.append("handled")
            return Stream(self.feed) if step == "streaming" else str(size)

    async def feed(self, sink: Sink) -> None:
        await sink.send("begun")
        try:
            self.there.set()
            await trio.sleep(DEADLINE * 2)
        except trio.Cancelled:
            self.log.append("stream stopped")
            raise
        await sink.send("-ended")
        self.log.append("fed")

    async def stop(self, step: Step) -> None:
        if step == self.step:
            self.there.set()
            await trio.sleep_forever()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The temporary files that were opened."""
    found: list[Any] = []
    really = tempfile.TemporaryFile

    def counted(*args: Any, **options: Any) -> Any:
        found.append(really(*args, **options))
        return found[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", counted)
    return found


async def until(check: Callable[[], bool], seconds: float = 10) -> None:
    with trio.fail_after(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is in the server's hands
            await trio.sleep(0.01)


def held() -> tuple[int, int]:
    """Tasks and descriptors."""
    return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/proc/self/fd"))


async def travel(server: Server, journey: Journey, opened: list[Any], *, leaves: bool) -> int | None:
    """Send the request as far as the step; leave there, or wait for the answer, whose status this returns."""
    status: int | None = None
    async with serving(server, journey.app) as client:
        await client.get("/missing")
        await trio.testing.wait_all_tasks_blocked(0.05)
        before = held()
        async with client.open("POST", "/", headers=HEADERS, upload=True) as exchange:
            if journey.step != "before the body":
                await exchange.send_body(BEGIN)
            if journey.step not in ("before the body", "in the body"):
                await exchange.send_body(END)
                await exchange.end_body()
                await journey.there.wait()
            elif journey.step == "in the body":
                await until(lambda: len(opened) == 1)
            else:
                await journey.there.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)
            if leaves:
                exchange.leave()
                await until(lambda: "outer out" in journey.log)
            else:
                status, _ = await exchange.head()
                if status == 200:
                    assert await exchange.read() == b"begun-ended"
        await until(lambda: all(file.closed for file in opened))
        await until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
    assert len(opened) == (journey.step != "before the body")
    return status


ENTERED = ["outer in", "inner in"]

LEAVING: dict[Step, list[str]] = {
    "before the body": ["outer in", "outer told disconnected", "outer out"],
    "in the body": ["outer in", "outer told disconnected", "outer out"],
    "entering": ["outer in", "inner told Cancelled", "inner out", "outer told disconnected", "outer out"],
    "handling": [
        *ENTERED, "handler stopped", "inner told disconnected", "inner out", "outer told disconnected", "outer out",
    ],
    "leaving": [
        *ENTERED, "handled", "inner leaves", "inner told Cancelled", "inner out", "outer told disconnected",
        "outer out",
    ],
    "streaming": [
        *ENTERED, "handled", "stream stopped", "inner told disconnected", "inner out", "outer told disconnected",
        "outer out",
    ],
}  # fmt: skip

LATE: dict[Step, tuple[int, list[str]]] = {
    "before the body": (408, ["outer in", "outer told deadline", "outer out"]),
    "in the body": (408, ["outer in", "outer told deadline", "outer out"]),
    "entering": (503, ["outer in", "inner told Cancelled", "inner out", "outer told deadline", "outer out"]),
    "handling": (
        503,
        [*ENTERED, "handler stopped", "inner told deadline", "inner out", "outer told deadline", "outer out"],
    ),
    "leaving": (
        503,
        [*ENTERED, "handled", "inner leaves", "inner told Cancelled", "inner out", "outer told deadline", "outer out"],
    ),
    "streaming": (200, [*ENTERED, "handled", "fed", "inner leaves", "inner out", "outer out"]),
}


@pytest.mark.parametrize("step", LEAVING)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_client_leaves_at_each_step(server: Server, step: Step, opened: list[Any]) -> None:
    """What runs forward is stopped; what was entered is told, innermost first, and has its grace; nothing is left."""
    journey = Journey(step, timeout=60)
    await travel(server, journey, opened, leaves=True)
    assert journey.log == LEAVING[step]


@pytest.mark.parametrize("step", LATE)
@pytest.mark.parametrize("server", SERVERS)
async def test_the_deadline_passes_at_each_step(server: Server, step: Step, opened: list[Any]) -> None:
    """The same, and then 408 where the body was waited for, else 503; a stream that has begun lives on."""
    status, events = LATE[step]
    journey = Journey(step, timeout=DEADLINE)
    assert await travel(server, journey, opened, leaves=False) == status
    assert journey.log == events
