"""`TestClient`: httpx on top of the in-memory server.

This file owns what a test can ask for. How what httpx knows becomes an exchange is `_transport`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, Unpack

import httpx

from trivet.asgi import ASGIApp

from ._async_with import AsyncWith
from ._events import Events
from ._exchange import Exchange
from ._server import MemoryServer
from ._socket import TestWebSocket
from ._transport import MemoryTransport

if TYPE_CHECKING:
    from httpx import _types as types

__all__ = ["TestClient"]

DRAIN_TIMEOUT: Final = 10.0  # DESIGN's default

HANDSHAKE: Final = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",  # of RFC 6455 section 1.3: in memory nobody looks at it
}


class Options(TypedDict, total=False):
    """The options of `httpx.AsyncClient` that mean something in memory."""

    auth: types.AuthTypes
    params: types.QueryParamTypes
    headers: types.HeaderTypes
    cookies: types.CookieTypes
    timeout: types.TimeoutTypes
    follow_redirects: bool
    max_redirects: int
    event_hooks: Mapping[str, list[Any]]
    default_encoding: str


class Parts(TypedDict, total=False):
    """What httpx makes a request of."""

    headers: types.HeaderTypes | None
    params: types.QueryParamTypes | None
    cookies: types.CookieTypes | None
    content: types.RequestContent | None
    data: types.RequestData | None
    files: types.RequestFiles | None
    json: Any


BODIES: Final = ("content", "data", "files", "json")


class TestClient(AsyncWith, httpx.AsyncClient):
    """An `httpx.AsyncClient` whose requests go to an ASGI application in the same Trio run, through memory.

    `async with TestClient(app) as client` runs the application's lifespan around the block. Each request
    calls the application in a task of its own; bodies stream in both directions, with back-pressure; closing
    a response before its end is leaving. It works with any clock: under
    `trio.testing.MockClock(autojump_threshold=0)` a deadline of an hour is tested in no time, and the clock
    waits for worker threads.

    It is a strict server. Breaking a rule of ASGI raises `ProtocolViolation` in the test. A task that a
    request spawned and that is still there when the application has returned raises `TaskLeak` at the end of
    the block; tasks below `app.tasks` may live on. What escapes the application before the response's head is
    raised from the request; what escapes later truncates the response (`httpx.RemoteProtocolError`). What the
    test never looked at is raised at the end of the block.

    Args:
        app: any ASGI 3 application that runs on Trio.
        base_url: what relative URLs are relative to; its scheme, host and port are the scope's.
        link: serve as a server that knows trivet (`trivet.asgi.Link`); `False`: as stock hypercorn does.
        raise_app_exceptions: `False` answers what escapes the application with 500, as a server does.
        client: the peer's address in the scope.
        root_path: the scope's `root_path`.
        drain_timeout: seconds that requests still running at the end of the block have to end by themselves,
            and again after they were cancelled.
        check_leaks: `False` lets tasks outlive their request, for an application with a task pool of its own.
        options: as for `httpx.AsyncClient`, but that there is no timeout by default.

    Raises:
        LifespanFailed: from `async with`, with the application's message, when startup failed.

    Cancellation: a cancelled request leaves, like any client.
    """

    # pytest would take it for a class of tests.
    __test__ = False
    _entered = "async with TestClient(app) as client"

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: str | httpx.URL = "http://testserver",
        link: bool = True,
        raise_app_exceptions: bool = True,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        root_path: str = "",
        drain_timeout: float = DRAIN_TIMEOUT,
        check_leaks: bool = True,
        **options: Unpack[Options],
    ) -> None:
        self._server = MemoryServer(
            app,
            link=link,
            raise_app_exceptions=raise_app_exceptions,
            drain_timeout=drain_timeout,
            check_leaks=check_leaks,
        )
        self._memory = MemoryTransport(self._server, client=client, root_path=root_path)
        # httpx gives up after five seconds by default, less than most deadlines that are worth a test.
        options.setdefault("timeout", None)
        super().__init__(transport=self._memory, base_url=base_url, trust_env=False, **options)

    @property
    def app(self) -> ASGIApp:
        """The application."""
        return self._server.app

    @property
    def state(self) -> dict[str, Any]:
        """What the lifespan put into `scope["state"]`; each request gets a copy."""
        return self._server.state

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """The way to the application, for another client: that of an application which calls this one."""
        return self._memory

    async def __aenter__(self) -> Self:
        """Start the application."""
        await self._server.__aenter__()
        return await super().__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Leave what is open, drain, shut the application down, and raise what the test has not seen."""
        try:
            await self._server.__aexit__(exc_type, exc_value, traceback)
        finally:
            await super().__aexit__(exc_type, exc_value, traceback)

    def events(
        self,
        path: str,
        *,
        headers: types.HeaderTypes | None = None,
        params: types.QueryParamTypes | None = None,
        last_event_id: str = "",
    ) -> Events:
        """Read server-sent events: `async with client.events("/news") as events: async for event in events`.

        Args:
            path: a URL as for `client.get`.
            headers: added to the client's own, and to what an `EventSource` sends.
            params: the query.
            last_event_id: of the last event that the client has seen, if it comes back.

        Returns:
            The stream, which has begun; its events are `trivet.Event`.
        """
        request = self.build_request("GET", path, headers={"accept": "text/event-stream"}, params=params)
        request.headers["cache-control"] = "no-store"
        if last_event_id:
            request.headers = httpx.Headers([*request.headers.raw, (b"last-event-id", last_event_id.encode())])
        request.headers.update(headers)
        return Events(self._memory.begin(request), request)

    def open(self, method: str, target: str | bytes, *, upload: bool = False, **parts: Unpack[Parts]) -> Exchange:
        """Begin a request by hand.

        `async with client.open("GET", "/") as exchange` gives the response piece by piece, and the ways in
        which clients go.

        Args:
            method: the method; sent as it is.
            target: a URL as for `client.get`; or bytes, which become the request target as they are: `b"*"`,
                `b"/%zz"`.
            upload: the body is sent by hand, with `exchange.send_body()` and `exchange.end_body()`.
            parts: `headers`, `params`, `cookies`, and a body that is sent meanwhile (`content`, `data`, `files`,
                `json`), as for `client.post`.

        Returns:
            The exchange, which has begun.

        Raises:
            ValueError: `upload` beside another body.
        """
        if upload and not parts.keys().isdisjoint(BODIES):
            raise ValueError(
                f"upload=True sends a body by hand, and {', '.join(BODIES)} are bodies, too.\n"
                "Leave upload=True out; or send the parts yourself:  await exchange.send_body(chunk)"
            )
        extensions: dict[str, Any] = {}
        if isinstance(target, bytes):
            extensions["target"], target = target, "/"
        request = self.build_request(method, target, extensions=extensions, **parts)
        if upload and "content-length" not in httpx.Headers(parts.get("headers")):
            # httpx has it as a request without content.
            request.headers.pop("content-length", None)
            request.headers["transfer-encoding"] = "chunked"
        return self._memory.begin(request, upload=upload)

    def websocket(
        self,
        path: str,
        *,
        headers: types.HeaderTypes | None = None,
        params: types.QueryParamTypes | None = None,
        subprotocols: Sequence[str] = (),
    ) -> TestWebSocket:
        """A WebSocket: `async with client.websocket("/room") as ws`.

        Args:
            path: a URL as for `client.get`.
            headers: added to the client's own. There is no `Origin` among those: it stands for a browser's page.
            params: the query.
            subprotocols: what is offered, the best first.

        Returns:
            The WebSocket, to be opened; see there for what that raises.
        """
        request = self.build_request("GET", path, headers=headers, params=params)
        request.headers.update(HANDSHAKE)
        if subprotocols:
            request.headers["sec-websocket-protocol"] = ", ".join(subprotocols)

        def accepted(response: httpx.Response) -> None:
            response.request = request
            self.cookies.extract_cookies(response)

        return TestWebSocket(self._server, partial(self._memory.begin_socket, request, subprotocols), accepted)

    def drain(self) -> None:
        """Tell the application that the server stops (`request.draining`), and no more: requests run on."""
        self._server.draining.set()

    def cancel_requests(self, reason: Literal["drained"] = "drained") -> None:
        """End the drain time: requests that still run are cancelled."""
        self._server.cancel_requests(reason)
