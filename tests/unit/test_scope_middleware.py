"""The request scope around middleware: what stops it when, and what may stay open around it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.unit.scoped import (
    Next,
    Request,
    cancelling,
    described,
    failing,
    passing,
    plain,
    pool,
    quick,
    sleeper,
)
from trivet._leaving import leaves
from trivet._middleware import standing
from trivet.errors import RequestCancelled, ResponseError


async def test_middleware_is_around(autojump_clock: MockClock) -> None:
    """What a middleware does lies before and after what `inner` does, and it may change the value."""
    request = Request()

    async def mw(call_next: Next) -> str:
        request.note("before")
        value = await call_next()
        request.note("after")
        return value + "!"

    async def inner() -> str:
        await request.enter(plain("A"))
        value = await request.scope.call(quick)
        await request.scope.leave(down_to=1)
        return value

    assert await request.scope.around(mw, inner) == "ok!"
    assert request.log == ["before", "+A", "A normal", "-A t=0.5", "after"]
    assert request.scope.depth == 0


async def test_middleware_is_stopped_before_call_next(autojump_clock: MockClock) -> None:
    """Before `call_next` a middleware is under the deadline."""
    request = Request(timeout=2)

    async def mw(call_next: Next) -> str:
        await trio.sleep(10)
        return await call_next()

    with pytest.raises(RequestCancelled) as caught:
        await request.scope.around(mw, quick)
    assert (caught.value.reason, request.elapsed, request.scope.depth) == ("deadline", 2, 0)


async def test_middleware_is_stopped_by_a_disconnect(autojump_clock: MockClock) -> None:
    """Before `call_next` a middleware is stopped by `cancel` as a handler is."""
    request = Request()

    async def mw(call_next: Next) -> str:
        await trio.sleep(10)
        return await call_next()

    async with trio.open_nursery() as nursery:
        cancelling(request, "disconnected", 1, nursery)
        with pytest.raises(RequestCancelled) as caught:
            await request.scope.around(mw, quick)
    assert (caught.value.reason, request.elapsed) == ("disconnected", 1)


async def test_middleware_that_swallows_its_cancellation_cannot_go_on(autojump_clock: MockClock) -> None:
    """`inner` does not run inside of a cancelled scope: `call_next` raises."""
    request = Request(timeout=2)

    async def mw(call_next: Next) -> str:
        try:
            await trio.sleep(10)
        except trio.Cancelled:
            request.note("swallowed")
        return await call_next()

    async def inner() -> str:
        request.note("ran")
        return "ok"

    with pytest.raises(RequestCancelled):
        await request.scope.around(mw, inner)
    assert request.log == ["swallowed"]


async def test_middleware_may_answer_itself(autojump_clock: MockClock) -> None:
    """A middleware that does without `call_next` is fine, and its value counts, however late."""
    request = Request(timeout=2)

    async def mw(call_next: Next) -> str:
        try:
            await trio.sleep(10)
        except trio.Cancelled:
            pass
        return "no"

    assert await request.scope.around(mw, quick) == "no"


async def test_middleware_has_grace_after_a_deadline_inside(autojump_clock: MockClock) -> None:
    """While `inner` runs only `inner` is stopped; after it the middleware has time, shielded."""
    request = Request(timeout=2)

    async def mw(call_next: Next) -> str:
        try:
            return await call_next()
        except RequestCancelled as exc:
            request.note(described(exc))
            await trio.sleep(4.9)
            request.note_time("wrote it down")
            return "503"

    assert await request.scope.around(mw, lambda: request.scope.call(sleeper)) == "503"
    assert request.log == ["RequestCancelled(deadline)", "wrote it down t=6.9"]


async def test_each_middleware_has_a_grace_of_its_own(autojump_clock: MockClock) -> None:
    """One that overruns is cut, which is logged and an error; the one around it has all of its time."""
    request = Request(grace=5)

    async def inner_mw(call_next: Next) -> str:
        await call_next()
        await trio.sleep(50)
        return "never"

    async def outer_mw(call_next: Next) -> str:
        try:
            return await call_next()
        finally:
            await trio.sleep(4)
            request.note_time("outer done")

    with pytest.raises(RequestCancelled) as caught:
        await request.scope.around(outer_mw, lambda: request.scope.around(inner_mw, quick, name="slow"))
    assert caught.value.reason == "deadline"
    assert request.log == ["outer done t=9.0"]
    assert request.complaints == ["the middleware slow ran on for longer than cleanup_grace = 5 s"]


async def test_middleware_after_call_next_is_shielded_from_outside(autojump_clock: MockClock) -> None:
    """A cancellation from further out does not cut what a middleware does after `call_next`."""
    request = Request()

    async def mw(call_next: Next) -> str:
        try:
            return await call_next()
        finally:
            await trio.sleep(2)
            request.note_time("after")

    with trio.move_on_after(1) as outside:
        await request.scope.around(mw, lambda: request.scope.call(sleeper))
    assert outside.cancelled_caught
    assert request.log == ["after t=3.0"]


async def test_middleware_may_hold_a_scope_over_a_whole_response(autojump_clock: MockClock) -> None:
    """`move_on_after` over `call_next` works: what `inner` entered is left inside of it."""
    request = Request()

    async def mw(call_next: Next) -> str:
        with trio.move_on_after(1):
            return await call_next()
        return "504"

    async def inner() -> str:
        await request.enter(plain("A"))
        return await request.scope.call(sleeper)

    assert await request.scope.around(mw, inner) == "504"
    assert request.log == ["+A", "A saw RequestCancelled(failed)", "-A t=1.5"]


async def test_middleware_may_try_again(autojump_clock: MockClock) -> None:
    """`call_next` runs `inner` again as long as nothing is open; the request's deadline bounds it all."""
    request = Request(timeout=10)
    answers = ["503", "503", "200"]

    async def inner() -> str:
        await request.enter(plain("A"))
        await request.scope.call(trio.sleep, 1)
        await request.scope.leave(down_to=1)
        return answers.pop(0)

    async def retry(call_next: Next) -> str:
        for _ in range(2):
            if (answer := await call_next()) == "200":
                return answer
            await trio.sleep(0.5)
        return await call_next()

    assert await request.scope.around(retry, inner) == "200"
    assert request.elapsed == 3 * 1.5 + 2 * 0.5


