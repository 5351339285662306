"""Markers: what a parameter's `Annotated` says about where its value comes from.

This file owns the words: `Query`, `Header`, `Cookie`, `Body`, `Form`, `Depends`, and what may be said with each. What
they do to a request is decided in `_signature`, once, when a handler is registered.

Bounds and documentation are not theirs: `msgspec.Meta(ge=1, description="...")` has both, and means the same in a path,
a query and a JSON body.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal, ParamSpec, TypeAlias

from ._ported import instead_of_argument
from .errors import RegistrationError

P = ParamSpec("P")

Scope: TypeAlias = Literal["request", "handler", "app"]
SCOPES: Final = ("request", "handler", "app")


def _explained(init: Callable[P, None]) -> Callable[P, None]:
    """Let a marker's constructor say how that is said here which other frameworks' markers are told by arguments."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            raise _misused(type(args[0]).__name__, signature, kwargs) from None
        init(*args, **kwargs)

    return checked


def _misused(name: str, signature: inspect.Signature, kwargs: Iterable[str]) -> RegistrationError:
    taken = list(signature.parameters)[1:]
    for each in kwargs:
        if each not in taken:
            remedy = instead_of_argument(name, each) or f"It takes {', '.join(taken) or 'none'}."
            return RegistrationError(f"{name} takes no argument {each!r}.\n{remedy}")
    if "provider" not in taken:
        return RegistrationError(f"{name} takes no value without a name.\n{instead_of_argument(name, 'default')}")
    return RegistrationError(
        f"{name} takes one provider, and a scope by its name.\nName the provider, a class too:  {name}(provider)"
    )


class Marker:
    """Base of all but `Depends`: one place where a value comes from, and the name that it has there."""

    __slots__ = ("alias",)

    where: ClassVar[Literal["query", "header", "cookie", "body", "form"]]

    @_explained
    def __init__(self, *, alias: str | None = None) -> None:
        if alias is not None and (not isinstance(alias, str) or not alias):
            raise RegistrationError(
                f'alias={alias!r} is not a name.\nWrite  {type(self).__name__}(alias="the-name-that-clients-send")'
            )
        self.alias = alias

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.alias is None else f'alias={self.alias!r}'})"


class Query(Marker):
    """Marks a parameter that is read from the query: `page: Annotated[int, Query(alias="p")] = 1`.

    A scalar needs it only for another name. A model (Struct, dataclass, TypedDict, attrs class, pydantic model) that is
    marked so has each of its fields read from the query; a list takes every value of its name.

    Args:
        alias: the name in the query; the parameter's own by default.
    """

    __slots__ = ()
    where = "query"


class Header(Marker):
    """Marks a parameter that is read from a header: `user_agent: Annotated[str, Header()]` reads `User-Agent`.

    A list has the items of all fields of that name, split at their commas (RFC 9110 section 5.6.1). A model has each of
    its fields read from a header.

    Args:
        alias: the header's name; the parameter's own, `_` spelt `-`, by default.
    """

    __slots__ = ()
    where = "header"


class Cookie(Marker):
    """Marks a parameter that is read from a cookie: `session: Annotated[str | None, Cookie()]`.

    Args:
        alias: the cookie's name; the parameter's own by default.
    """

    __slots__ = ()
    where = "cookie"


class Body(Marker):
    """Marks the parameter that is read from the body: `count: Annotated[int, Body()]`.

    Models need no marker. With it any type that JSON can spell is read from a JSON (or msgpack) body; `bytes` is the
    body as it came, whatever its type.
    """

    __slots__ = ()
    where = "body"

    @_explained
    def __init__(self) -> None:
        super().__init__()


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What one form may hold beside `max_body`, which bounds it as a whole. `None`: not said, the default stands."""

    max_parts: int | None = None
    """Fields and files."""
    max_files: int | None = None
    max_text: int | None = None
    """Bytes of all fields that are not files: they are kept in memory."""
    max_file: int | None = None
    """Bytes of each file."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise RegistrationError(f"{each.name}={value!r} is not a number.\nWrite  Form({each.name}=10).")


class Form(Marker):
    """Marks a parameter that is a field of a form: `name: Annotated[str, Form()]`.

    Urlencoded and multipart forms are read. `UploadFile` needs no marker. A model has each of its fields read from the
    form, files among them. The limits hold for the whole form, whichever parameter says them.

    Args:
        alias: the field's name in the form; the parameter's own by default.
        max_parts: how many fields and files there may be; 1000 by default.
        max_files: how many files; 100 by default.
        max_text: bytes of all fields that are not files together; 1 MiB by default.
        max_file: bytes of each file; bounded by `max_body` only, by default.
    """

    __slots__ = ("limits",)
    where = "form"

    @_explained
    def __init__(
        self,
        *,
        alias: str | None = None,
        max_parts: int | None = None,
        max_files: int | None = None,
        max_text: int | None = None,
        max_file: int | None = None,
    ) -> None:
        super().__init__(alias=alias)
        self.limits = FormLimits(max_parts, max_files, max_text, max_file)


class Depends:
    """Marks a parameter whose value a provider makes: `user: Annotated[User, Depends(current_user)]`.

    Args:
        provider: a function, an async function, or one decorated with `@contextmanager` or `@asynccontextmanager`.
            Its own parameters are bound like a handler's. It runs once per request however many ask for it.
        scope: how long what a context manager provides is held. `"request"`: until the response is ready, a stream's
            until after its last chunk. `"handler"`: until the handler has returned; a stream starts without it.
            `"app"`: from startup to shutdown, one value for all requests; it can need no request.

    A context manager is left in reverse order of entering, in the handler's own task. See
    `docs/explanation/cancellation.md` for what it sees when the request is cancelled.
    """

    __slots__ = ("provider", "scope")

    @_explained
    def __init__(self, provider: Callable[..., Any], *, scope: Scope = "request") -> None:
        if scope not in SCOPES:
            raise RegistrationError(
                f"scope={scope!r} is not a scope of Depends.\n"
                'Write scope="request", scope="handler" (left before a stream starts) or scope="app" (one for all).'
            )
        self.provider = provider
        self.scope: Scope = scope

    def __repr__(self) -> str:
        scope = "" if self.scope == "request" else f", scope={self.scope!r}"
        return f"Depends({getattr(self.provider, '__qualname__', repr(self.provider))}{scope})"
