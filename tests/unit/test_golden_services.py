"""Every message about services and background tasks, as a user meets it: `tests/golden/services/`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.harness import Golden
from trivet import App, Depends, Request, Router
from trivet.errors import RegistrationError
from trivet.testing import LifespanFailed, TestClient

app = App()
CASES: dict[str, Callable[[], object]] = {}
WITHOUT_PLACE = {"something", "name_alone"}


def case(fn: Callable[[], object]) -> Callable[[], object]:
    CASES[fn.__name__] = fn
    return fn


async def fine() -> None: ...


def blocking() -> None: ...


async def user(request: Request) -> str:
    return ""


@case
def something() -> None:
    app.service(5)  # type: ignore[call-overload]  # pyright: ignore


@case
def name_alone() -> None:
    app.service("refresh")(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def not_async() -> None:
    app.service(blocking)  # type: ignore[type-var]  # pyright: ignore


@case
def generator() -> None:
    @app.service  # type: ignore[type-var]  # pyright: ignore
    async def ticks() -> AsyncIterator[int]:
        yield 1


@case
def parameter_plain() -> None:
    @app.service
    async def refresh(seconds: float = 60) -> None: ...


@case
def parameter_request() -> None:
    @app.service
    async def refresh(request: Request) -> None: ...


@case
def provider_of_requests() -> None:
    @app.service
    async def refresh(name: Annotated[str, Depends(user)]) -> None: ...


@case
def provider_with_the_status() -> None:
    async def pool(task_status: trio.TaskStatus[None]) -> None: ...

    @app.service
    async def refresh(pool: Annotated[None, Depends(pool)]) -> None: ...


@case
def provider_with_the_nursery() -> None:
    async def pool(nursery: trio.Nursery) -> None: ...

    @app.service
    async def refresh(pool: Annotated[None, Depends(pool)]) -> None: ...


@case
def option_unknown() -> None:
    app.service(max_restart=3)(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def option_unknown_far() -> None:
    app.service(interval=3)(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def option_restart() -> None:
    app.service(restart=True)(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def option_max_restarts() -> None:
    app.service(max_restarts=-1)(fine)


@case
def option_seconds() -> None:
    app.service(backoff="1s")(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def option_drain_timeout() -> None:
    app.service(drain_timeout=None)(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def option_name() -> None:
    app.service(name=5)(fine)  # type: ignore[call-overload]  # pyright: ignore


@case
def same_name() -> None:
    served, router = App(), Router()
    served.service(name="fine")(user_less)
    router.service(fine)
    served.mount("/x", router)


async def user_less() -> None: ...


@pytest.mark.parametrize("name", CASES)
def test_the_message(name: str, golden: Golden) -> None:
    """The registration fails at its line with exactly this message, which says whose function it is about."""
    with pytest.raises(RegistrationError) as caught:
        CASES[name]()
    golden(f"services/{name}", f"{type(caught.value).__name__}: {caught.value}")
    assert name in WITHOUT_PLACE or "test_golden_services.py:" in str(caught.value)


def test_nothing_of_a_service_that_was_refused_is_kept() -> None:
    """Whoever collects the errors of an application goes on to the next."""
    served = App()
    with pytest.raises(RegistrationError):
        served.service(user)
    assert served.services == ()


async def test_what_is_said_of_its_life(golden: Golden, caplog: pytest.LogCaptureFixture) -> None:
    """What an operator reads of a service that returns, fails, and gives up."""
    caplog.set_level(logging.INFO, "trivet.services")
    served = App()
    served._supervisor.random.random = lambda: 0.0  # type: ignore[method-assign]

    @served.service
    async def once() -> None: ...

    @served.service(restart="always")
    async def twice() -> None:
        if served.services[1].restarts:
            await trio.sleep_forever()

    started = trio.Event()

    @served.service(max_restarts=1)
    async def broken() -> None:
        await started.wait()  # else it may give up before the others have started, which is a failed startup
        raise KeyError("x")

    async def live() -> None:
        async with TestClient(served):
            started.set()
            await trio.testing.wait_all_tasks_blocked(0.01)

    with pytest.raises(LifespanFailed) as caught:
        await live()
    said = [f"{each.levelname}: {each.getMessage()}" for each in caplog.records if each.name == "trivet.services"]
    golden("services/life", "\n".join([*sorted(said), "", f"of a test client: {caught.value}"]))


async def test_what_is_said_of_one_that_keeps_returning(golden: Golden, caplog: pytest.LogCaptureFixture) -> None:
    """It has raised nothing, and still there is an error with a remedy."""
    served = App()

    @served.service(restart="always", max_restarts=0)
    async def fetch() -> None:
        await started.wait()

    started = trio.Event()

    async def live() -> None:
        async with TestClient(served):
            started.set()
            await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(LifespanFailed):
        await live()
    (said,) = (each for each in caplog.records if each.levelno == logging.CRITICAL)
    assert said.exc_info
    golden("services/keeps_returning", f"{said.getMessage()}\n{said.exc_info[1]}")


async def test_what_is_said_of_a_start_that_fails(golden: Golden) -> None:
    """A service that ends before it has said that it is ready."""
    served = App()

    @served.service
    async def early(task_status: trio.TaskStatus[None]) -> None: ...

    with pytest.raises(LifespanFailed) as caught:
        async with TestClient(served):
            raise AssertionError("unreachable")
    golden("services/never_started", str(caught.value).partition("StartupFailed: ")[2])


async def test_what_is_said_of_tasks(
    golden: Golden, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """What takes too long, what the shutdown cuts, and what cannot be started."""
    served = App(drain_timeout=5)
    said: list[str] = []

    def refused(error: type[Exception], **options: Any) -> None:
        with pytest.raises(error) as caught:
            served.tasks.start_soon(fine, **options)
        said.append(f"{error.__name__}: {caught.value}")

    refused(RuntimeError)

    @served.service
    async def late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            refused(RuntimeError)

    async with TestClient(served):
        refused(ValueError, timeout=0)
        served.tasks.start_soon(trio.sleep, 10, timeout=2.5, name="too slow")
        await trio.sleep(3)
        served.tasks.start_soon(trio.sleep_forever)
        served.tasks.start_soon(trio.sleep_forever, name="mail")
        said.append(f"{served.tasks}: {served.tasks.current}")
    said += [f"{each.levelname}: {each.getMessage()}" for each in caplog.records]
    golden("services/tasks", "\n\n".join(said))


def test_the_supervisor_is_not_what_is_shown() -> None:
    """What pages are given cannot stop a service; it says how that is."""
    served = App()
    served.service(fine)
    assert not hasattr(served.services[0], "stop")
    assert repr(served.services[0]) == "<service fine: stopped, 0 restarts>"
