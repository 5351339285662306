"""The request scope, case by case: who sees what, in which order, for how long, and how the request ends.

Each case is a request with dependencies that write down what happens to them. Its log is compared as a whole,
times included: the clock is Trio's autojump clock, so that they are exact.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio
from trio.testing import MockClock

from tests.unit.scoped import (
    Dependency,
    Request,
    cancelling,
    described,
    failing,
    groaning,
    passing,
    plain,
    pool,
    quick,
    sleeper,
)
from trivet._leaving import cancelled_from_outside, leaves
from trivet.errors import NoResponse, RequestCancelled

# --- the handler is stopped; dependencies clean up in order, each shielded


async def test_deadline_stops_the_handler_and_all_clean_up(autojump_clock: MockClock) -> None:
    """A deadline stops the handler; dependencies, with or without a nursery, leave one after the other."""
    request = Request(timeout=2)
    await request.run(sleeper, pool("A"), plain("B"), pool("C"))
    assert request.log == [
        "+A", "+B", "+C",
        "C saw RequestCancelled(deadline)", "-C t=2.5",
        "B saw RequestCancelled(deadline)", "-B t=3.0",
        "A saw RequestCancelled(deadline)", "-A t=3.5",
    ]  # fmt: skip
    assert (request.ends, request.scope.reason) == ("RequestCancelled(deadline)", "deadline")


async def test_deadline_while_entering_stops_that_dependency_only(autojump_clock: MockClock) -> None:
    """A dependency that is being entered sees Cancelled and has no grace; those before it have theirs."""
    request = Request(timeout=2)
    await request.run(sleeper, pool("A"), plain("B"), plain("C", enters_for=10))
    assert request.log == [
        "+A", "+B", "+C", "C entering: Cancelled",
        "B saw RequestCancelled(deadline)", "-B t=2.5",
        "A saw RequestCancelled(deadline)", "-A t=3.0",
    ]  # fmt: skip
    assert request.ends == "RequestCancelled(deadline)"


async def test_disconnect_stops_the_handler(autojump_clock: MockClock) -> None:
    """`cancel("disconnected")` from another task stops the handler at once, and names the reason to all."""
    request = Request(timeout=20)
    async with trio.open_nursery() as nursery:
        cancelling(request, "disconnected", 1, nursery)
        await request.run(sleeper, pool("A"), plain("B"))
    assert request.log == [
        "+A", "+B",
        "B saw RequestCancelled(disconnected)", "-B t=1.5",
        "A saw RequestCancelled(disconnected)", "-A t=2.0",
    ]  # fmt: skip
    assert request.ends == "RequestCancelled(disconnected)"


async def test_disconnect_while_leaving_lets_the_value_stand(autojump_clock: MockClock) -> None:
    """A client that leaves during a normal unwinding cuts nothing: what was committed is committed."""
    request = Request(timeout=20)
    async with trio.open_nursery() as nursery:
        cancelling(request, "disconnected", 1, nursery)
        await request.run(quick, pool("A"), plain("B", cleans_for=3))
    assert request.log == ["+A", "+B", "B normal", "-B t=3.0", "A normal", "-A t=3.5"]
    assert (request.ends, request.scope.reason) == ("value ok", "disconnected")


async def test_cancel_shortens_a_normal_unwinding_to_the_grace(autojump_clock: MockClock) -> None:
    """A commit has what is left of the request's time; from a drain on it has the grace."""
    request = Request(timeout=30)
    async with trio.open_nursery() as nursery:
        cancelling(request, "drained", 1, nursery)
        await request.run(quick, pool("A"), plain("B", cleans_for=25))
    assert request.log == [
        "+A", "+B", "B normal", "B cut t=6.0", "A saw RequestCancelled(drained)", "-A t=6.5",
    ]  # fmt: skip
    assert request.ends == "RequestCancelled(drained)"


async def test_a_commit_may_use_the_time_that_is_left(autojump_clock: MockClock) -> None:
    """A normal unwinding may take longer than the grace, as long as the deadline is not over."""
    request = Request(timeout=30)
    await request.run(quick, plain("B", cleans_for=25))
    assert (request.log, request.ends) == (["+B", "B normal", "-B t=25.0"], "value ok")


