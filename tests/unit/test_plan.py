"""A signature compiled into a plan: its slots, the order they are filled in, and how callables are told apart."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import msgspec
import pytest

from trivet._compile import compile_plan
from trivet._convert import STR, Converter, converter_for
from trivet._markers import Depends, Header, Query
from trivet._modes import Mode, handler_mode, provider_mode
from trivet._path_types import path_types
from trivet._plan import NURSERY, Plan
from trivet.errors import RegistrationError


class Request:
    """Stands for the request: the plan is given the types it injects."""


class Nursery:
    """Stands for the nursery."""


class Model(msgspec.Struct):
    x: int


INJECTABLE = {Request: "request", Nursery: NURSERY}


def compiled(
    handler: Callable[..., Any], fields: dict[str, Converter] | None = None, dependencies: tuple[Any, ...] = ()
) -> Plan:
    return compile_plan(handler, fields or {}, INJECTABLE, dependencies)


def steps(plan: Plan) -> tuple[list[str], list[str]]:
    """The names of the providers that run before and after the body is read."""

    def names(part: Any) -> list[str]:
        return [step.call.where.name.rpartition(".")[2] for step in part]

    return names(plan.before_body), names(plan.after_body)


# ---- how callables are called


async def asynchronous() -> None: ...


def threaded() -> None: ...


class Callable1:
    async def __call__(self) -> None: ...


class Callable2:
    def __call__(self) -> None: ...

    async def method(self) -> None: ...


async def agen() -> AsyncIterator[int]:
    yield 1


def gen() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("fn", "mode"),
    [
        (asynchronous, Mode.ASYNC),
        (threaded, Mode.THREAD),
        (functools.partial(asynchronous), Mode.ASYNC),
        (functools.partial(functools.partial(threaded)), Mode.THREAD),
        (Callable1(), Mode.ASYNC),
        (Callable2(), Mode.THREAD),
        (Callable2().method, Mode.ASYNC),
        (lambda: None, Mode.THREAD),
    ],
)
def test_handlers_and_plain_providers_are_told_alike(fn: Any, mode: Mode) -> None:
    """Async functions run in the request's task, others in a thread, however they are wrapped."""
    assert handler_mode(fn) is mode
    assert provider_mode(fn, None) is mode


@pytest.mark.parametrize(
    ("fn", "mode"),
    [
        (asynccontextmanager(agen), Mode.ASYNC_CONTEXT),
        (contextmanager(gen), Mode.CONTEXT),
        (functools.partial(asynccontextmanager(agen)), Mode.ASYNC_CONTEXT),
        (Model, Mode.INLINE),
        (Callable2, Mode.INLINE),
    ],
)
def test_managers_and_constructors(fn: Any, mode: Mode) -> None:
    """A decorated generator is entered and left; a class is called where we are, which is cheaper than a thread."""
    assert provider_mode(fn, None) is mode


@pytest.mark.parametrize("fn", [agen, gen, "x", None, 5, functools.partial(gen), functools.partial(agen)])
def test_generators_and_things_are_neither(fn: Any) -> None:
    """A bare generator's cleanup would be lost; what cannot be called provides nothing."""
    with pytest.raises(RegistrationError):
        handler_mode(fn)
    with pytest.raises(RegistrationError):
        provider_mode(fn, None)


# ---- slots


def test_a_handler_of_path_fields_only_is_called_with_what_matching_gave() -> None:
    """The usual handler needs no slots at run time."""

    async def fields(a: int, b: str) -> None: ...

    async def positional(a: int, /) -> None: ...

    async def query(a: int, q: int) -> None: ...

    number = converter_for(int)
    assert number is not None
    assert compiled(fields, {"a": number, "b": STR}).path_only
    assert compiled(asynchronous).path_only
    assert not compiled(positional, {"a": number}).path_only
    assert not compiled(query, {"a": number}).path_only
    assert not compiled(asynchronous, dependencies=(Depends(threaded),)).path_only


def test_every_source_has_a_slot_and_equal_ones_share_it() -> None:
    """The same query parameter in two functions is read once; different ones are not confused."""

    def one(page: int, q: str = "") -> None: ...

    def two(page: int, q: str = "x") -> None: ...

    async def handler(
        a: Annotated[None, Depends(one)], b: Annotated[None, Depends(two)], page: int, request: Request, model: Model
    ) -> None: ...

    plan = compiled(handler)
    names = [parameter.name for _, parameter in plan.queries]
    assert sorted(set(names)) == ["page", "q"]
    assert names.count("q") == 2  # with different defaults
    assert plan.injected == ((plan.injected[0][0], "request"),)
    assert plan.body is not None
    assert plan.size == len({slot for slot, _ in plan.queries}) + 1 + 1 + 2
    slots = list(range(plan.size))
    _, keyword = plan.handler.bind(slots)
    assert set(keyword) == {"a", "b", "page", "request", "model"}
    assert len(set(keyword.values())) == 5


