"""One line of the access log: this file owns its fields, and that whatever a client sends stays on that line.

Whoever is outermost writes the line: the server of `trivet run`, else the application itself. It puts an `Entry` into
the scope, at `asgi.ACCESS`; a trivet application inside tells it why the request ended. So there is one line for each
request, for those of mounted applications and of ASGI middleware as well. The server's wing and the application share
this file, which knows neither.

There are no headers in a line, no query, no body and no environment: that is where the secrets are (OWASP's Logging
Cheat Sheet, "Data to exclude").
"""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import quote

from .asgi import Access, Reason, Scope

LEFT: Final = 499
"""The status of a request whose client left before its answer: nginx's code, never sent."""

_SPECIAL: Final = frozenset(' "\\')

_TEXT: Final = "%s %s %s %s %s %dB %.1fms head=%s id=%s"


class Entry:
    """What is known of one request; whoever made it notes, and calls `write` when the request is over.

    Args:
        method: as sent.
        path: as sent, percent-encoded, without query.
        client: host and port of the peer.
        http_version: as ASGI has it.
        began: when the head was complete, by any clock in seconds; the other times are by the same.
    """

    __slots__ = (
        "began", "client", "complete", "headed", "http_version", "left", "method", "outcome", "path", "request_id",
        "route", "sent", "status",
    )  # fmt: skip

    def __init__(
        self, method: str, path: bytes, client: tuple[str, int] | None, http_version: str, began: float
    ) -> None:
        self.method = method
        self.path = path
        self.client = client
        self.http_version = http_version
        self.began = began
        self.status = 0
        """Of the response; 0 before its head."""
        self.headed: float | None = None
        """When the head of the response was handed over."""
        self.sent = 0
        """Bytes of body handed over, less any framing."""
        self.complete = False
        """The end of the response was handed over."""
        self.left = False
        """The application was told that the client has left."""
        self.outcome: Reason | None = None
        """Why the request ended, as the application sees it; `None`: it has not said."""
        self.request_id: str | None = None
        """By which the application's own log knows the request."""
        self.route: str | None = None
        """The pattern of the route that took it, as the application wrote it."""

    @classmethod
    def of(cls, scope: Scope, began: float) -> Entry:
        """An entry for the request, or the WebSocket, of `scope`."""
        path: bytes | None = scope.get("raw_path")
        if path is None:
            path = quote(scope["path"]).encode()
        return cls(scope.get("method", "GET"), path, scope.get("client"), scope.get("http_version", "1.1"), began)

    def head(self, status: int, now: float) -> None:
        """The head of the response was handed over."""
        self.status = status
        self.headed = now

    def ended(self, outcome: Reason) -> tuple[Reason, int]:
        """Why the request ended, and the status to count it under; `outcome` is what it looked like from outside, if
        the application has not said."""
        outcome = self.outcome or outcome
        return outcome, LEFT if outcome == "disconnected" else self.status

    def tell(self, access: Access) -> None:
        """Tell who is further out what the application has said."""
        access.outcome, access.request_id = self.outcome, self.request_id
        access.route = self.route or access.route

    def write(self, log: logging.Logger, outcome: Reason, now: float) -> None:
        """Write the line; `outcome` is as for `ended`."""
        outcome, status = self.ended(outcome)
        client = plain(self.client[0]) if self.client else "-"
        method, path = plain(self.method), plain(self.path.decode("latin-1"))
        identity = "-" if self.request_id is None else plain(self.request_id)
        to_head = None if self.headed is None else self.headed - self.began
        head = "-" if to_head is None else f"{to_head * 1000:.1f}ms"
        duration = now - self.began
        # A record made by hand: `log.info` would walk the stack to find its caller, which is always this line.
        record = log.makeRecord(
            log.name, logging.INFO, "", 0, _TEXT,
            (client, method, path, status or "-", outcome, self.sent, duration * 1000, head, identity), None,
            extra={
                "client": client, "method": method, "path": path, "status": status, "outcome": outcome,
                "bytes": self.sent, "duration": duration, "time_to_head": to_head, "request_id": identity,
                "route": None if self.route is None else plain(self.route),
                "http_version": plain(self.http_version),
            },
        )  # fmt: skip
        log.handle(record)


def plain(text: str) -> str:
    r"""`text` as one word of printable ASCII: a client can neither forge a line or a column, nor drive a terminal.

    What is not printable, a space, a quotation mark and a backslash are escaped as in Python's `"\x0a"`, so that
    nothing looks like an escape that is none. An empty text is `-`.
    """
    if text.isascii() and text.isprintable() and not _SPECIAL.intersection(text):
        return text or "-"
    escaped = text.encode("unicode_escape").decode("ascii")
    return escaped.replace(" ", "\\x20").replace('"', "\\x22")
