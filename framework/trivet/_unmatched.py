"""Requests that no route takes: 404, 405 with `Allow`, automatic OPTIONS, the redirect to the other slash, 400.

This file owns those answers. They pass through the application's middleware and catchers like a handler's, so that a
log, a header or a page of one's own covers them too.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

from ._answer import Answerer
from ._endpoint import Endpoint, Mounted, compose, names_of
from ._head import ASTERISK, redirect_target, target_path, toggled_slash
from ._options import Level, Resolved, Slash
from ._options import resolve as resolve_options
from ._registered import WEBSOCKET
from ._request import Request
from ._respond import Respond, Target
from ._response import Response
from ._routes import Hit, NoMethod, NoPath, Table
from .asgi import Scope
from .errors import HTTPError, InvalidInput

Miss: TypeAlias = NoMethod | NoPath | InvalidInput
Outcome: TypeAlias = Hit[Endpoint | Mounted] | Miss


class NoRoute(Target):
    """What serves a request that no route takes."""

    __slots__ = ()

    def __init__(self, options: Resolved, respond: Respond) -> None:
        self.immediate = not options.middleware
        self.options = options
        self.respond = respond


class Unmatched:
    """The application's answers where no route has one."""

    def __init__(
        self,
        table: Table[Endpoint | Mounted],
        sockets: Table[Endpoint | Mounted],
        level: Level,
        answerer: Answerer,
        slash: Slash,
    ) -> None:
        self._table = table
        self._sockets = sockets
        self._level = level
        self._answerer = answerer
        self._slash = slash
        self._options = resolve_options([level])
        self._names: tuple[str, ...] = ()

    def freeze(self) -> None:
        """Take the application's options as they are now."""
        self._options = resolve_options([self._level])
        self._names = names_of(self._options)

    def match(self, scope: Scope) -> tuple[bytes, Outcome]:
        """The path of a request, and what it leads to."""
        path = b""
        try:
            path = scope.get("raw_path") or b""
            if path[:1] != b"/" or scope.get("root_path"):
                path = target_path(scope)
                if path == ASTERISK:
                    return path, NoMethod(self._table.methods())
            hit = self._table.lookup(scope["method"], path)
            return path, self._table.missed(path) if hit is None else hit
        except InvalidInput as error:
            return path, error

    def endpoint(self, found: Miss, path: bytes) -> NoRoute:
        """What serves a request that `match` found no route for."""
        options = self._options
        core = partial(self._respond, found, path, options)
        return NoRoute(options, compose(core, options, self._answerer, self._names))

    async def _respond(self, found: Miss, path: bytes, options: Resolved, request: Request) -> Response:
        try:
            return self._plain(found, path, request)
        except HTTPError as error:
            return await self._answerer.answer(error, request, options.catchers)

    def _plain(self, found: Miss, path: bytes, request: Request) -> Response:
        if isinstance(found, InvalidInput):
            raise found
        if isinstance(found, NoMethod):
            allow = {"allow": ", ".join(found.allow)}
            if request.method == "OPTIONS":
                return Response(status=204, headers=allow)
            raise HTTPError(405, "this path does not take the method", headers=allow)
        if self._slash == "redirect":
            other = toggled_slash(path)
            if other is not None and self._table.lookup(request.method, other) is not None:
                root: str = request.scope.get("root_path", "")
                query: bytes = request.scope.get("query_string", b"")
                return Response(status=307, headers={"location": redirect_target(root, other, query)})
        if self._sockets.lookup(WEBSOCKET, path) is not None:
            # Not 426: RFC 9110 section 15.5.22 has it for a server that would answer the same request otherwise.
            raise HTTPError(404, "there is a WebSocket at this path, and nothing else")
        raise HTTPError(404, "there is nothing at this path")
