"""From a handler's signature to its plan, once, at registration.

This file owns the walk over the graph of dependencies, the order that follows from it, and the refusal of graphs that
have none. It knows no Trio: the types that stand for objects above the Trio line are handed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from ._convert import Converter
from ._extract import BodyParam, FormParam, Injected, ModelParam, PathParam, RawParam, Source, TextParam
from ._markers import Depends, FormLimits
from ._modes import Call, Mode, handler_mode, no_dependency, provider_mode
from ._parameter import Parameter, dependency_of, parameters_of
from ._plan import NURSERY, FormPlan, Plan, Step
from ._shared import Shared, SharedPlaces, circle
from ._signature import source_of
from ._socket_plan import check_place, check_taken
from ._source import identity, locate, name_of, show
from ._texts import Agreement
from .errors import Location, RegistrationError

NO_OVERRIDES: Final[Mapping[Any, Callable[..., Any]]] = {}


class Needs(NamedTuple):
    """What a call waits for."""

    body: bool
    inner: bool
    """It takes what is held only while the handler runs."""


class Compiler:
    """Collects slots and steps while it walks the graph depth first."""

    def __init__(
        self,
        handler: Callable[..., Any],
        fields: Mapping[str, Converter],
        injectable: Mapping[Any, str],
        shared: SharedPlaces,
        overrides: Mapping[Any, Callable[..., Any]],
        *,
        socket: bool,
    ) -> None:
        self.handler = handler
        self.socket = socket
        self.fields = fields
        self.injectable = injectable
        self.shared = shared
        self.overrides = overrides
        self.sources: list[Source | Shared | Callable[..., Any]] = []
        self.steps: list[tuple[Step, Needs]] = []
        # Who reads the body, and as what: one document, or one form that many have a part in.
        self.body_of: tuple[type[Source], Location] | None = None
        self._chain: list[Callable[..., Any]] = []
        self._done: dict[Any, tuple[Depends, int, Needs]] = {}
        self._explained = False
        self._agreement = Agreement()

    def call(self, fn: Callable[..., Any], mode: Mode) -> tuple[Call, Needs]:
        """The call of `fn`, its dependencies compiled before it, and what it has to wait for."""
        positional: list[int] = []
        keyword: list[tuple[str, int]] = []
        needs = Needs(False, False)
        for parameter in parameters_of(fn):
            marker = dependency_of(parameter)
            if marker is not None:
                slot, of_it = self.dependency(marker, fn)
                needs = Needs(needs.body or of_it.body, needs.inner or of_it.inner)
            else:
                source = self.source(parameter, provider=bool(self._chain))
                slot = self._slot(source, fn)
                needs = needs._replace(body=needs.body or isinstance(source, BodyParam | RawParam | FormParam))
            if parameter.positional:
                positional.append(slot)
            else:
                keyword.append((parameter.name, slot))
        return Call(fn, mode, tuple(positional), tuple(keyword), locate(fn)), needs

    def source(self, parameter: Parameter, *, provider: bool) -> Source:
        """Where the value of a parameter without `Depends` comes from; `provider`: it is a provider's."""
        return source_of(parameter, self.fields, self.injectable, provider=provider, socket=self.socket)

    def dependency(self, marker: Depends, user: Callable[..., Any] | None) -> tuple[int, Needs]:
        """The slot of a provider's value, and what it waits for; a provider asked for twice runs once."""
        provider = marker.provider
        key = identity(provider)
        if key in self._done:
            first, slot, needs = self._done[key]
            if first.scope != marker.scope:
                raise RegistrationError(
                    f'this is made once, and asked for with two scopes, "{first.scope}" and "{marker.scope}":\n'
                    f"{show(provider)}\nSay the same in both places."
                )
            return slot, needs
        if marker.scope == "app":
            place = self.shared.place(provider, user)
            self.sources.append(place)
            self._done[key] = marker, len(self.sources) - 1, Needs(False, False)
            return len(self.sources) - 1, Needs(False, False)
        provider = self.overrides.get(key, provider)
        if self._chain and provider is self._chain[-1] is not marker.provider:
            # A replacement that depends on what it replaces, to look at its value or to change it, means the original.
            provider, key = marker.provider, ("original", key)
        if provider in self._chain:
            raise circle([*self._chain[self._chain.index(provider) :], provider])
        mode = provider_mode(provider, user)
        self._chain.append(provider)
        try:
            call, needs = self.call(provider, mode)
            needs = self._lifetime(marker, mode, needs, provider)
        except RegistrationError as error:
            raise self._explain(error) from None
        self._chain.pop()
        slot = len(self.sources)
        self.sources.append(marker.provider)
        self.steps.append((Step(call, slot), needs))
        self._done[key] = marker, slot, needs
        return slot, needs

    def _lifetime(self, marker: Depends, mode: Mode, needs: Needs, provider: Callable[..., Any]) -> Needs:
        """Whether it is held only while the handler runs: what is no context manager is held by nobody."""
        if mode not in (Mode.CONTEXT, Mode.ASYNC_CONTEXT):
            return needs
        if marker.scope == "handler":
            return needs._replace(inner=True)
        if needs.inner:
            raise RegistrationError(
                f"this is held for the whole request, and needs what is left when the handler has returned:\n"
                f'{show(provider)}\nLet both live as long: take scope="handler" from one, or give it to the other:\n\n'
                f'    Depends({name_of(provider).rpartition(".")[2]}, scope="handler")'
            )
        return needs

    def _explain(self, error: RegistrationError) -> RegistrationError:
        """Show who needs the provider that cannot be: it may be far from the handler that is being registered."""
        if self._explained or "in a circle" in str(error):
            return error
        self._explained = True
        chain = "\n".join(f"    {locate(each)}" for each in (self.handler, *self._chain))
        return RegistrationError(f"{error}\n\nIt is needed through\n{chain}")

    def _slot(self, source: Source, fn: Callable[..., Any]) -> int:
        check_place(source, fn, socket=self.socket)
        if isinstance(source, BodyParam | RawParam | FormParam):
            self._take_body(source, fn)
        if isinstance(source, Injected) and source.key == NURSERY and self._chain:
            raise RegistrationError(
                f"a provider cannot take the handler's nursery, which opens after it:\n{show(fn)}\n"
                "Open one of its own:\n\n    @asynccontextmanager\n    async def provider() -> AsyncIterator[...]:\n"
                "        async with trio.open_nursery() as nursery:\n            yield ..."
            )
        if not self.overrides:  # a replacement need not read what the original read
            self._agreement.check(source, fn)
        if source in self.sources:
            return self.sources.index(source)
        self.sources.append(source)
        return len(self.sources) - 1

    def _take_body(self, source: BodyParam | RawParam | FormParam, fn: Callable[..., Any]) -> None:
        if self.body_of is None:
            self.body_of = type(source), locate(fn)
        elif self.body_of[0] is not FormParam or not isinstance(source, FormParam):
            raise RegistrationError(_two_bodies(self.body_of, fn, source.name, form=isinstance(source, FormParam)))

    def form(self) -> FormPlan | None:
        """All parts of the form together, with the limits that any of them says."""
        parts: list[tuple[int, FormParam]] = self.of(FormParam)
        if not parts:
            return None
        said: dict[str, int] = {}
        for _, each in parts:
            for limit in dataclasses.fields(FormLimits):
                value = getattr(each.limits, limit.name)
                if value is not None and said.setdefault(limit.name, value) != value:
                    raise RegistrationError(
                        f"one form has two limits: {limit.name}={said[limit.name]} and {limit.name}={value}.\n"
                        f"Say it once:  Form({limit.name}={max(value, said[limit.name])})"
                    )
        return FormPlan(tuple((slot, each.part) for slot, each in parts), FormLimits(**said))

    def texts(self, where: str) -> tuple[tuple[int, TextParam | ModelParam], ...]:
        """What is read from one part of the head."""
        found = [(slot, each) for slot, each in enumerate(self.sources) if isinstance(each, TextParam | ModelParam)]
        return tuple((slot, each) for slot, each in found if each.where == where)

    def providers(self) -> tuple[Callable[..., Any], ...]:
        """Every provider that runs, each once."""
        return tuple({identity(each): each for each in self.sources if not isinstance(each, Source | Shared)}.values())

    def of(self, kind: type[Any]) -> list[tuple[int, Any]]:
        """Slots whose source is of `kind`."""
        return [(slot, source) for slot, source in enumerate(self.sources) if isinstance(source, kind)]


