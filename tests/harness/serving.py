"""One application under each of our servers, so that the same test body runs in memory and over a socket.

This file owns one decision: how a server is started and stopped inside a test. Servers run in the test's own
Trio run: what the handlers note down can be looked at, and an error of the server's is the test's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any, Literal, TypeAlias, overload

import hypercorn.trio
import trio
from hypercorn.config import Config

from tests.harness.sockets import Address, SocketClient
from trivet.asgi import ASGIApp
from trivet.testing import TestClient

__all__ = ["SERVERS", "Client", "Serve", "Server", "SocketServer", "serving"]

SocketServer = Literal["hypercorn", "trivet"]
Server = Literal["memory", SocketServer]
SERVERS: tuple[Server, ...] = ("memory", "hypercorn", "trivet")

Client: TypeAlias = TestClient | SocketClient
Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]

STOP_SECONDS = 10
"""A server that has not stopped by then is cancelled, and the test fails."""


@overload
def serving(server: SocketServer, app: ASGIApp, **options: Any) -> AbstractAsyncContextManager[SocketClient]: ...
@overload
def serving(server: Server, app: ASGIApp, **options: Any) -> AbstractAsyncContextManager[Client]: ...
def serving(server: Server, app: ASGIApp, **options: Any) -> AbstractAsyncContextManager[Client]:
    """Serve an application.

    Args:
        server: `memory` (`TestClient`), `hypercorn` (stock, its own protocols) or `trivet` (`trivet.server`).
        app: the application.
        options: `TestClient`'s in memory; on sockets, hypercorn's configuration by name, `drain_timeout` and
            `cleanup_grace` (seconds); `client`: options of the httpx client, for all three.

    Returns:
        A context manager that gives an httpx client with an `open`, for the time that the server runs.
    """
    client_options: dict[str, Any] = options.pop("client", {})
    if server == "memory":
        return TestClient(app, **options, **client_options)
    return _serving_socket(server, app, options, client_options)


@asynccontextmanager
async def _serving_socket(
    server: SocketServer, app: ASGIApp, options: dict[str, Any], client_options: dict[str, Any]
) -> AsyncGenerator[SocketClient]:
    serve = _trivet(app, options) if server == "trivet" else _hypercorn(app, options)
    stop = trio.Event()
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(partial(serve, shutdown_trigger=stop.wait))
        try:
            async with SocketClient(address_of(binds[0]), **client_options) as client:
                yield client
        except trio.Cancelled:
            raise
        except BaseException as caught:
            # Raised outside the nursery, which would wrap it in a group.
            error = caught
        finally:
            stop.set()
            nursery.cancel_scope.deadline = trio.current_time() + STOP_SECONDS
    if error is not None:
        raise error
    if nursery.cancel_scope.cancelled_caught:
        raise AssertionError(f"{server} did not stop within {STOP_SECONDS} s")


def _config(options: dict[str, Any]) -> Config:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = None
    for name, value in options.items():
        if not hasattr(config, name):
            raise TypeError(f"{name!r} is no option of hypercorn's configuration")
        setattr(config, name, value)
    return config


def _hypercorn(app: ASGIApp, options: dict[str, Any]) -> Callable[..., Any]:
    # What serve() of trivet.server does with them; hypercorn has one patience for both.
    drain, grace = options.pop("drain_timeout", None), options.pop("cleanup_grace", 0)
    if drain is not None:
        options["graceful_timeout"] = drain + grace
    options.setdefault("graceful_timeout", 1)
    return partial(hypercorn.trio.serve, app, _config(options))  # type: ignore[arg-type]  # its own ASGI types


def _trivet(app: ASGIApp, options: dict[str, Any]) -> Callable[..., Any]:
    serve = import_module("trivet.server").serve
    patience = {name: options.pop(name) for name in ("drain_timeout", "cleanup_grace") if name in options}
    return partial(serve, app, _config(options), **({"drain_timeout": 1, "cleanup_grace": 1} | patience))


def address_of(bind: str) -> Address:
    """Host and port of what a server says it is bound to: `http://127.0.0.1:8000`."""
    host, _, port = bind.rpartition("//")[2].rpartition(":")
    return host, int(port)