async def test_grace_is_per_dependency(autojump_clock: MockClock) -> None:
    """A dependency that overruns its grace is cut and logged; the outer ones still have all of theirs."""
    request = Request(timeout=2)
    await request.run(sleeper, pool("A", cleans_for=3), plain("B", cleans_for=30))
    assert request.log == [
        "+A", "+B",
        "B saw RequestCancelled(deadline)", "B cut t=7.0",
        "A saw RequestCancelled(deadline)", "-A t=10.0",
    ]  # fmt: skip
    assert request.complaints == ["the dependency B was not left within cleanup_grace = 5 s"]


async def test_an_overrun_after_success_is_not_a_success(autojump_clock: MockClock) -> None:
    """A commit that was cut is an error, and outer dependencies see it."""
    request = Request(timeout=2)
    await request.run(quick, pool("A", cleans_for=3), plain("B", cleans_for=30))
    assert request.log == [
        "+A", "+B", "B normal", "B cut t=5.0", "A saw RequestCancelled(deadline)", "-A t=8.0",
    ]  # fmt: skip
    assert (request.ends, request.scope.reason) == ("RequestCancelled(deadline)", "deadline")


async def test_a_nursery_that_never_ends_is_an_overrun(autojump_clock: MockClock) -> None:
    """A dependency that waits for a child that never ends is cut at the deadline, not waited for."""
    request = Request(timeout=30)

    @asynccontextmanager
    async def endless() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield

    await request.enter(plain("A"))
    await request.scope.enter(endless(), name="endless")
    request.error = await request.scope.leave()
    assert request.log == ["+A", "A saw RequestCancelled(deadline)", "-A t=30.5"]
    assert request.complaints == ["the dependency endless was not left within cleanup_grace = 5 s"]


# --- entered, although cancelled


async def test_a_dependency_entered_too_late_is_left_with_grace(autojump_clock: MockClock) -> None:
    """A deadline that passes in a shielded entry is noted; what was entered is left like any other."""
    request = Request(timeout=2)

    @asynccontextmanager
    async def racy() -> AsyncIterator[None]:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        try:
            yield
        except BaseException as exc:
            request.note(f"racy saw {described(exc)}")
            await trio.sleep(1)
            request.note_time("-racy")
            raise

    await request.enter(pool("A"))
    await request.scope.enter(racy(), name="racy")
    assert request.scope.reason == "deadline"
    with pytest.raises(RequestCancelled) as caught:
        await request.scope.enter(request.opened(plain("B")), name="B")
    await request.scope.leave(caught.value)
    assert request.log == [
        "+A", "racy saw RequestCancelled(deadline)", "-racy t=4.0",
        "A saw RequestCancelled(deadline)", "-A t=4.5",
    ]  # fmt: skip


async def test_a_dependency_that_swallows_the_cancellation_of_its_entry_is_entered(
    autojump_clock: MockClock,
) -> None:
    """It is entered, so it is left; the handler does not run."""
    request = Request(timeout=2)

    @asynccontextmanager
    async def stubborn() -> AsyncIterator[None]:
        with trio.CancelScope() as own:
            try:
                await trio.sleep(10)
            except trio.Cancelled:
                request.note_time("swallowed")
        assert not own.cancelled_caught
        try:
            yield
        except BaseException as exc:
            request.note(f"saw {described(exc)}")
            await trio.sleep(1)
            request.note_time("left")
            raise

    await request.enter(pool("A"))
    await request.scope.enter(stubborn(), name="stubborn")
    with pytest.raises(RequestCancelled) as caught:
        await request.scope.call(quick)
    await request.scope.leave(caught.value)
    assert request.log == [
        "+A", "swallowed t=2.0", "saw RequestCancelled(deadline)", "left t=3.0",
        "A saw RequestCancelled(deadline)", "-A t=3.5",
    ]  # fmt: skip


# --- a child of a dependency's nursery fails


async def test_a_child_of_a_dependency_fails_while_the_handler_runs(autojump_clock: MockClock) -> None:
    """It stops the handler; the nursery's owner sees Cancelled, plain ones do not; the failure is the end."""
    request = Request(timeout=20)
    await request.run(sleeper, pool("A", failing(ValueError("child"), 1)), plain("B"), pool("C"))
    # What C saw depends on whose turn it was in the tick in which all children died.
    assert [line for line in request.log if not line.startswith("C saw")] == [
        "+A", "+B", "+C", "C cut t=1.0",
        "B saw RequestCancelled(failed)", "-B t=1.5", "A saw Cancelled", "A cut t=1.5",
    ]  # fmt: skip
    assert (request.ends, request.scope.reason) == ("group[ValueError(child)]", None)


