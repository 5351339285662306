"""The head of a request, as handlers see it: read from the ASGI scope when it is asked for, and kept.

This file owns what a head can be asked. It knows neither bodies nor how a request ends: `_request` does.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from ._cookies import parse_cookies
from ._forwarded import NOTHING, Hop, Proxies
from ._head import raw_path, whole_url
from ._headers import Headers
from ._query import QueryParams
from ._query import parse as parse_query
from .asgi import Scope


class Address(NamedTuple):
    """The peer of a connection."""

    host: str
    port: int


class RequestHead:
    """What a request says before its body."""

    # Set by `Request`: one constructor is enough, for it runs for each request.
    app: Any
    scope: Scope
    method: str

    _headers: Headers | None = None
    _query: QueryParams | None = None
    _cookies: dict[str, str] | None = None
    _hop: Hop | None = None
    _id: str | None = None
    """Kept, once asked for."""

    @property
    def raw_path(self) -> bytes:
        """The path as sent, percent-encoded, without query; with the prefix that this application is mounted at."""
        return raw_path(self.scope)

    @property
    def path(self) -> str:
        """The path, percent-decoded; for display and logs (`%2F` and `/` look the same in it)."""
        return unquote(self.raw_path.decode("latin-1"), errors="replace")

    @property
    def url(self) -> str:
        """The URL as the client sees it, as far as `Host` and the server's scheme tell, or the application's `trusted`
        proxies: not to be trusted in links."""
        return whole_url(self.scope, self._host, self._seen.scheme)

    @property
    def query(self) -> QueryParams:
        """The query parameters.

        Raises:
            InvalidInput: 400, the query string is malformed.
        """
        if self._query is None:
            self._query = parse_query(self.scope.get("query_string", b""))
        return self._query

    @property
    def headers(self) -> Headers:
        """The header fields, case-insensitive."""
        if self._headers is None:
            self._headers = Headers(self.scope["headers"])
        return self._headers

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.getlist("cookie"))
        return self._cookies

    @property
    def client(self) -> Address | None:
        """The peer, or whom the application's `trusted` proxies saw; `None` where there is none to tell (a Unix
        socket). A port of 0 was not told."""
        client = self._seen.client or self.scope.get("client")
        return None if client is None else Address(client[0], client[1])

    @property
    def _host(self) -> str | None:
        """The host that the client asked, with its port."""
        return self._seen.host or self.headers.get("host")

    @property
    def _seen(self) -> Hop:
        """What trusted proxies say."""
        if self._hop is None:
            proxies: Proxies | None = self.app._proxies
            peer = self.scope.get("client")
            self._hop = NOTHING if proxies is None else proxies.seen(peer and (peer[0], peer[1]), self.headers)
        return self._hop

    @property
    def id(self) -> str:
        """A UUID of this request: in the log beside each error, and `instance` of each problem."""
        if self._id is None:
            self._id = str(uuid.uuid4())
        return self._id

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What the lifespan yielded, copied for this request: write to it freely."""
        state: MutableMapping[str, Any] | None = self.scope.get("state")
        if state is None:  # a server that does not carry it from the lifespan: ours is copied
            state = self.scope["state"] = dict(self.app.state)
        return state
