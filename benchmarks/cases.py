"""What each peer is asked, and what it must answer.

This file owns the comparison's fairness: one set of requests, one set of answers, and the check that a peer gives them
before a single request of it is counted. It knows no peer and no socket.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

GREETING: Final = "Hello, world!"

PROFILE: Final[dict[str, Any]] = {
    "id": 1042,
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "active": True,
    "score": 97.5,
    "roles": ["author", "editor"],
    "address": {"street": "12 St James's Square", "city": "London", "country": "GB"},
}
"""The object that the `json` case sends; each peer encodes it anew for each request, as it would a row it has read."""

# Different numbers, so that nothing is answered from a cache of paths; the same number of digits, so that every answer
# to a case has the same length.
_ITEMS: Final = range(100, 200)


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of request.

    Attributes:
        name: for the command line and the tables.
        title: the route that serves it.
        paths: asked for in turn.
        media_type: what `Content-Type` must say, parameters aside.
    """

    name: str
    title: str
    paths: tuple[str, ...]
    media_type: str

    def requests(self) -> list[bytes]:
        """The requests as bytes. The header is short on purpose: parsing it is the server's time, not the peer's."""
        return [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode() for path in self.paths]

    def expected(self, path: str) -> object:
        """What `path` answers: a text, or a value that the JSON stands for."""
        if self.name == "static":
            return GREETING
        return PROFILE if self.name == "json" else {"item_id": int(path.rpartition("/")[2])}

    def check(self, path: str, status: int, headers: dict[str, str], body: bytes) -> str | None:
        """What is wrong with an answer; `None`: nothing.

        JSON is compared as a value: quart ends it with a line feed, and that is its right.
        """
        if status != 200:
            return f"the status is {status}, not 200"
        came = headers.get("content-type", "nothing")
        if came.partition(";")[0].strip() != self.media_type:
            return f"the content type is {came}, not {self.media_type}"
        if headers.get("content-length") != str(len(body)):
            return f"Content-Length is {headers.get('content-length')}, the body has {len(body)} bytes"
        value = json.loads(body) if self.media_type == "application/json" else body.decode()
        if value != self.expected(path):
            return f"the body is {body!r}, not {self.expected(path)!r}"
        return None


CASES: Final = (
    Case("static", "/hello", ("/hello",), "text/plain"),
    Case("typed", "/items/{item_id}, an int", tuple(f"/items/{number}" for number in _ITEMS), "application/json"),
    Case(
        "awaits",
        "/waits/{item_id}, the same but for one checkpoint in the handler",
        tuple(f"/waits/{number}" for number in _ITEMS),
        "application/json",
    ),
    Case("json", "/profile", ("/profile",), "application/json"),
)