async def test_a_child_of_a_dependency_fails_while_another_is_entered(autojump_clock: MockClock) -> None:
    """The entry is stopped by the failing child's nursery, and the failure is the end."""
    request = Request(timeout=20)
    await request.run(sleeper, pool("A", failing(ValueError("child"), 1)), plain("B", enters_for=10))
    assert request.log == ["+A", "+B", "B entering: Cancelled", "A saw Cancelled", "A cut t=1.0"]
    assert request.ends == "group[ValueError(child)]"


@pytest.mark.parametrize(("a", "b", "cut"), [(0.5, 3.0, 3.0), (3.0, 0.1, 1.0)], ids=["inner", "own"])
async def test_a_child_fails_while_dependencies_leave(
    autojump_clock: MockClock, a: float, b: float, cut: float
) -> None:
    """A success turns into the child's failure; the nursery's owner is cut, the inner dependency is not."""
    request = Request(timeout=20)
    child = failing(ValueError("child"), 1)
    await request.run(quick, pool("A", child, cleans_for=a), plain("B", cleans_for=b))
    assert request.log == ["+A", "+B", "B normal", f"-B t={b:.1f}", "A normal", f"A cut t={cut:.1f}"]
    assert request.ends == "group[ValueError(child)]"


async def test_a_child_fails_in_the_tick_of_the_deadline(autojump_clock: MockClock) -> None:
    """Whichever comes first in the tick, the bug is not masked by the deadline."""
    request = Request(timeout=2)
    await request.run(sleeper, pool("A", failing(ValueError("child"), 2)), plain("B"))
    assert "-B t=2.5" in request.log
    assert request.ends == "group[ValueError(child)]"


# --- errors: replaced, joined, never swallowed


@pytest.mark.parametrize(
    ("handler", "dependencies", "log", "ends"),
    [
        pytest.param(
            failing(KeyError(404)),
            [pool("A"), plain("B")],
            ["B saw KeyError(404)", "-B t=0.5", "A saw KeyError(404)", "-A t=1.0"],
            "KeyError(404)",
            id="an error is shown to each, and unwrapped from the nursery it went through",
        ),
        pytest.param(
            quick,
            [pool("A"), plain("B", raises=OSError("commit"))],
            ["B normal", "-B t=0.5", "A saw OSError(commit)", "-A t=1.0"],
            "OSError(commit)",
            id="a failed commit is the end",
        ),
        pytest.param(
            sleeper,
            [pool("A"), plain("B", raises=OSError("rollback"))],
            ["B saw RequestCancelled(deadline)", "-B t=2.5", "A saw OSError(rollback)", "-A t=3.0"],
            "OSError(rollback)",
            id="a failed rollback replaces the deadline",
        ),
        pytest.param(
            sleeper,
            [plain("A"), plain("B", swallows=True)],
            ["B saw RequestCancelled(deadline)", "-B t=2.5", "A saw RequestCancelled(deadline)", "-A t=3.0"],
            "RequestCancelled(deadline)",
            id="a deadline cannot be swallowed",
        ),
        pytest.param(
            failing(KeyError(404)),
            [plain("A"), pool("B", swallows=True)],
            ["B saw KeyError(404)", "-B t=0.5", "A saw KeyError(404)", "-A t=1.0"],
            "KeyError(404)",
            id="an error cannot be swallowed",
        ),
        pytest.param(
            failing(KeyError(404)),
            [plain("A"), plain("B", raises=OSError("rollback"))],
            ["B saw KeyError(404)", "-B t=0.5", "A saw OSError(rollback)", "-A t=1.0"],
            "OSError(rollback)",
            id="an error in whose context the first one is replaces it",
        ),
        pytest.param(
            failing(KeyboardInterrupt()),
            [pool("A"), plain("B")],
            ["B saw KeyboardInterrupt()", "-B t=0.5", "A saw KeyboardInterrupt()", "-A t=1.0"],
            "KeyboardInterrupt()",
            id="KeyboardInterrupt goes on",
        ),
        pytest.param(
            failing(SystemExit(3)),
            [pool("A"), plain("B", raises=OSError("rollback"))],
            ["B saw SystemExit(3)", "-B t=0.5", "A saw SystemExit(3)", "-A t=1.0"],
            "SystemExit(3)",
            id="SystemExit goes on, whatever fails on its way",
        ),
    ],
)
async def test_errors(
    autojump_clock: MockClock,
    handler: Callable[[], Awaitable[str]],
    dependencies: list[Dependency],
    log: list[str],
    ends: str,
) -> None:
    """What each dependency sees of an error, and what the request ends with."""
    request = Request(timeout=2)
    await request.run(handler, *dependencies)
    assert request.log == ["+A", "+B", *log]
    assert request.ends == ends