@pytest.mark.parametrize("many", [1, 3])
async def test_a_streams_dependencies_stay_open_around_middleware(autojump_clock: MockClock, many: int) -> None:
    """Middleware returns before the stream is fed; dependencies and frames are left at its end, in order."""
    request = Request(timeout=2)
    before = standing()

    async def inner() -> str:
        await request.enter(plain("A"), pool("B"))
        return await request.scope.call(quick)

    def wrapped(depth: int) -> Callable[[], Awaitable[str]]:
        if depth == 0:
            return inner

        async def mw(call_next: Next) -> str:
            value = await call_next()
            request.note(f"mw {depth}")
            return value

        return lambda: request.scope.around(mw, wrapped(depth - 1))

    assert await wrapped(many)() == "ok"
    assert request.scope.depth == many + 2
    await request.scope.feed(trio.sleep, 60)
    assert await request.scope.leave() is None
    assert standing() is before
    assert request.log == [
        "+A", "+B", *(f"mw {depth + 1}" for depth in range(many)),
        "B normal", "-B t=60.5", "A normal", "-A t=61.0",
    ]  # fmt: skip


@pytest.mark.parametrize("hold", ["fail_after", "bare", "nursery"])
@pytest.mark.parametrize("between", [False, True], ids=["directly", "with a middleware between"])
async def test_middleware_cannot_hold_a_scope_over_a_stream(
    autojump_clock: MockClock, hold: str, between: bool
) -> None:
    """It is told so, with names and remedy; the dependency leaves in order and Trio's stack is whole."""
    request = Request()
    before = standing()

    async def mw(call_next: Next) -> str:
        if hold == "fail_after":
            with trio.fail_after(3):
                return await call_next()
        if hold == "bare":
            with trio.CancelScope():
                return await call_next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            return await call_next()

    async def inner() -> str:
        await request.enter(pool("session"))
        return await request.scope.call(quick)

    async def passed() -> str:
        return await request.scope.around(passing, inner)

    with pytest.raises((ResponseError, ExceptionGroup)) as caught:
        await request.scope.around(mw, passed if between else inner, name="limited")
    (error,) = leaves(caught.value)
    assert isinstance(error, ResponseError)
    assert re.search("middleware limited holds a nursery.*dependency session stays open", str(error), re.S)
    assert "async def limited():\n        with trio.fail_after(3):" in str(error)
    assert request.log[0] == "+session"
    assert request.log[1].startswith("session saw ResponseError(")
    assert request.log[2:] == ["-session t=0.5"]
    assert standing() is before
    assert request.scope.depth == 0
    with trio.move_on_after(1) as later:
        await trio.sleep(2)
    assert later.cancelled_caught