def test_dependencies_run_in_order_once_and_those_that_need_the_body_last() -> None:
    """Depth first; a router's before the handler's; a provider asked for twice runs once."""

    def base() -> None: ...

    def left(base: Annotated[None, Depends(base)]) -> None: ...

    def right(base: Annotated[None, Depends(base)], model: Model) -> None: ...

    def above(right: Annotated[None, Depends(right)]) -> None: ...

    def outer() -> None: ...

    async def handler(a: Annotated[None, Depends(above)], b: Annotated[None, Depends(left)]) -> None: ...

    plan = compiled(handler, dependencies=(Depends(outer), Depends(left)))
    assert steps(plan) == (["outer", "base", "left"], ["right", "above"])


def test_the_nursery_is_the_handlers() -> None:
    """It opens last, so a provider cannot have it, however deep."""

    def provider(nursery: Nursery) -> None: ...

    def outer(p: Annotated[None, Depends(provider)]) -> None: ...

    async def handler(nursery: Nursery) -> None: ...

    async def wrong(o: Annotated[None, Depends(outer)]) -> None: ...

    assert compiled(handler).nursery is not None
    assert compiled(asynchronous).nursery is None
    with pytest.raises(RegistrationError, match="cannot take the handler's nursery"):
        compiled(wrong)


def test_a_field_that_only_a_dependency_takes_is_taken() -> None:
    """The handler need not repeat it; one that nobody takes is an error."""

    def provider(id: int) -> None: ...  # noqa: A002

    number = converter_for(int)
    assert number is not None
    compiled(asynchronous, {"id": number}, (Depends(provider),))
    with pytest.raises(RegistrationError, match=r"\{id\}, which the handler does not take"):
        compiled(asynchronous, {"id": number})


def test_a_provider_of_many_routes_may_have_a_default_where_one_has_a_field() -> None:
    """The route with the field gives it; the default is for the others. A handler has one path only."""

    def provider(id: int = 1) -> None: ...  # noqa: A002

    async def handler(id: int = 1) -> None: ...  # noqa: A002

    number = converter_for(int)
    assert number is not None
    assert compiled(asynchronous, {"id": number}, (Depends(provider),)).paths == ((0, "id"),)
    assert compiled(asynchronous, {}, (Depends(provider),)).queries
    with pytest.raises(RegistrationError, match="could never be used"):
        compiled(handler, {"id": number})


def test_path_types_come_from_the_handler_first_then_from_providers() -> None:
    """A name without annotation says nothing; what is no scalar neither; optionals count as what they hold."""

    def provider(a: str, b: int | None, c: list[int], d) -> None: ...  # type: ignore[no-untyped-def]

    async def handler(a: int, p: Annotated[None, Depends(provider)], request: Request) -> None: ...

    found = path_types(handler)
    assert {name: converter.base for name, converter in found.items()} == {"a": int, "b": int}
    assert path_types(asynchronous, [Depends(provider)])["a"].base is str


def test_what_a_partial_has_filled_is_not_asked_for() -> None:
    """Positional or by name."""

    async def handler(database: object, a: int, mode: object) -> None: ...

    plan = compiled(functools.partial(handler, object(), mode=object()))
    assert [name for name, _ in plan.handler.keyword] == ["a"]


def test_deep_and_wide_graphs_compile_in_linear_work() -> None:
    """A diamond at each of many levels is walked once, not once for each path through it."""
    calls = 0

    def make(below: Any) -> Any:
        def provider(a: Any, b: Any) -> None: ...

        nonlocal calls
        calls += 1
        marker = Annotated[None, Depends(below)] if below else int
        provider.__annotations__ = {"a": marker, "b": marker}
        return provider

    provider: Any = None
    for _ in range(60):
        provider = make(provider)

    async def handler(p: Annotated[None, Depends(asynchronous)]) -> None: ...

    handler.__annotations__ = {"p": Annotated[None, Depends(provider)]}
    plan = compiled(handler)
    assert len(plan.before_body) == 60
    assert plan.size == 62


def test_a_name_may_be_read_differently_by_two() -> None:
    """As another type, or whole and in parts; one function reads it as one thing, but for a header."""

    def text(page: str, ids: str) -> None: ...

    async def handler(
        page: Annotated[int, msgspec.Meta(ge=1)],
        ids: list[int],
        t: Annotated[None, Depends(text)],
        accept: Annotated[list[str], Header()],
        whole: Annotated[str, Header(alias="accept")],
        other: Annotated[int | None, Query(alias="page")] = None,
    ) -> None: ...

    assert len(compiled(handler).queries) == 5

    def two(page: int, other: Annotated[str, Query(alias="page")]) -> None: ...

    with pytest.raises(RegistrationError, match="'page' in the query is read as two things, int and str"):
        compiled(handler, dependencies=(Depends(two),))
    compile_plan(handler, {}, INJECTABLE, overrides={text: two})  # a replacement stands in for a while only
