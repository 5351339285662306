"""A reverse proxy in one handler: both bodies stream, and the client's leaving and its deadline reach the backend."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any, Final, TypeAlias

import httpx
import trio

from trivet import App, Depends, HTTPError, Request, Response, Sink, Stream
from trivet.contrib.client import Client
from trivet.contrib.concurrency import HedgeBudget
from trivet.errors import ResponseError

from .backends import Backend, Backends, State
from .fields import been_here, one_hop_less, request_fields, response_fields
from .forward import NOT_CONNECTED, Forward, Upload
from .insiders import only_insiders
from .settings import Settings

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What is forwarded: not TRACE, which would show fields that a proxy has added, nor CONNECT."""

OpenClient: TypeAlias = Callable[[], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def until_the_end() -> AsyncGenerator[AsyncExitStack]:
    """What is opened for a request, until its answer is over, however that ends."""
    async with AsyncExitStack() as stack:
        yield stack


Opened = Annotated[AsyncExitStack, Depends(until_the_end)]


def create_app(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> App:
    """Make the app.

    Args:
        settings: see there.
        transport: for tests: in the place of connections.
    """
    name = f"gateway-{secrets.token_hex(4)}"  # of its own, so that a request that comes back is recognized
    backends = Backends(settings.backends)
    # Else each request would load all backends just when all of them are overloaded.
    budget = HedgeBudget(share=0.2, burst=10)

    @asynccontextmanager
    async def open_client() -> AsyncGenerator[Client]:
        # Whose cookies they are is the business of the two ends.
        nobodys = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        options: dict[str, Any] = {"limits": limits, "cookies": nobodys, "transport": transport, "trust_env": False}
        async with Client(retry=None, **options) as client:
            yield client

    gateway = App(
        timeout=settings.timeout,
        body_timeout=settings.stall,
        max_body=None,
        trusted=settings.trusted,
        slash="strict",  # what a slash at the end means is for the backend to say
    )

    _asked_first(gateway, backends, settings, open_client)
    for backend in backends.all:
        _watched(gateway, backend, settings, open_client)

    @gateway.get("/-/backends", dependencies=[only_insiders(settings.token)])
    async def states() -> list[State]:
        """How the backends are."""
        return backends.states()

    @gateway.route("/", methods=METHODS, on_disconnect="cancel", include_in_schema=False)
    async def forward(
        request: Request, client: Annotated[Client, Depends(open_client, scope="app")], opened: Opened
    ) -> Response:
        """Any request, to one of the backends, and its answer back."""
        fields = request.scope["headers"]
        if request.method == "OPTIONS" and (fields := one_hop_less(fields)) is None:
            return Response(status=204, headers={"allow": ", ".join(METHODS)})
        if been_here(fields, name):
            raise HTTPError(508, "This request has been here before.")
        if not backends.all:
            raise HTTPError(503, "Nothing is behind this gateway. Start it with GATEWAY_BACKENDS, a list of URLs.")
        version = request.scope["http_version"]
        forwarded = Forward(
            request.method,
            _target(request),
            request_fields(
                fields,
                version=version,
                name=name,
                client=request.client and request.client.host,
                scheme=request.url.partition(":")[0],
                host=request.headers.get("host"),
            ),
            Upload(aiter(request.stream())) if _has_body(request) else None,
            settings.stall,
        )
        try:
            answer = await forwarded.send(client, backends.in_turn(), opened, budget)
        except NOT_CONNECTED as error:
            if backends.none_is_well:
                raise HTTPError(503, "No backend is well.", headers={"retry-after": "1"}) from error
            raise
        try:
            return _relayed(answer, name)
        except (ResponseError, ValueError) as error:  # of a status and a field that nobody may send
            raise HTTPError(502, "A backend's answer is malformed.") from error

    @gateway.route("/{path:path}", methods=METHODS, on_disconnect="cancel", include_in_schema=False)
    async def forward_below(
        path: str, request: Request, client: Annotated[Client, Depends(open_client, scope="app")], opened: Opened
    ) -> Response:
        """The same, whatever the path; it is sent on as it came, and not as it was read here."""
        return await forward(request, client, opened)

    return gateway


def _asked_first(gateway: App, backends: Backends, settings: Settings, open_client: OpenClient) -> None:
    """Let no request in before it is known how the backends are.

    The watchers do not wait for that, one after the other as services are started: a few dozen backends that swallow
    packets would take longer than a startup may.
    """

    @gateway.service(name="first question")
    async def ask(
        client: Annotated[Client, Depends(open_client, scope="app")], task_status: trio.TaskStatus[None]
    ) -> None:
        await backends.ask_all(client, settings.health)
        task_status.started()


def _watched(gateway: App, backend: Backend, settings: Settings, open_client: OpenClient) -> None:
    """Let a backend be asked how it is, for as long as the gateway runs."""

    @gateway.service(name=f"watch {backend.url}", max_restarts=None)
    async def watch(client: Annotated[Client, Depends(open_client, scope="app")]) -> None:
        await backend.watch(client, settings.health, settings.interval)


def _target(request: Request) -> bytes:
    """Path and query as they came, to the byte: what we make of them is nobody's business."""
    root = request.scope.get("root_path", "").encode()
    path = request.raw_path.removeprefix(root) or b"/"
    query = request.scope["query_string"]
    return path + b"?" + query if query else path


def _has_body(request: Request) -> bool:
    """Whether one is announced (RFC 9112 section 6.3); in HTTP/2 none needs to be."""
    if "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0":
        return True
    return request.scope["http_version"] != "1.1" and request.method in ("POST", "PUT", "PATCH")


def _relayed(answer: httpx.Response, name: str) -> Response:
    """A backend's answer, as ours."""
    version = answer.http_version.removeprefix("HTTP/")
    fields = response_fields(answer.headers.raw, status=answer.status_code, version=version, name=name)

    async def feed(sink: Sink) -> None:
        async for part in answer.aiter_raw():
            await sink.send(part)

    response: Response
    # What has no content has no feed, but what it has left open is closed with the request all the same.
    if answer.status_code in (204, 205, 304):
        response = Response(status=answer.status_code)
    else:
        response = Stream(feed, status=answer.status_code)
    if "content-type" in response.headers:
        del response.headers["content-type"]  # ours, not the backend's
    for field, value in fields:
        response.headers.add(field.decode("latin-1"), value.decode("latin-1"))
    return response


app = create_app(Settings.read(os.environ))