async def test_middleware_cannot_call_again_over_a_stream(autojump_clock: MockClock) -> None:
    """A second `call_next` while the first one's stream is open is an error that shows what to do."""
    request = Request()

    async def inner() -> str:
        await request.enter(plain("session"))
        return await request.scope.call(quick)

    async def twice(call_next: Next) -> str:
        await call_next()
        return await call_next()

    with pytest.raises(ResponseError, match=r"awaited `call_next` again.*dependency session is still open"):
        await request.scope.around(twice, inner)
    assert request.log[0] == "+session"
    assert request.log[-1] == "-session t=0.5"
    assert request.scope.depth == 0


async def test_call_next_belongs_to_the_requests_task(autojump_clock: MockClock) -> None:
    """In a child task, or when the middleware has returned, it is refused."""
    request = Request()
    kept: list[Next] = []

    async def mw(call_next: Next) -> str:
        kept.append(call_next)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_next)
        return "never"

    with pytest.raises(ExceptionGroup) as caught:
        await request.scope.around(mw, quick)
    (error,) = leaves(caught.value)
    assert "from another task, or after it had returned" in str(error)
    with pytest.raises(ResponseError, match="after it had returned"):
        await kept[0]()


async def test_middleware_that_fails_over_a_stream_leaves_its_dependencies(autojump_clock: MockClock) -> None:
    """An error after `call_next` returned a stream: the stream's dependencies see it and leave."""
    request = Request()

    async def inner() -> str:
        await request.enter(plain("A"))
        return await request.scope.call(quick)

    async def mw(call_next: Next) -> str:
        await call_next()
        raise KeyError("after")

    with pytest.raises(KeyError):
        await request.scope.around(mw, inner)
    assert request.log == ["+A", "A saw KeyError(after)", "-A t=0.5"]


@pytest.mark.parametrize("swallows", [False, True])
async def test_middleware_that_overruns_over_a_stream_ends_it(autojump_clock: MockClock, swallows: bool) -> None:
    """The stream could not run inside of what was cancelled, so its dependencies leave and it is an error."""
    request = Request(grace=5)

    async def inner() -> str:
        await request.enter(pool("A"), plain("B"))
        return await request.scope.call(quick)

    async def mw(call_next: Next) -> str:
        value = await call_next()
        try:
            await trio.sleep(50)
        except trio.Cancelled:
            if not swallows:
                raise
        return value

    with pytest.raises(RequestCancelled):
        await request.scope.around(mw, inner, name="slow")
    assert "-B t=5.5" in request.log
    assert request.complaints == ["the middleware slow ran on for longer than cleanup_grace = 5 s"]
    assert request.scope.depth == 0


async def test_inner_that_fails_leaves_what_it_entered(autojump_clock: MockClock) -> None:
    """`call_next` raises when all that `inner` entered is left, so the middleware sees the final error."""
    request = Request()

    async def inner() -> str:
        await request.enter(plain("A", raises=OSError("rollback")))
        return await request.scope.call(failing(KeyError(1)))

    async def mw(call_next: Next) -> str:
        try:
            return await call_next()
        except OSError:
            request.note_time("mw saw OSError")
            raise

    with pytest.raises(OSError, match="rollback"):
        await request.scope.around(mw, inner)
    assert request.log == ["+A", "A saw KeyError(1)", "-A t=0.5", "mw saw OSError t=0.5"]
