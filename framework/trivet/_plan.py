"""A plan: what a handler's signature was compiled into, which a request only runs, and OpenAPI only reads.

Theory of operation. Every value that a handler or one of its providers takes has a *slot*. Path fields, parameters of
the head, injected objects, the body and a form's fields fill slots from the request; each dependency fills one by
running. A `Call` names, for each argument, the slot it comes from. So binding at run time is one pass over tuples,
whatever the depth of the dependency graph.

The order is DESIGN's "Order of work": the head first (path, query, headers, cookies, all faults together), then
dependencies that need only the head (so that 401 beats 413), then the body, then dependencies that need it, then the
handler.

This file owns what a plan holds. How it is made is `_compile`'s, how it is run `_resolve`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ._extract import BodyParam, FileParam, ModelParam, RawParam, TextParam
from ._immediate import is_immediate
from ._markers import FormLimits
from ._modes import Call, Mode
from ._shared import Shared

REQUEST: Final = "request"
"""The key of the request; in a WebSocket's plan it is the handshake."""

SOCKET: Final = "socket"
"""The key of the WebSocket."""

NURSERY: Final = "nursery"
"""The key of the injected nursery: only a handler may ask for it (it opens after the dependencies)."""

HeadParam: TypeAlias = TextParam | ModelParam


@dataclass(frozen=True, slots=True)
class Step:
    """A dependency: its call and the slot that it fills."""

    call: Call
    slot: int


@dataclass(frozen=True, slots=True)
class FormPlan:
    """All that is read from the form, which is read once."""

    fields: tuple[tuple[int, TextParam | ModelParam | FileParam], ...]
    limits: FormLimits

    @property
    def multipart(self) -> bool:
        """Whether it has files, which an urlencoded form cannot carry."""
        return any(
            isinstance(each, FileParam) for _, part in self.fields for each in getattr(part, "fields", None) or (part,)
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a request needs to bind and call one handler."""

    handler: Call
    size: int
    paths: tuple[tuple[int, str], ...]
    queries: tuple[tuple[int, HeadParam], ...]
    headers: tuple[tuple[int, HeadParam], ...]
    cookies: tuple[tuple[int, HeadParam], ...]
    head: tuple[tuple[int, HeadParam], ...]
    """All that is read from the head but the path: the three above."""
    injected: tuple[tuple[int, str], ...]
    shared: tuple[tuple[int, Shared], ...]
    """App-scoped values."""
    before_body: tuple[Step, ...]
    body: tuple[int, BodyParam | RawParam] | None
    form: FormPlan | None
    after_body: tuple[Step, ...]
    inner: tuple[Step, ...]
    """Dependencies of the handler's scope: entered last, left before even a stream starts."""
    nursery: int | None
    """The slot of the handler's nursery."""
    in_headers: bool
    """Whether it reads headers or cookies."""
    path_only: bool
    """The handler takes exactly the path fields: what matching gives is what it is called with."""
    providers: tuple[Callable[..., Any], ...] = ()
    """Every provider that runs, each once, in the order they run."""

    def is_immediate(self) -> bool:
        """Whether nothing of it can suspend, so that nothing needs to be able to stop it.

        To be asked when all modules are imported: it looks at what the functions name.
        """
        return self.body is None and self.is_immediate_with_body()

    def is_immediate_with_body(self) -> bool:
        """The same, if the body is here already."""
        return (
            self.form is None
            and self.nursery is None
            and self.handler.mode is Mode.ASYNC
            and is_immediate(self.handler.fn)
            and all(
                step.call.mode is Mode.INLINE or (step.call.mode is Mode.ASYNC and is_immediate(step.call.fn))
                for step in (*self.before_body, *self.after_body, *self.inner)
            )
        )
