"""A handler's signature, compiled once, at registration, into a flat plan that a request only runs.

Theory of operation. Every value that a handler or one of its providers takes has a *slot*. Path fields, query
parameters, injected objects and the body fill slots from the request; each dependency fills one by running. A `Call`
names, for each argument, the slot it comes from. So binding at run time is one pass over tuples, whatever the depth of
the dependency graph.

The order is DESIGN's "Order of work": the head first (path and query, all faults together), then dependencies that
need only the head (so that 401 beats 413), then the body, then dependencies that need it, then the handler.

This file owns that order and the refusal of graphs that have none. It knows no Trio: the types that stand for objects
above the Trio line are handed in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from ._convert import Converter, converter_for
from ._extract import BodyParam, Depends, Injected, PathParam, QueryParam, Source
from ._immediate import is_immediate
from ._signature import dependency_of, parameters_of, source_of, split_optional
from ._source import identity, is_async, locate, name_of, show, underlying
from .errors import Location, RegistrationError

NURSERY: Final = "nursery"
"""The key of the injected nursery: only a handler may ask for it (it opens after the dependencies)."""


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


@dataclass(frozen=True, slots=True)
class Step:
    """A dependency: its call and the slot that it fills."""

    call: Call
    slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a request needs to bind and call one handler."""

    handler: Call
    size: int
    paths: tuple[tuple[int, str], ...]
    queries: tuple[tuple[int, QueryParam], ...]
    injected: tuple[tuple[int, str], ...]
    before_body: tuple[Step, ...]
    body: tuple[int, BodyParam] | None
    after_body: tuple[Step, ...]
    nursery: int | None
    """The slot of the handler's nursery."""
    path_only: bool
    """The handler takes exactly the path fields: what matching gives is what it is called with."""

    def is_immediate(self) -> bool:
        """Whether nothing of it can suspend, so that nothing needs to be able to stop it.

        To be asked when all modules are imported: it looks at what the functions name.
        """
        return (
            self.body is None
            and self.nursery is None
            and self.handler.mode is Mode.ASYNC
            and is_immediate(self.handler.fn)
            and all(
                step.call.mode is Mode.INLINE or (step.call.mode is Mode.ASYNC and is_immediate(step.call.fn))
                for step in self.before_body
            )
        )


class _Compiler:
    """Collects slots and steps while it walks the graph depth first."""

    def __init__(self, fields: Mapping[str, Converter], injectable: Mapping[Any, str]) -> None:
        self.fields = fields
        self.injectable = injectable
        self.sources: list[Source | Callable[..., Any]] = []
        self.steps: list[tuple[Step, bool]] = []
        self.body_of: tuple[int, Location] | None = None
        self._chain: list[Callable[..., Any]] = []
        self._done: dict[Any, tuple[int, bool]] = {}

    def call(self, fn: Callable[..., Any], mode: Mode) -> tuple[Call, bool]:
        """The call of `fn`, its dependencies compiled before it, and whether it needs the body."""
        positional: list[int] = []
        keyword: list[tuple[str, int]] = []
        needs_body = False
        for parameter in parameters_of(fn):
            marker = dependency_of(parameter)
            if marker is not None:
                slot, body = self.dependency(marker, fn)
                needs_body |= body
            else:
                source = source_of(parameter, self.fields, self.injectable)
                slot = self._slot(source, fn)
                needs_body |= isinstance(source, BodyParam)
            if parameter.positional:
                positional.append(slot)
            else:
                keyword.append((parameter.name, slot))
        return Call(fn, mode, tuple(positional), tuple(keyword), locate(fn)), needs_body

    def dependency(self, marker: Depends, user: Callable[..., Any] | None) -> tuple[int, bool]:
        """The slot of a provider's value, and whether it needs the body; a provider asked for twice runs once."""
        provider = marker.provider
        key = identity(provider)
        if key in self._done:
            return self._done[key]
        if provider in self._chain:
            cycle = [*self._chain[self._chain.index(provider) :], provider]
            shown = "\n".join(f"    {locate(each)}" for each in cycle)
            raise RegistrationError(
                f"these dependencies need one another in a circle:\n{shown}\n"
                "Break it: let one of them take what it needs as an argument."
            )
        mode = provider_mode(provider, user)
        self._chain.append(provider)
        call, needs_body = self.call(provider, mode)
        self._chain.pop()
        slot = len(self.sources)
        self.sources.append(provider)
        self.steps.append((Step(call, slot), needs_body))
        self._done[key] = slot, needs_body
        return slot, needs_body

    def _slot(self, source: Source, fn: Callable[..., Any]) -> int:
        if isinstance(source, BodyParam):
            if self.body_of is not None:
                raise RegistrationError(_two_bodies(self.body_of[1], locate(fn), fn, source.name))
            self.body_of = len(self.sources), locate(fn)
        elif isinstance(source, Injected) and source.key == NURSERY and self._chain:
            raise RegistrationError(
                f"a provider cannot take the handler's nursery, which opens after it:\n{show(fn)}\n"
                "Open one of its own:\n\n    @asynccontextmanager\n    async def provider() -> AsyncIterator[...]:\n"
                "        async with trio.open_nursery() as nursery:\n            yield ..."
            )
        elif source in self.sources:
            return self.sources.index(source)
        self.sources.append(source)
        return len(self.sources) - 1

    def of(self, kind: type[Any]) -> list[tuple[int, Any]]:
        """Slots whose source is of `kind`."""
        return [(slot, source) for slot, source in enumerate(self.sources) if isinstance(source, kind)]


