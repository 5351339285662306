"""What a router refuses at the line that registers it, beside paths, signatures and options: each with its remedy.

This file owns the shape of a middleware and of a catcher, which methods and statuses a route may have, and that every
such error says whose handler it is about. It knows nothing of routers. It runs at registration only.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ._options import Level
from ._source import is_async, locate, show, underlying
from .errors import RegistrationError, RouteConflict

M = TypeVar("M", bound=Callable[[Any, Any], Awaitable[Any]])

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
STANDARD = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


def check_middleware(fn: M) -> M:
    """Refuse what cannot be called as `await fn(request, call_next)`."""
    if not callable(fn) or not is_async(fn) or not _takes_two(fn):
        raise _not_middleware(fn)
    return fn


def check_middlewares(level: Level) -> None:
    """Refuse a level whose `middleware=[...]` holds what is none."""
    for each in level.middleware:
        check_middleware(each)


def _not_middleware(fn: Any) -> RegistrationError:
    return RegistrationError(
        f"this is not a middleware:\n{show(fn) if callable(fn) else f'    {fn!r}'}\n"
        "Write\n\n    async def timing(request: Request, call_next: Next) -> Response:\n"
        "        response = await call_next(request)\n        return response\n\n"
        "ASGI middleware is added with app.wrap(Middleware, **options)."
    )


def check_catcher(fn: Callable[..., Any]) -> None:
    """Refuse what cannot be called as `await fn(request, exc)`."""
    if not callable(fn) or not is_async(fn) or not _takes_two(fn):
        raise RegistrationError(
            f"this is not a catcher:\n{show(fn) if callable(fn) else f'    {fn!r}'}\n"
            "Write\n\n    async def on(request: Request, exc: KeyError) -> tuple[int, str]:\n"
            '        return 404, "there is no such thing"'
        )


def check_service(fn: Any) -> None:
    """Refuse what cannot run as long as the application does."""
    generator = callable(fn) and inspect.isasyncgenfunction(underlying(fn))
    if callable(fn) and is_async(fn) and not generator:
        return
    came = "no function" if not callable(fn) else "a generator" if generator else "not async"
    raise RegistrationError(
        f"a service is {came}:\n{show(fn) if callable(fn) else f'    {fn!r}'}\n"
        "Write\n\n    @app.service\n    async def refresh() -> None:\n        while True:\n"
        "            await trio.sleep(60)\n\n"
        + (
            f"It is named by an option:  @app.service(name={fn!r})"
            if isinstance(fn, str)
            else "What blocks it calls in a thread:  await trio.to_thread.run_sync(fn)"
        )
    )


def check_lifespan(fn: Any) -> None:
    """Refuse what cannot be entered as `async with lifespan(app)`: else it would only show at startup, and dimly."""
    generator = inspect.isasyncgenfunction(fn)
    if callable(fn) and not generator and not is_async(fn) and not inspect.isgeneratorfunction(underlying(fn)):
        return
    came = "a bare generator" if generator else "no async context manager"
    raise RegistrationError(
        f"the lifespan is {came}:\n{show(fn) if callable(fn) else f'    {fn!r}'}\n"
        "Write\n\n    @asynccontextmanager\n    async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:\n"
        '        async with connect() as db:\n            yield {"db": db}'
    )


def check_wrapper(middleware: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse ASGI middleware that `middleware(app, **options)` cannot make: it is made at startup, which is late."""
    if not callable(middleware):
        raise RegistrationError(f"{middleware!r} is not ASGI middleware.\nPass its class:  app.wrap(GZipMiddleware)")
    try:
        inspect.signature(middleware).bind(None, **options)
    except ValueError:  # no signature to read
        return
    except TypeError as error:
        reason = str(error).replace("keyword-only ", "")  # Python 3.12 says that, 3.11 does not
        raise RegistrationError(
            f"this cannot be called with an ASGI application and {dict(options)!r}: {reason}\n{show(middleware)}\n"
            "Write  app.wrap(CORSMiddleware, allow_origins=[...]);  what takes (request, call_next) is added with\n"
            "@app.middleware."
        ) from None


def _takes_two(fn: Callable[..., Any]) -> bool:
    """Whether `fn(first, second)` is a call that Python accepts, as far as it can be told."""
    try:
        inspect.signature(fn).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # no signature to read
        pass
    return True


@contextmanager
def placing(handler: Callable[..., Any], what: str = "handler") -> Generator[None]:
    """Show where the handler (`what`) is in every registration error of the body that does not say so itself."""
    try:
        yield
    except RegistrationError as error:
        where = locate(handler)
        said = f"{where.file}:{where.line}" in str(error)
        if where.line and not said and not isinstance(error, RouteConflict):
            raise type(error)(f"{error}\n\nThis is about the {what}\n{show(handler)}") from None
        raise


def check_path(path: object, decorator: str = "get") -> None:
    """Refuse a decorator that was written without its path: Python would call it with the handler."""
    remedy = f'@app.{decorator}("/")'
    if callable(path):
        raise RegistrationError(f"a route has no path:\n{show(path)}\nThe decorator takes it:  {remedy}")
    if not isinstance(path, str):
        raise RegistrationError(f"{path!r} is not a path.\nWrite  {remedy}")


def check_socket(handler: Callable[..., Any]) -> None:
    """Refuse a handler of WebSockets that cannot wait for one."""
    if callable(handler) and not is_async(handler) and not inspect.isgeneratorfunction(underlying(handler)):
        raise RegistrationError(
            f"the handler of a WebSocket is not async:\n{show(handler)}\n"
            "Write\n\n    async def room(ws: WebSocket) -> None:\n"
            "        async for message in ws:\n            await ws.send(message)"
        )


def checked_methods(methods: Sequence[str], handler: Callable[..., Any]) -> frozenset[str]:
    """The methods of a route, if each is one."""
    if isinstance(methods, str) or not methods:
        raise RegistrationError(
            f'methods={methods!r} is not a list of methods:\n{show(handler)}\nWrite methods=["GET"].'
        )
    for method in methods:
        if not method or not TOKEN.issuperset(method):
            raise RegistrationError(
                f"{method!r} is not a method (RFC 9110 section 9.1):\n{show(handler)}\n"
                'Write each as one word:  methods=["GET", "PURGE"].'
            )
        if method != method.upper() and method.upper() in STANDARD:
            raise RegistrationError(
                f"methods are case-sensitive, and {method!r} is not {method.upper()!r}:\n{show(handler)}\n"
                f'Write methods=["{method.upper()}"].'
            )
    return frozenset(methods)


def checked_status(status: int | None, handler: Callable[..., Any]) -> int | None:
    """The `status=` of a route, if it can be a response's."""
    if status is None:
        return None
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise RegistrationError(
            f"status={status!r} cannot be a response's status (200 to 599):\n{show(handler)}\nWrite status=201."
        )
    return status