async def test_what_fails_on_the_way_of_systemexit_is_logged(autojump_clock: MockClock) -> None:
    """An error that cannot replace SystemExit is not lost."""
    request = Request()
    await request.run(failing(SystemExit(3)), plain("B", raises=OSError("rollback")))
    assert request.complaints == ["the dependency B failed while SystemExit was ending the request: OSError(rollback)"]


async def test_an_unrelated_error_stands_beside_the_first(autojump_clock: MockClock) -> None:
    """An error that does not have the request's in its chain hides nothing: both are in a group."""
    request = Request()

    class Careless:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *exc_info: object) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(failing(OSError("close")))

    await request.scope.enter(Careless(), name="careless")
    with pytest.raises(KeyError) as caught:
        await request.scope.call(failing(KeyError(404)))
    error = await request.scope.leave(caught.value)
    assert described(error) == "group[KeyError(404), group[OSError(close)]]"


async def test_a_translated_error_replaces(autojump_clock: MockClock) -> None:
    """`except KeyError: raise LookupError`, above a nursery that wrapped it, is a translation."""
    request = Request()

    @asynccontextmanager
    async def translating() -> AsyncIterator[None]:
        try:
            yield
        except KeyError as exc:
            raise LookupError("gone") from exc

    await request.enter(pool("A"))
    await request.scope.enter(translating(), name="translating")
    await request.enter(pool("B"))
    error = await request.scope.leave(KeyError(1))
    assert described(error) == "LookupError(gone)"
    assert "A saw LookupError(gone)" in request.log


@pytest.mark.parametrize("star", [False, True], ids=["except", "except*"])
async def test_a_translated_group_replaces(autojump_clock: MockClock, star: bool) -> None:
    """A handler's group is translated by `except*` or by `except ExceptionGroup`, with or without `from`."""
    request = Request()

    @asynccontextmanager
    async def translating() -> AsyncIterator[None]:
        if star:
            try:
                yield
            except* KeyError as group:
                raise LookupError("gone") from group
        else:
            try:
                yield
            except ExceptionGroup:
                raise LookupError("gone")  # noqa: B904  # the context alone must do

    async def handler() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing(KeyError(1)))

    await request.scope.enter(translating(), name="translating")
    with pytest.raises(ExceptionGroup) as caught:
        await request.scope.call(handler)
    assert [*map(described, leaves(await request.scope.leave(caught.value)))] == ["LookupError(gone)"]


async def test_a_dependency_that_ends_the_handler_leaves_no_response(autojump_clock: MockClock) -> None:
    """`move_on_after` around a yield ends the handler without an error. That is one, for the outer ones."""
    request = Request(timeout=20)
    await request.run(sleeper, pool("A"), plain("lim", holding=lambda: trio.move_on_after(1)), plain("B"))
    assert request.log == [
        "+A", "+lim", "+B", "B saw RequestCancelled(failed)", "-B t=1.5",
        "lim saw Cancelled", "lim cut t=1.5",
        "A saw NoResponse(The dependency lim cancelled the handler without an error: there is no response)",
        "-A t=2.0",
    ]  # fmt: skip
    assert isinstance(request.error, NoResponse)


async def test_a_dependency_may_limit_the_time_with_an_error(autojump_clock: MockClock) -> None:
    """`fail_after` around a yield ends the handler with TooSlowError."""
    request = Request(timeout=20)
    await request.run(sleeper, pool("A"), plain("lim", holding=lambda: trio.fail_after(1)), plain("B"))
    assert request.ends == "TooSlowError()"
    assert "B saw RequestCancelled(failed)" in request.log
    assert "A saw TooSlowError()" in request.log


