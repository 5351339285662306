"""The request target: from what the server put into the scope to the path that routes are matched on.

This file owns RFC 9112 section 3.2's forms of the target, and what `root_path` takes off. Nothing is decoded here: a
path is split first and decoded then, so that `%2F` stays in its segment.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from .asgi import Scope
from .errors import InvalidInput

ASTERISK: Final = b"*"
"""The target of `OPTIONS *`: the server as a whole."""

# What RFC 3986 lets stand in a path, beside what `quote` never touches.
_PATH_SAFE: Final = "/:@!$&'()*+,;=~"
# And in what a client has encoded already; a query may have a question mark as well.
_RAW_SAFE: Final = _PATH_SAFE + "%?"


# RFC 9112 section 6.3. A length of zero announces no body; no transfer coding is called "0".
_ANNOUNCING: Final = frozenset({b"content-length", b"transfer-encoding"})


def target_path(scope: Scope) -> bytes:
    """The path of the request, percent-encoded, less the prefix that the application is mounted at.

    Raises:
        InvalidInput: 400, the target is no path of this server.
    """
    raw = raw_path(scope)
    if raw[:1] != b"/":
        if raw != ASTERISK or scope["method"] != "OPTIONS":
            raise InvalidInput(400, "the request target is not a path")
        return raw
    root: str = scope.get("root_path", "")
    return raw if not root else _below(raw, root)


def raw_path(scope: Scope) -> bytes:
    """The path as the client sent it, or, from a server that does not keep that, encoded again.

    Absolute form (a client that takes us for a proxy) has a path, and that is it.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:  # it is optional in ASGI; the decoded path is all there is then
        return quote(scope["path"], safe=_PATH_SAFE).encode()
    if raw[:1] != b"/":
        scheme, separator, rest = raw.partition(b"://")
        if separator and scheme.lower() in (b"http", b"https"):
            _, slash, path = rest.partition(b"/")
            return slash + path or b"/"
    return raw


def whole_url(scope: Scope, host: str | None, scheme: str | None = None) -> str:
    """The URL as the client sees it; without a `host` field the server's own address stands for it.

    Args:
        scope: of the request or WebSocket.
        host: the host that the client asked.
        scheme: `http` or `https`, if the client's is not the server's.
    """
    if host is None:
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    query: bytes = scope.get("query_string", b"")
    tail = f"?{query.decode('latin-1')}" if query else ""
    own: str = scope.get("scheme", "http")
    if scheme is not None:
        own = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
    return f"{own}://{host}{raw_path(scope).decode('latin-1')}{tail}"


def _below(raw: bytes, root: str) -> bytes:
    """`raw` less `root`. A server may or may not have put the prefix into the path; only a whole one is taken off."""
    prefix = root_prefix(root).encode()
    if raw.startswith(prefix) and raw[len(prefix) : len(prefix) + 1] in (b"/", b""):
        return raw[len(prefix) :]
    return raw


def toggled_slash(path: bytes) -> bytes | None:
    """The other form of a path: without its last slash, or with one. `None`: it has no other.

    An empty path is that of a request for our root path itself, so `/` is its other form; not the other way round.
    """
    if path == b"/":
        return None
    return path[:-1] if path.endswith(b"/") else path + b"/"


def root_prefix(root: str) -> str:
    """A root path as it stands before a path in a URL: percent-encoded, without a slash at its end."""
    return quote(root.rstrip("/"), safe=_PATH_SAFE)


def redirect_target(root: str, path: bytes, query: bytes) -> str:
    """A relative reference to `path`, for `Location`.

    It starts with exactly one slash: with two it would be a network-path reference (RFC 3986 section 4.2) and lead to
    whatever host a link put there. What no URL may hold is encoded: HTTP/2 lets control characters through in a path,
    and a field's value cannot carry them.
    """
    location = root_prefix(root) + quote(path, safe=_RAW_SAFE)
    location = "/" + location.lstrip("/")
    return f"{location}?{quote(query, safe=_RAW_SAFE)}" if query else location


def expects_body(scope: Scope) -> bool:
    """Whether a body may follow the head: RFC 9112 section 6.3 has it announced; HTTP/2 and 3 need not."""
    for name, value in scope["headers"]:
        if name in _ANNOUNCING:
            return bool(value != b"0")
    return scope["http_version"] in ("2", "3") and scope["method"] not in ("GET", "HEAD", "OPTIONS", "DELETE")


def announces_body(scope: Scope) -> bool | None:
    """Whether the head says that there is a body; `None`: one that is not empty shows only when it is read.

    That is so of a transfer coding (RFC 9112 section 7.1), and of HTTP/2 and 3 where no length is told: there any
    method may have a body (RFC 9113 section 8.1), and none needs to say so.
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            return bool(value != b"0")
        if name == b"transfer-encoding":
            return None
    return None if scope["http_version"] in ("2", "3") else False
