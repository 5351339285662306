"""Bare ASGI: the least that an honest application does. It finds the route, reads the number, encodes, and answers with
the two header fields that everybody else sends as well."""

from __future__ import annotations

import msgspec
import trio

from benchmarks.cases import GREETING, PROFILE
from trivet.asgi import Receive, Scope, Send

_encode = msgspec.json.Encoder().encode
_ITEMS = "/items/"
_WAITS = "/waits/"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path: str = scope["path"]
    status, media_type = 200, b"application/json"
    if scope["method"] != "GET":
        status, media_type, body = 405, b"text/plain; charset=utf-8", b"Method Not Allowed"
    elif path == "/hello":
        media_type, body = b"text/plain; charset=utf-8", GREETING.encode()
    elif path == "/profile":
        body = _encode(PROFILE)
    else:
        try:
            if path.startswith(_WAITS):
                await trio.lowlevel.checkpoint()
                path = _ITEMS + path[len(_WAITS) :]
            if not path.startswith(_ITEMS):
                raise ValueError
            body = _encode({"item_id": int(path[len(_ITEMS) :])})
        except ValueError:
            status, media_type, body = 404, b"text/plain; charset=utf-8", b"Not Found"
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