async def test_an_entry_that_fails_is_not_left(autojump_clock: MockClock) -> None:
    """What `__aenter__` raised is the end; the dependency itself is not open, those before it are left."""
    request = Request()

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        if request.elapsed == 0:
            raise OSError("connect")
        yield

    await request.enter(plain("A"))
    with pytest.raises(OSError, match="connect") as caught:
        await request.scope.enter(broken(), name="broken")
    assert described(await request.scope.leave(caught.value)) == "OSError(connect)"
    assert request.log == ["+A", "A saw OSError(connect)", "-A t=0.5"]


# --- what the handler makes of its cancellation


async def test_a_late_value_counts(autojump_clock: MockClock) -> None:
    """Work that was done counts, however late: the handler swallowed its cancellation and returned."""
    request = Request(timeout=2)

    async def handler() -> str:
        try:
            await trio.sleep(10)
        except trio.Cancelled:
            pass
        return "late"

    await request.run(handler, pool("A"))
    assert request.log == ["+A", "A normal", "-A t=2.5"]
    assert (request.ends, request.scope.reason) == ("value late", None)


async def test_an_error_raised_while_cancelled_is_the_end(autojump_clock: MockClock) -> None:
    """A bug in a handler's cleanup is not masked by the deadline that led to it."""
    request = Request(timeout=2)

    async def handler() -> str:
        try:
            await trio.sleep(10)
        finally:
            raise ValueError("bug")

    await request.run(handler, pool("A"))
    assert request.log == ["+A", "A saw ValueError(bug)", "-A t=2.5"]
    assert request.ends == "ValueError(bug)"


async def test_cancellation_is_dropped_from_a_handlers_group(autojump_clock: MockClock) -> None:
    """What is left of a handler's group when its own cancellation is taken out is the error."""
    request = Request(timeout=2)
    await request.run(groaning, pool("A"))
    assert request.log == ["+A", "A saw group[ValueError(in child)]", "-A t=2.5"]
    assert request.ends == "group[ValueError(in child)]"


async def test_a_dependencys_failure_and_the_handlers_stand_together(autojump_clock: MockClock) -> None:
    """A's child stops the handler, whose own child fails on that: both failures are in the end."""
    request = Request(timeout=20)
    await request.run(groaning, pool("A", failing(KeyError("A child"), 1)), plain("B"))
    assert "B saw group[ValueError(in child)]" in request.log
    assert "A saw group[group[Cancelled, ValueError(in child)]]" not in request.log
    assert sorted(map(described, leaves(request.error))) == ["KeyError(A child)", "ValueError(in child)"]


# --- cancelled from further out


async def test_cancelled_from_outside(autojump_clock: MockClock) -> None:
    """Plain dependencies have their grace, and the Cancelled is handed back to the scope further out."""
    request = Request(timeout=20)
    with trio.move_on_after(1) as outside:
        await request.run(sleeper, pool("A"), plain("B"))
        assert request.error is not None
        assert cancelled_from_outside(request.error)
        raise request.error
    assert outside.cancelled_caught
    assert request.log == [
        "+A", "+B", "B saw RequestCancelled(failed)", "-B t=1.5", "A saw Cancelled", "A cut t=1.5",
    ]  # fmt: skip


async def test_cancelled_from_outside_and_a_cleanup_fails(autojump_clock: MockClock) -> None:
    """The cancellation goes on to whom it belongs, and the failure beside it."""
    request = Request(timeout=20)
    outside = trio.move_on_after(1)

    async def cancelled() -> None:
        with outside:
            await request.run(sleeper, pool("A"), plain("B", raises=OSError("rollback")))
            assert request.error is not None
            raise request.error

    with pytest.raises(ExceptionGroup) as caught:
        await cancelled()
    assert outside.cancelled_caught
    assert [*map(described, leaves(caught.value))] == ["OSError(rollback)"]


async def test_cancelled_from_outside_and_a_failure_is_translated(autojump_clock: MockClock) -> None:
    """A translation replaces the failure, and the cancellation from further out still goes on beside it."""
    request = Request(timeout=20)

    @asynccontextmanager
    async def translating() -> AsyncIterator[None]:
        try:
            yield
        except* ValueError as group:
            raise LookupError("gone") from group

    with trio.CancelScope() as outside:
        await request.scope.enter(translating(), name="translating")
        outside.deadline = 1
        with pytest.raises(BaseExceptionGroup) as caught:
            await request.scope.call(groaning)
        error = await request.scope.leave(caught.value)
    assert [*map(described, leaves(error))] == ["Cancelled", "LookupError(gone)"]