def compile_plan(
    handler: Callable[..., Any],
    fields: Mapping[str, Converter],
    injectable: Mapping[Any, str],
    dependencies: Iterable[Any] = (),
) -> Plan:
    """Compile `handler` for a route.

    Args:
        handler: an async function, or a function to run in a worker thread.
        fields: the path's fields by name, each of which the handler or a dependency must take, and as what.
        injectable: types that stand for an object of the request, and the key of each.
        dependencies: `Depends(...)` that run before the handler's own, for their effect.

    Raises:
        RegistrationError: the signature cannot be bound; the message shows it, and the remedy.
    """
    mode = handler_mode(handler)
    compiler = _Compiler(fields, injectable)
    for each in dependencies:
        if not isinstance(each, Depends):
            name = name_of(each) if callable(each) else repr(each)
            raise RegistrationError(
                f"dependencies=[{name}] holds no dependency.\n"
                f"Write dependencies=[Depends({name if callable(each) else 'provider'})]."
            )
        compiler.dependency(each, None)
    call, _ = compiler.call(handler, mode)
    paths = [(slot, source.name) for slot, source in compiler.of(PathParam)]
    _check_fields(handler, fields, {name for _, name in paths})
    path_only = len(paths) == len(compiler.sources) == len(call.keyword)
    bodies = compiler.of(BodyParam)
    injected = [(slot, source.key) for slot, source in compiler.of(Injected)]
    return Plan(
        handler=call,
        size=len(compiler.sources),
        paths=tuple(paths),
        queries=tuple(compiler.of(QueryParam)),
        injected=tuple((slot, key) for slot, key in injected if key != NURSERY),
        before_body=tuple(step for step, needs_body in compiler.steps if not needs_body),
        body=bodies[0] if bodies else None,
        after_body=tuple(step for step, needs_body in compiler.steps if needs_body),
        nursery=next((slot for slot, key in injected if key == NURSERY), None),
        path_only=path_only,
    )


def path_types(handler: Callable[..., Any], dependencies: Iterable[Any] = ()) -> dict[str, Converter]:
    """What the annotations of a handler and of all providers say of each name, should it be a path field.

    The handler's own word comes first; a name that says nothing (no annotation) is left out, and means `str`.
    """
    handler_mode(handler)
    found: dict[str, Converter] = {}
    seen: set[Any] = set()
    waiting = [handler, *(each.provider for each in dependencies if isinstance(each, Depends))]
    while waiting:
        fn = waiting.pop(0)
        if identity(fn) in seen:
            continue
        seen.add(identity(fn))
        for parameter in parameters_of(fn):
            marker = dependency_of(parameter)
            if marker is not None:
                provider_mode(marker.provider, fn)
                waiting.append(marker.provider)
            elif parameter.annotation is not inspect.Parameter.empty:
                converter = converter_for(split_optional(parameter.annotation)[0])
                if converter is not None:
                    found.setdefault(parameter.name, converter)
    return found


def handler_mode(handler: Callable[..., Any]) -> Mode:
    """How a handler is called.

    Raises:
        RegistrationError: it is a generator, or not callable.
    """
    if not callable(handler):
        raise RegistrationError(f"{handler!r} is not a handler.\nPass an async function.")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise RegistrationError(
            f"a handler cannot be a generator:\n{show(handler)}\n"
            "Return a stream, whose source is given a sink to send to:\n\n"
            "    async def feed(sink: Sink) -> None:\n        await sink.send(chunk)\n\n    return Stream(feed)"
        )
    return Mode.ASYNC if is_async(handler) else Mode.THREAD


def provider_mode(provider: Any, user: Callable[..., Any] | None) -> Mode:
    """How a provider is called, told from how it was written.

    Raises:
        RegistrationError: it is not callable, or a bare generator, whose cleanup would be lost.
    """
    asked = f"\nIt is asked for here:\n{show(user)}" if user is not None else ""
    if not callable(provider):
        raise RegistrationError(
            f"Depends({provider!r}) is not a provider: it cannot be called.{asked}\n"
            "Pass the function itself, without calling it:  Depends(provider)"
        )
    if inspect.isasyncgenfunction(provider) or inspect.isgeneratorfunction(provider):
        decorator = "asynccontextmanager" if inspect.isasyncgenfunction(provider) else "contextmanager"
        raise RegistrationError(
            f"a provider cannot be a bare generator, its cleanup would be left to the garbage collector:\n"
            f"{show(provider)}\nAdd the line above it:\n\n    @{decorator}\n    "
            f"{'async ' if decorator[0] == 'a' else ''}def {name_of(provider).rpartition('.')[2]}(...):{asked}"
        )
    inner = underlying(provider)
    if inspect.isasyncgenfunction(inner):
        return Mode.ASYNC_CONTEXT
    if inspect.isgeneratorfunction(inner):
        return Mode.CONTEXT
    if inspect.isclass(provider):
        return Mode.INLINE  # a constructor: cheaper than the hop to a thread would be
    return Mode.ASYNC if is_async(provider) else Mode.THREAD


def _check_fields(handler: Callable[..., Any], fields: Collection[str], taken: Collection[str]) -> None:
    missing = [name for name in fields if name not in taken]
    if missing:
        names = ", ".join(f"{{{name}}}" for name in missing)
        raise RegistrationError(
            f"the path has {names}, which the handler does not take:\n{show(handler)}\n"
            f"Add the parameter:  {missing[0]}: str"
        )


def _two_bodies(first: Location, second: Location, fn: Callable[..., Any], name: str) -> str:
    if first == second:
        return (
            f"two parameters want the body, which can be read once; {name!r} is the second:\n{show(fn)}\n"
            "Make one model of them:\n\n    class Both(msgspec.Struct):\n        ...\n\n"
            "or give a scalar type to the one that is meant for the query."
        )
    return (
        f"two parameters want the body, which can be read once: one in\n    {first}\nand {name!r} in\n{show(fn)}\n"
        "Read it in one provider and let both depend on that."
    )
