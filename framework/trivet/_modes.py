"""How a callable is called: in the request's task, in a worker thread, where we are, or as a context manager.

This file owns what tells them apart, how they were written, and refuses what is none of them. It runs at registration
only, but for `Call.bind`.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ._ported import framework_of, instead_of_provider
from ._source import is_async, name_of, show, underlying
from .errors import Location, RegistrationError


class Mode(Enum):
    """How a callable is called."""

    ASYNC = "async"
    THREAD = "thread"
    INLINE = "inline"
    ASYNC_CONTEXT = "async context"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Call:
    """A callable and the slot of each of its arguments."""

    fn: Callable[..., Any]
    mode: Mode
    positional: tuple[int, ...]
    keyword: tuple[tuple[str, int], ...]
    where: Location

    def bind(self, slots: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments for one request."""
        return [slots[slot] for slot in self.positional], {name: slots[slot] for name, slot in self.keyword}


def handler_mode(handler: Callable[..., Any]) -> Mode:
    """How a handler is called.

    Raises:
        RegistrationError: it is a generator, or not callable.
    """
    if not callable(handler):
        raise RegistrationError(f"{handler!r} is not a handler.\nPass an async function.")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        shown = show(handler)
        stream, sink, item = "Stream", "Sink", "chunk"
        if "-> EventStream" in shown:
            stream, sink, item = "EventStream", "EventSink", "event"
        raise RegistrationError(
            f"a handler cannot be a generator:\n{shown}\n"
            "Return a stream, whose source is given a sink to send to:\n\n"
            f"    async def feed(sink: {sink}) -> None:\n        await sink.send({item})\n\n    return {stream}(feed)"
        )
    return Mode.ASYNC if is_async(handler) else Mode.THREAD


def provider_mode(provider: Any, user: Callable[..., Any] | None) -> Mode:
    """How a provider is called, told from how it was written.

    Raises:
        RegistrationError: it is not callable, or a bare generator, whose cleanup would be lost.
    """
    asked = f"\nIt is asked for here:\n{show(user)}" if user is not None else ""
    if not callable(provider):
        name = repr(provider)
        if " at 0x" in name:  # an address says nothing
            name = f"{type(provider).__name__}(...)"
        raise RegistrationError(f"Depends({name}) is not a provider: it cannot be called.{asked}\n{_instead(provider)}")
    if ported := instead_of_provider(provider):
        raise RegistrationError(
            f"Depends({name_of(provider)}) asks for what {framework_of(provider)} provides, which trivet cannot bind."
            f"{asked}\n{ported}"
        )
    bare = _written(provider)
    if inspect.isasyncgenfunction(bare) or inspect.isgeneratorfunction(bare):
        decorator = "asynccontextmanager" if inspect.isasyncgenfunction(bare) else "contextmanager"
        raise RegistrationError(
            f"a provider cannot be a bare generator, its cleanup would be left to the garbage collector:\n"
            f"{show(provider)}\nAdd the line above it:\n\n    @{decorator}\n    "
            f"{'async ' if decorator[0] == 'a' else ''}def {_short_name(bare)}(...):\n{asked}".rstrip("\n")
        )
    inner = underlying(provider)
    if inspect.isasyncgenfunction(inner):
        return Mode.ASYNC_CONTEXT
    if inspect.isgeneratorfunction(inner):
        return Mode.CONTEXT
    if inspect.isclass(provider):
        return Mode.INLINE  # a constructor: cheaper than the hop to a thread would be
    return Mode.ASYNC if is_async(provider) else Mode.THREAD


def _instead(value: object) -> str:
    """What to pass for a value that cannot be called."""
    if not hasattr(value, "__aenter__"):
        return "Pass the function itself, without calling it:  Depends(provider)"
    name = type(value).__name__
    return (
        "It can be entered; pass a function that enters it, once for the whole application:\n\n"
        f"    @asynccontextmanager\n    async def opened() -> AsyncGenerator[{name}]:\n"
        f"        async with {name}(...) as value:\n            yield value\n\n"
        f'    Annotated[{name}, Depends(opened, scope="app")]'
    )


def no_dependency(each: Any) -> RegistrationError:
    """The error for what stands in `dependencies=[...]` and is no `Depends`."""
    if framework := framework_of(each):
        name, remedy = (
            f"{type(each).__name__} of {framework}",
            "Import it from trivet:  dependencies=[Depends(provider)]",
        )
    elif not callable(each):
        name, remedy = repr(each), "Write dependencies=[Depends(provider)]."
    elif _written(each) is each:
        name, remedy = name_of(each), f"Write dependencies=[Depends({name_of(each)})]."
    else:  # an instance, whose class would be another provider
        name = f"{name_of(each)}(...)"
        remedy = f"Wrap it as it is:  dependencies=[Depends({name})]"
    return RegistrationError(f"dependencies=[{name}] holds no dependency.\n{remedy}")


def _short_name(fn: Callable[..., Any]) -> str:
    return name_of(fn).rpartition(".")[2]


def _written(provider: Any) -> Any:
    """Where it is written what a provider does: an instance's class says that."""
    if inspect.isroutine(provider) or inspect.isclass(provider) or isinstance(provider, functools.partial):
        return typing.cast("Any", provider)
    return type(provider).__call__