def compile_plan(
    handler: Callable[..., Any],
    fields: Mapping[str, Converter],
    injectable: Mapping[Any, str],
    dependencies: Iterable[Any] = (),
    *,
    shared: SharedPlaces | None = None,
    overrides: Mapping[Any, Callable[..., Any]] = NO_OVERRIDES,
    socket: bool = False,
) -> Plan:
    """Compile `handler` for a route.

    Args:
        handler: an async function, or a function to run in a worker thread.
        fields: the path's fields by name, each of which the handler or a dependency must take, and as what.
        injectable: types that stand for an object of the request, and the key of each.
        dependencies: `Depends(...)` that run before the handler's own, for their effect.
        shared: the app-scoped dependencies of the application.
        overrides: what stands in for a provider, by its identity.
        socket: it is the handler of a WebSocket.

    Raises:
        RegistrationError: the signature cannot be bound; the message shows it, and the remedy.
    """
    mode = handler_mode(handler)
    compiler = Compiler(handler, fields, injectable, shared or SharedPlaces(), overrides, socket=socket)
    for each in dependencies:
        if not isinstance(each, Depends):
            raise no_dependency(each)
        compiler.dependency(each, None)
    call, _ = compiler.call(handler, mode)
    paths = [(slot, source.name) for slot, source in compiler.of(PathParam)]
    if not overrides:  # a replacement need not take what the original took
        _check_fields(handler, fields, {name for _, name in paths})
    path_only = len(paths) == len(compiler.sources) == len(call.keyword)
    bodies = compiler.of(BodyParam) or compiler.of(RawParam)
    queries, cookies = _closed(compiler.texts("query")), _closed(compiler.texts("cookie"))
    headers = compiler.texts("header")
    inner = next((step for step, needs in compiler.steps if needs.inner), None)
    if inner is not None and any(source.key == NURSERY for _, source in compiler.of(Injected)):
        raise RegistrationError(
            f"the handler's nursery may go on while a stream is sent, and this is left before:\n"
            f"    {inner.call.where}\n{show(handler)}\n"
            'Open a nursery in the handler, or hold that for the whole request: drop scope="handler".'
        )
    injected = [(slot, source.key) for slot, source in compiler.of(Injected)]
    if socket:
        check_taken(handler, {key for _, key in injected})
    return Plan(
        handler=call,
        size=len(compiler.sources),
        paths=tuple(paths),
        queries=queries,
        headers=headers,
        cookies=cookies,
        head=(*queries, *headers, *cookies),
        in_headers=bool(headers or cookies),
        injected=tuple((slot, key) for slot, key in injected if key != NURSERY),
        shared=tuple(compiler.of(Shared)),
        before_body=tuple(step for step, needs in compiler.steps if not needs.body and not needs.inner),
        body=bodies[0] if bodies else None,
        form=compiler.form(),
        after_body=tuple(step for step, needs in compiler.steps if needs.body and not needs.inner),
        inner=tuple(step for step, needs in compiler.steps if needs.inner),
        nursery=next((slot for slot, key in injected if key == NURSERY), None),
        path_only=path_only,
        providers=compiler.providers(),
    )


