"""The request, as handlers, providers, middleware and catchers see it.

This file owns what a request can be asked, beside its head (`_request_head`) and what is added to its response
(`_additions`). The body is read through `_inbound`,
within `body_timeout`; what concerns its end is asked of its scope. It decides nothing: the endpoint's options and the
request's scope do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import trio

from ._additions import Additions
from ._body import decoder_of, syntax_of
from ._bodystream import BodyStream
from ._conditional import check as check_preconditions
from ._descriptor import Descriptor
from ._form import FormData, check_form, read_form
from ._head import expects_body, root_prefix
from ._inbound import Inbound
from ._limit import Limit
from ._markers import FormLimits
from ._options import Resolved
from ._owner import Owner, RouteInfo
from ._request_head import Address, RequestHead
from ._scope import RequestScope
from ._upload import UploadFile
from ._watch import DisconnectSweep
from .asgi import EXTENSION, Link, Notice, Reason, Receive, Scope

__all__ = ["Address", "Request"]

T = TypeVar("T")


class Request(RequestHead, Additions):
    """One HTTP request. Ask for it by type: `async def handler(request: Request)`."""

    # Defaults in the class, so that a request sets only what it must: no __slots__, on purpose.

    _link: Link | None = None
    """What the server offers beyond ASGI; `None`: nothing."""

    _inbound: Inbound | None = None
    """Made when somebody reads the body or watches for the disconnect: most requests need none."""

    _body: bytes | None = None
    _form: FormData | None = None
    _uploads: list[UploadFile] | None = None
    """The files that it brought, to be deleted at its end."""

    _inner = 0
    """One more than how many frames stay when the handler has returned a stream; 0: all do."""

    _failed: Reason | None = None
    """How the request has ended, if an exception decided the response."""

    _status = 0
    """The status that was sent; 0 before that."""

    _left = False
    """The client left: latched, for a request that finishes all the same."""

    _for_client = False
    """Its response is a stream that has begun, or it waits for its turn: without its client it ends."""

    _descriptors: list[Descriptor] | None = None
    """What was opened for files that are its response; `_respond` sees to their end."""

    _slots: list[tuple[Limit, float]] | None = None  # the places that it has of limits, and since when: `_limiting`'s
    _sweep: DisconnectSweep | None = None
    """Who watches for the disconnect, where the server does not tell."""

    _socket: object = None
    """The WebSocket that it opens, if it is the handshake of one."""

    watcher: trio.CancelScope | None = None
    """Written by the disconnect sweep: around the task that watches this request, if there is one."""

    def __init__(
        self,
        app: Owner,
        scope: Scope,
        receive: Receive,
        path_params: Mapping[str, Any],
        route: RouteInfo | None,
        options: Resolved,
        request_scope: RequestScope,
        began: float,
    ) -> None:
        self.app: Any = app
        """The application."""
        self.scope = scope
        """The ASGI scope."""
        self.method: str = scope["method"]
        """The method as sent; `HEAD` where a GET handler answers it."""
        self.path_params = path_params
        """The converted path fields by name."""
        self.route = route
        """The route that matched; `None` in middleware and catchers when none did."""
        self._scope = request_scope
        self._receive = receive
        self._options = options
        # When its head was complete, on Trio's clock.
        self._began = began

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!a}>"

    check = check_preconditions  # (*, etag=None, modified=None) -> Response | None

    # ---- the body

    async def body(self) -> bytes:
        """The whole body, read once and kept.

        Raises:
            HTTPError: 408, it made no progress for `body_timeout`; 413, it is larger than `max_body`.
            ClientDisconnected: the client left before its end.
            RuntimeError: a part of it is gone: it was read with `stream`, or by a call of this that was cancelled.

        Cancellation: what has been read is kept by the request only when it is complete; a body that was cancelled
        midway cannot be read again.
        """
        if self._body is None:
            self._refuse_a_rest()
            self._body = b"".join([chunk async for chunk in self.stream()])
        return self._body

    def stream(self) -> BodyStream:
        """The body as it comes: `async for chunk in request.stream()`. Errors are those of `body`.

        The client is read from as fast as the loop takes the chunks, no faster. A second one goes on where the first
        was left; one after `body` has the whole body in one chunk.
        """
        options = self._options
        length = self.headers.get("content-length")
        return BodyStream(self._incoming, length, options.max_body, options.body_timeout, self._body)

    @overload
    async def json(self, /) -> Any: ...
    @overload
    async def json(self, as_type: type[T], /) -> T: ...
    async def json(self, as_type: Any = Any, /) -> Any:
        """The JSON body, converted to `as_type`.

        Raises:
            InvalidInput: 400, 413, 415 or 422, as for a parameter that is read from the body.
        """
        syntax_of(self.headers.get("content-type"), self.headers.get("content-encoding"))
        return decoder_of(as_type).decode(await self.body())

    async def form(
        self,
        *,
        max_parts: int | None = None,
        max_files: int | None = None,
        max_text: int | None = None,
        max_file: int | None = None,
    ) -> FormData:
        """The form in the body, urlencoded or multipart, read once and kept. Its files are deleted with the request.

        One that is there already, read by a middleware for example, is held against the limits that are said now.

        Args:
            max_parts: how many fields and files there may be; `None`: 1000.
            max_files: how many files; `None`: 100.
            max_text: bytes of all fields that are not files together; `None`: 1 MiB.
            max_file: bytes of each file; `None`: what `max_body` leaves.

        Raises:
            InvalidInput: 400, the form is malformed; 413, it breaks a limit; 415, the body is no form.
            HTTPError, ClientDisconnected, RuntimeError: as for `body`.
            OSError: a file cannot be kept on disk.

        Cancellation: a form that was cancelled midway cannot be read again.
        """
        limits = FormLimits(max_parts, max_files, max_text, max_file)
        if self._form is not None:
            check_form(self._form, limits)
        else:
            self._refuse_a_rest()
            if self._uploads is None:
                self._uploads = []
            self._form = await read_form(self.stream(), self.headers, limits, self._uploads)
        return self._form

    def _refuse_a_rest(self) -> None:
        """Half a body must never be taken for a whole one."""
        if self._body is None and self._inbound is not None and self._inbound.begun:
            raise RuntimeError(
                "a part of the request's body has been read already, and is gone.\n"
                "Read it once, with `await request.body()`, which keeps it: in middleware too, instead of\n"
                "`request.stream()`, and not inside of a `move_on_after` that is shorter than the upload."
            )

    # ---- the end

    @property
    def deadline(self) -> float:
        """When `timeout` passes, on Trio's clock; `math.inf`: never."""
        return self._scope.deadline

    def time_left(self) -> float:
        """Seconds until `deadline`, never negative."""
        return max(0.0, self._scope.deadline - trio.current_time())

    @property
    def ended(self) -> Reason | None:
        """Why the request ended or is being ended; `None` while it goes on."""
        return self._scope.reason

    @property
    def draining(self) -> Notice:
        """Set when the server stops taking new work: a long stream should come to an end now."""
        return self.app.draining if self._link is None else self._link.draining

    def url_for(self, target: Callable[..., Any] | str, /, **params: object) -> str:
        """The path of a route, by handler or name, with the prefix that this application is mounted at.

        Raises:
            LookupError: no such route; the message has the nearest name.
            TypeError: a parameter is missing or unknown.
            ValueError: a value cannot be spelt so that the route matches it.
        """
        path: str = self.app.url_for(target, **params)
        return root_prefix(self.scope.get("root_path", "")) + path

    # ---- for the floors above: the package's own, not a handler's

    @property
    def _incoming(self) -> Inbound:
        """The incoming half, made at first use."""
        if self._inbound is None:
            self._inbound = Inbound(self._receive, self._options.max_body, self._on_disconnect)
        return self._inbound

    @property
    def _unread(self) -> bool:
        """Whether a body may still be on its way."""
        return expects_body(self.scope) and (self._inbound is None or not self._inbound.complete)

    async def _has_body(self) -> bool:
        """Whether there is a body, where the head does not say; its errors are those of `body`."""
        if self._form is not None or (self._body is None and self._inbound is not None and self._inbound.begun):
            return True
        return await self.stream().peek()

    @property
    def _waited_for_body(self) -> bool:
        """Whether the handler waited for body when its deadline passed."""
        return self._inbound is not None and self._inbound.interrupted >= self._scope.deadline

    @property
    def _gone(self) -> bool:
        """Whether the client is known to have left."""
        return self._left or (self._inbound is not None and self._inbound.gone)

    def _attach(self) -> bool:
        """Let the server cancel this request, if it can; return whether it can."""
        extensions = self.scope.get("extensions")
        link: Link | None = extensions.get(EXTENSION) if extensions else None
        if link is None:
            return False
        self._link = link
        link.send_timeout = self._options.send_timeout
        link.attach(self._stop)
        return True

    def _ends_with_client(self) -> None:
        """From here on the client's leaving ends the request, whatever the method: there is nobody to send to."""
        self._for_client = True
        if self._sweep is not None:
            self._sweep.add(self)
        if self._left:
            self._scope.cancel("disconnected")

    async def watch(self) -> None:
        """Wait for the client to leave, for a server that has no `Link`; the disconnect sweep runs this."""
        await self._incoming.watch()

    def _on_disconnect(self) -> None:
        self._stop("disconnected")

    def _stop(self, reason: Reason) -> None:
        """Called by the server's `Link` or by the reader of `receive`."""
        if reason == "disconnected":
            self._left = True
            if not (self._for_client or self._options.cancels(self.method)):
                return
        self._scope.cancel(reason)
