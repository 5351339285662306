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
    "notes": [
        {"id": number, "title": f"Note {chr(64 + number)}", "words": number * 120, "tags": ["engine", "tables"]}
        for number in range(1, 13)
    ],
}
"""The object that the `json` case sends, a kilobyte; each peer encodes it anew for each request, as it would a row it
has read."""

ORDER: Final[dict[str, Any]] = {
    "sku": "lamp-12",
    "quantity": 3,
    "price": 12.5,
    "tags": ["desk", "light"],
    "gift": False,
}
"""The object that the `echo` case sends and wants back."""

QUANTITY: Final = (1, 100)
SKU_MAX: Final = 40
"""What the `order` case has checked of the same object, beside its types: the least and the most of a quantity, and how
long a name may be."""

DOWNLOAD: Final = bytes(range(256)) * 4096
"""One megabyte, whole: the server has it at once, and no peer may know that it is asked for it again."""

UPLOAD: Final = 10 * 1024 * 1024
"""Bytes of an upload, which the peer takes as they come and counts."""

# Different numbers, so that nothing is answered from a cache of paths; the same number of digits, so that every answer
# to a case has the same length.
_ITEMS: Final = range(100, 200)


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of request.

    Attributes:
        name: for the command line and the tables.
        title: the method and the route that serves it.
        paths: asked for in turn.
        media_type: what `Content-Type` must say, parameters aside.
        body: sent with each request; its presence makes it a POST.
        body_type: the body's `Content-Type`.
        bulk: answers are too few in a slice to count them; so many requests are timed instead, or one per connection.
        common: asked of everybody; else of those only that say that they take part.
    """

    name: str
    title: str
    paths: tuple[str, ...]
    media_type: str = "application/json"
    body: bytes = b""
    body_type: str = "application/json"
    bulk: int = 0
    common: bool = True

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def requests(self) -> list[bytes]:
        """The requests as bytes. The head is short on purpose: parsing it is the server's time, not the peer's."""
        return [
            f"{self.method} {path} HTTP/1.1\r\n".encode()
            + b"".join(f"{name}: {value}\r\n".encode() for name, value in self.fields().items())
            + b"\r\n"
            + self.body
            for path in self.paths
        ]

    def fields(self) -> dict[str, str]:
        """The fields of a request's head."""
        fields = {"Host": "localhost", "Accept": "*/*"}
        if self.body:
            fields |= {"Content-Type": self.body_type, "Content-Length": str(len(self.body))}
        return fields

    def expected(self, path: str) -> object:
        """What `path` answers: a text, bytes, or a value that the JSON stands for."""
        if self.name == "typed" or self.name == "awaits":
            return {"item_id": int(path.rpartition("/")[2])}
        if self.name == "nested":
            return {"account": int(path.rpartition("/")[2]) + 2}
        return _EXPECTED[self.name]

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
        if _value(self.media_type, body) != self.expected(path):
            return f"the body is {body[:200]!r}, not {repr(self.expected(path))[:200]}"
        return None


def _value(media_type: str, body: bytes) -> object:
    if media_type == "application/octet-stream":
        return body
    return json.loads(body) if media_type == "application/json" else body.decode()


_EXPECTED: Final[dict[str, object]] = {
    "hello": GREETING,
    "static": GREETING,
    "json": PROFILE,
    "echo": ORDER,
    "order": {"sku": "lamp-12", "total": 37.5},
    "download": DOWNLOAD,
    "upload": {"received": UPLOAD},
}

TYPED: Final = Case("typed", "GET /items/{item_id}, an int, as JSON", tuple(f"/items/{number}" for number in _ITEMS))
JSON: Final = Case("json", "GET /profile, 1 KB of JSON", ("/profile",))

WORK: Final = (
    Case("hello", "GET /hello, 13 bytes of text", ("/hello",), "text/plain"),
    TYPED,
    JSON,
    Case("echo", "POST /echo, a JSON object and back", ("/echo",), body=json.dumps(ORDER).encode()),
    Case(
        "order",
        "POST /orders, a JSON object validated into a model, two fields back",
        ("/orders",),
        body=json.dumps(ORDER).encode(),
        common=False,
    ),
    Case(
        "nested",
        "GET /nested/{item_id}, three dependencies, each of the one before",
        tuple(f"/nested/{number}" for number in _ITEMS),
        common=False,
    ),
    Case("download", "GET /download, 1 MB", ("/download",), "application/octet-stream"),
    Case(
        "upload",
        "POST /upload, 10 MB, counted as they come",
        ("/upload",),
        body=bytes(UPLOAD),
        body_type="application/octet-stream",
        bulk=8,
    ),
)
"""What each server is asked in the comparison of servers."""

STOCK: Final = (
    Case("static", "GET /hello", ("/hello",), "text/plain"),
    TYPED,
    Case(
        "awaits",
        "GET /waits/{item_id}, the same but for one checkpoint in the handler",
        tuple(f"/waits/{number}" for number in _ITEMS),
    ),
    JSON,
)
"""What the frameworks that run on Trio are asked, on stock hypercorn and in process."""