def _closed(
    params: tuple[tuple[int, TextParam | ModelParam], ...],
) -> tuple[tuple[int, TextParam | ModelParam], ...]:
    """Let a model that forbids unknown fields know the names that others read from the same place."""
    if not any(isinstance(each, ModelParam) and each.known is not None for _, each in params):
        return params
    names = [name for _, each in params for name in (each.names if isinstance(each, ModelParam) else (each.name,))]
    return tuple(
        (slot, dataclasses.replace(each, known=frozenset(names)))
        if isinstance(each, ModelParam) and each.known is not None
        else (slot, each)
        for slot, each in params
    )


def _check_fields(handler: Callable[..., Any], fields: Collection[str], taken: Collection[str]) -> None:
    missing = [name for name in fields if name not in taken]
    if missing:
        names = ", ".join(f"{{{name}}}" for name in missing)
        raise RegistrationError(
            f"the path has {names}, which the handler does not take:\n{show(handler)}\n"
            f"Add the parameter:  {missing[0]}: str"
        )


def _two_bodies(first: tuple[type[Source], Location], fn: Callable[..., Any], name: str, *, form: bool) -> str:
    kind, where = first
    if kind is FormParam:
        return (
            f"{name!r} wants the body, which is a form already, in\n    {where}\n{show(fn)}\n"
            f"Make it a field of the form:  {name}: Annotated[..., Form()]"
        )
    if where == locate(fn) and form:
        return (
            f"{name!r} is a field of a form, and another parameter wants the body as a document:\n{show(fn)}\n"
            "Send all of it as a form: mark the other one with Form(), which reads a model field by field."
        )
    if where == locate(fn):
        return (
            f"two parameters want the body, which can be read once; {name!r} is the second:\n{show(fn)}\n"
            "Make one model of them:\n\n    class Both(msgspec.Struct):\n        ...\n\n"
            "or give a scalar type to the one that is meant for the query."
        )
    return (
        f"two parameters want the body, which can be read once: one in\n    {where}\nand {name!r} in\n{show(fn)}\n"
        "Read it in one provider and let both depend on that."
    )
