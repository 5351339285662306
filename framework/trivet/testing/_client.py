"""`TestClient`: httpx on top of the in-memory server.

This file owns one decision: how what httpx knows (a request, a response that streams, timeouts) becomes an
exchange, and back. httpx's own ASGI transport is not used: it buffers the whole response, runs no lifespan,
and its clients never leave.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import contextmanager
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, Unpack, cast
from urllib.parse import unquote

import httpx
import trio

from trivet.asgi import ASGIApp, Scope

from ._exchange import Exchange
from ._response import MemoryResponse
from ._server import MemoryServer

if TYPE_CHECKING:
    from collections.abc import Generator

    from httpx import _types as types

__all__ = ["TestClient"]

DRAIN_TIMEOUT: Final = 10.0  # DESIGN's default


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


class TestClient(httpx.AsyncClient):
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

    def drain(self) -> None:
        """Tell the application that the server stops (`request.draining`), and no more: requests run on."""
        self._server.draining.set()

    def cancel_requests(self, reason: Literal["drained"] = "drained") -> None:
        """End the drain time: requests that still run are cancelled."""
        self._server.cancel_requests(reason)


class MemoryTransport(httpx.AsyncBaseTransport):
    """Hands httpx's requests to the in-memory server.

    Args:
        server: the server.
        client: the peer's address in the scope.
        root_path: the scope's `root_path`.
    """

    def __init__(self, server: MemoryServer, *, client: tuple[str, int], root_path: str) -> None:
        self._server = server
        self._client = client
        self._root_path = root_path

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its response."""
        timeout = _read_timeout(request)
        exchange = self.begin(request)
        try:
            with _read_within(timeout, request):
                status, headers = await exchange.head()
        except BaseException:
            exchange.leave()
            raise
        return MemoryResponse(
            status,
            headers=headers,
            body=Body(exchange, timeout, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def begin(self, request: httpx.Request, *, upload: bool = False) -> Exchange:
        """Hand a request to the server.

        Args:
            request: what httpx built.
            upload: whether the body is sent by hand.
        """
        exchange = Exchange(self._server, self._server.connect(self._scope(request)))
        if not upload:
            exchange.upload(_content(request))
        return exchange

    def _scope(self, request: httpx.Request) -> Scope:
        url = request.url
        target: bytes = request.extensions.get("target", url.raw_path)
        path, _, query = target.partition(b"?")
        port = url.port or {"https": 443}.get(url.scheme, 80)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4" if self._server.linked else "2.1"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            # As hypercorn decodes it: bytes that are not UTF-8 become U+FFFD.
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": (url.host, port),
            "extensions": {},
        }


class Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """A response's body, chunk by chunk as the application sends it."""

    def __init__(self, exchange: Exchange, timeout: float | None, request: httpx.Request) -> None:
        self._exchange = exchange
        self._timeout = timeout
        self._request = request

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself: a body is read once."""
        return self

    async def __anext__(self) -> bytes:
        """The next chunk.

        Raises:
            httpx.RemoteProtocolError: the response was cut.
            httpx.ReadTimeout: nothing came in time.
        """
        with _read_within(self._timeout, self._request):
            chunk = await self._exchange.receive()
            await self._exchange.read_whole(chunk)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Leave."""
        self._exchange.leave()


def _content(request: httpx.Request) -> bytes | AsyncIterable[bytes]:
    try:
        return request.content
    except httpx.RequestNotRead:
        return cast("httpx.AsyncByteStream", request.stream)


def _read_timeout(request: httpx.Request) -> float | None:
    timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get("read")


@contextmanager
def _read_within(seconds: float | None, request: httpx.Request) -> Generator[None]:
    with trio.move_on_after(inf if seconds is None else seconds) as patience:
        yield
    if patience.cancelled_caught:
        raise httpx.ReadTimeout(f"nothing within {seconds:g} s", request=request)