async def test_an_answer_can_be_sent_after_an_outer_cancellation(autojump_clock: MockClock) -> None:
    """As under hypercorn's graceful_timeout: clean up, answer shielded, let the cancellation go on."""
    request = Request(timeout=30)
    sent = False
    with trio.move_on_after(1) as outside:
        await request.run(sleeper, plain("A"), plain("B"))
        sent = await request.scope.shielded(1, trio.sleep, 0.2)
        request.note_time("answered")
        await trio.lowlevel.checkpoint()
        request.note("never")
    assert sent
    assert outside.cancelled_caught
    assert request.log[-1] == "answered t=2.2"


# --- an injected nursery


async def joined(request: Request, child: Callable[[], Awaitable[object]]) -> None:
    """A request with a dependency A and an injected nursery in which its handler starts `child`."""
    await request.enter(pool("A"))
    nursery = await request.scope.enter(trio.open_nursery(), name="nursery", joins=True)

    async def handler() -> str:
        nursery.start_soon(child)
        return "v"

    request.value = await request.scope.call(handler)
    request.error = await request.scope.leave()


def working(request: Request) -> Callable[[], Awaitable[object]]:
    async def work() -> None:
        try:
            await trio.sleep(3)
        except trio.Cancelled:
            request.note_time("child cancelled")
            raise
        request.note("child done")

    return work


@pytest.mark.parametrize(
    ("timeout", "gone", "log", "ends"),
    [
        (20, inf, ["child done", "A normal", "-A t=3.5"], None),
        (2, inf, ["child cancelled t=2.0", "A saw RequestCancelled(deadline)", "-A t=2.5"], "deadline"),
        (
            20,
            1,
            ["child cancelled t=1.0", "A saw RequestCancelled(disconnected)", "-A t=1.5"],
            "disconnected",
        ),
    ],
    ids=["in time", "deadline", "disconnect"],
)
async def test_children_of_an_injected_nursery_are_joined(
    autojump_clock: MockClock, timeout: float, gone: float, log: list[str], ends: str | None
) -> None:
    """They are waited for after the handler returned, inside the deadline, before dependencies leave."""
    request = Request(timeout=timeout)
    async with trio.open_nursery() as nursery:
        cancelling(request, "disconnected", gone, nursery)
        await joined(request, working(request))
        nursery.cancel_scope.cancel()
    assert request.log == ["+A", *log]
    assert ends == (request.error and request.scope.reason)


async def test_a_child_of_an_injected_nursery_fails(autojump_clock: MockClock) -> None:
    """A child's failure is the request's."""
    request = Request(timeout=20)
    await joined(request, failing(KeyError(404), 1))
    assert request.log == ["+A", "A saw group[KeyError(404)]", "-A t=1.5"]
    assert described(request.error or OSError()) == "group[KeyError(404)]"


async def test_the_handlers_error_is_not_wrapped_by_the_injected_nursery(autojump_clock: MockClock) -> None:
    """The same error in a nursery's group is the same error."""
    request = Request()
    await request.scope.enter(trio.open_nursery(), name="nursery", joins=True)
    assert described(await request.scope.leave(KeyError(404))) == "KeyError(404)"


async def test_children_cut_from_outside_are_not_a_success(autojump_clock: MockClock) -> None:
    """A cancellation from further out during the join is shown to outer dependencies: no commit."""
    request = Request()
    with trio.move_on_after(1) as outside:
        await request.enter(plain("A"))
        nursery = await request.scope.enter(trio.open_nursery(), name="nursery", joins=True)
        nursery.start_soon(working(request))
        error = await request.scope.leave()
        assert cancelled_from_outside(error)
        await trio.lowlevel.checkpoint()
    assert outside.cancelled_caught
    assert request.log == ["+A", "child cancelled t=1.0", "A saw RequestCancelled(failed)", "-A t=1.5"]


async def test_children_of_a_stream_are_joined_with_grace(autojump_clock: MockClock) -> None:
    """A stream outlives the deadline; at its end the children have the grace."""
    request = Request(timeout=2, grace=5)
    nursery = await request.scope.enter(trio.open_nursery(), name="nursery", joins=True)
    await request.scope.feed(trio.sleep, 10)
    nursery.start_soon(working(request))
    assert await request.scope.leave() is None
    assert (request.log, request.elapsed) == (["child done"], 13)


# --- call and feed


