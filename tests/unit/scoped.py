"""A request without an application, for the tests of the request scope.

Its dependencies write down what happens to them: when they are entered, what they see, whether they are cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import inf

import trio

from trivet._middleware import standing
from trivet._scope import RequestScope
from trivet.asgi import Reason
from trivet.errors import RequestCancelled

Next = Callable[[], Awaitable[str]]


def described(error: BaseException) -> str:
    if isinstance(error, RequestCancelled):
        return f"RequestCancelled({error.reason})"
    if isinstance(error, trio.Cancelled):
        return "Cancelled"
    if isinstance(error, BaseExceptionGroup):
        return "group[" + ", ".join(map(described, error.exceptions)) + "]"
    return f"{type(error).__name__}({', '.join(map(str, error.args)).partition('.')[0]})"


@dataclass
class Request:
    """What an application does with a scope, without an application."""

    timeout: float = inf
    grace: float = 5.0
    log: list[str] = field(default_factory=list)
    began: float = field(default_factory=trio.current_time)
    value: str | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.scope = RequestScope(self.began + self.timeout, self.grace, self.complain)
        self.complaints: list[str] = []

    def complain(self, message: str, error: BaseException | None) -> None:
        self.complaints.append(message if error is None else f"{message}: {described(error)}")

    @property
    def elapsed(self) -> float:
        return trio.current_time() - self.began

    def note(self, text: str) -> None:
        self.log.append(text)

    def note_time(self, text: str) -> None:
        self.log.append(f"{text} t={self.elapsed:.1f}")

    async def enter(self, *dependencies: Dependency) -> None:
        for dependency in dependencies:
            await self.scope.enter(self.opened(dependency), name=dependency.name)

    async def run(self, handler: Callable[[], Awaitable[str]], *dependencies: Dependency) -> None:
        """Enter the dependencies, call the handler, leave: `value` or `error` is what it ends with."""
        before = standing()
        try:
            await self.enter(*dependencies)
            self.value = await self.scope.call(handler)
        except BaseException as exc:
            self.error = exc
        self.error = await self.scope.leave(self.error)
        if self.error is not None:
            self.value = None
        assert standing() is before
        assert (self.scope.depth, self.scope.armed, self.scope.leaving) == (0, None, None)

    @property
    def ends(self) -> str:
        return f"value {self.value}" if self.error is None else described(self.error)

    @asynccontextmanager
    async def opened(self, dependency: Dependency) -> AsyncIterator[None]:
        """The dependency: notes its entry, what it sees at its yield, and whether its cleanup is cut."""
        name = dependency.name
        self.note(f"+{name}")
        try:
            await trio.sleep(dependency.enters_for)
        except trio.Cancelled:
            self.note(f"{name} entering: Cancelled")
            raise
        if not dependency.nursery:
            with dependency.holding():
                try:
                    yield
                    self.note(f"{name} normal")
                except BaseException as exc:
                    self.note(f"{name} saw {described(exc)}")
                    if not dependency.swallows:
                        raise
                finally:
                    await self.cleaned(dependency)
            return
        async with trio.open_nursery() as nursery:
            for child in dependency.children:
                nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)
            try:
                yield
                self.note(f"{name} normal")
            except BaseException as exc:
                self.note(f"{name} saw {described(exc)}")
                if not dependency.swallows:
                    raise
            finally:
                try:
                    await self.cleaned(dependency)
                finally:
                    nursery.cancel_scope.cancel()

    async def cleaned(self, dependency: Dependency) -> None:
        try:
            await trio.sleep(dependency.cleans_for)
        except trio.Cancelled:
            self.note_time(f"{dependency.name} cut")
            raise
        self.note_time(f"-{dependency.name}")
        if dependency.raises is not None:
            raise dependency.raises


@contextmanager
def nothing() -> Iterator[None]:
    yield


@dataclass
class Dependency:
    name: str
    nursery: bool = False
    enters_for: float = 0
    cleans_for: float = 0.5
    swallows: bool = False
    raises: BaseException | None = None
    children: tuple[Callable[[], Awaitable[object]], ...] = ()
    holding: Callable[[], AbstractContextManager[object]] = nothing


def plain(name: str, **more: object) -> Dependency:
    return Dependency(name, **more)  # type: ignore[arg-type]


def pool(name: str, *children: Callable[[], Awaitable[object]], **more: object) -> Dependency:
    """A dependency that holds a nursery over its yield."""
    return Dependency(name, nursery=True, children=children, **more)  # type: ignore[arg-type]


async def sleeper() -> str:
    await trio.sleep(100)
    return "slept"


async def quick() -> str:
    return "ok"


def failing(error: BaseException, after: float = 0) -> Callable[[], Awaitable[str]]:
    async def fail() -> str:
        await trio.sleep(after)
        raise error

    return fail


def cancelling(request: Request, reason: Reason, after: float, nursery: trio.Nursery) -> None:
    async def cancel() -> None:
        await trio.sleep(after)
        request.scope.cancel(reason)

    nursery.start_soon(cancel)


async def groaning() -> str:
    """A handler whose child fails while it is cancelled."""

    async def child() -> None:
        try:
            await trio.sleep(10)
        finally:
            raise ValueError("in child")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.sleep(10)
    return "never"


async def passing(call_next: Next) -> str:
    return await call_next()