async def test_call_hands_over_value_and_error(autojump_clock: MockClock) -> None:
    """`call` returns what the function returns and raises what it raises, arguments passed on."""
    scope = Request(timeout=1).scope

    async def double(number: int) -> int:
        return 2 * number

    assert await scope.call(double, 4) == 8
    with pytest.raises(KeyError):
        await scope.call(failing(KeyError(1)))
    assert scope.reason is None


async def test_call_does_not_start_after_the_end(autojump_clock: MockClock) -> None:
    """When the request has ended nothing new runs, without a checkpoint in between."""
    scope = Request().scope
    scope.cancel("shed")
    for start in (scope.call, scope.feed):
        with pytest.raises(RequestCancelled) as caught:
            await start(quick)
        assert caught.value.reason == "shed"
    with pytest.raises(RequestCancelled):
        await scope.enter(trio.open_nursery(), name="nursery")
    with pytest.raises(RequestCancelled):
        await scope.around(passing, quick)
    assert scope.depth == 0


async def test_the_first_reason_wins(autojump_clock: MockClock) -> None:
    """`cancel` is idempotent, and after the end it does nothing."""
    request = Request(timeout=1)
    await request.run(sleeper)
    request.scope.cancel("disconnected")
    assert request.scope.reason == "deadline"
    settled_one = Request().scope
    settled_one.cancel("returned")
    settled_one.cancel("drained")
    assert settled_one.reason == "returned"


async def test_cancelled_carries_the_reason(autojump_clock: MockClock) -> None:
    """Trio's own Cancelled says why, for those who print it."""
    request = Request()
    seen: list[str | None] = []

    async def handler() -> None:
        try:
            await trio.sleep(10)
        except trio.Cancelled as exc:
            seen.append(exc.reason)
            raise

    async with trio.open_nursery() as nursery:
        cancelling(request, "drained", 1, nursery)
        with pytest.raises(RequestCancelled):
            await request.scope.call(handler)
    assert seen == ["drained"]


async def test_a_call_within_a_call_is_part_of_it(autojump_clock: MockClock) -> None:
    """A handler that reads the body is stopped as a whole, and stays stoppable after the read."""
    request = Request()

    async def handler() -> str:
        await request.scope.call(trio.sleep, 1)
        assert request.scope.armed is not None
        return await sleeper()

    async with trio.open_nursery() as nursery:
        cancelling(request, "disconnected", 2, nursery)
        await request.run(handler)
    assert (request.ends, request.elapsed) == ("RequestCancelled(disconnected)", 2)


async def test_a_stream_lives_past_the_deadline_but_not_past_its_client(autojump_clock: MockClock) -> None:
    """`feed` has no deadline; a disconnect stops it, and its dependencies clean up."""
    request = Request(timeout=2)
    async with trio.open_nursery() as nursery:
        cancelling(request, "disconnected", 60, nursery)
        await request.enter(plain("A"))
        with pytest.raises(RequestCancelled) as caught:
            await request.scope.feed(sleeper)
        await request.scope.leave(caught.value)
    assert request.log == ["+A", "A saw RequestCancelled(disconnected)", "-A t=60.5"]


async def test_leave_down_to_leaves_the_outer_ones_open(autojump_clock: MockClock) -> None:
    """Handler-scoped dependencies leave before a stream starts, the others stay."""
    request = Request()
    await request.enter(plain("A"))
    depth = request.scope.depth
    await request.enter(plain("B"), plain("C"))
    assert await request.scope.leave(down_to=depth) is None
    assert request.log == ["+A", "+B", "+C", "C normal", "-C t=0.5", "B normal", "-B t=1.0"]
    assert request.scope.depth == depth == 1
    await request.scope.leave()


async def test_errors_leave_no_cycles(autojump_clock: MockClock) -> None:
    """A failed request is freed when it is over, not when the garbage collector comes round."""
    request = Request()

    async def handler() -> str:
        await trio.lowlevel.checkpoint()
        raise KeyError

    async def one() -> None:
        try:
            await request.scope.around(passing, handler)
        except KeyError:
            pass
        try:
            await request.enter(plain("A"))
            await request.scope.call(handler)
        except KeyError as exc:
            await request.scope.leave(exc)

    await one()
    gc.collect()
    gc.disable()
    try:
        await one()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = [thing for thing in gc.garbage if isinstance(thing, KeyError)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == []
