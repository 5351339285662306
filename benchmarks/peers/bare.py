"""Bare ASGI: the least that an honest application does. It finds the route, reads the number, encodes, and answers with
the two header fields that everybody else sends as well."""

from __future__ import annotations

import msgspec
import trio

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE
from trivet.asgi import Receive, Scope, Send

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ITEMS = "/items/"
_WAITS = "/waits/"
_NESTED = "/nested/"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["method"] == "POST":
        status, media_type, body = await _posted(scope["path"], receive)
    elif scope["method"] == "GET":
        status, media_type, body = await _got(scope["path"])
    else:
        status, media_type, body = 405, b"text/plain; charset=utf-8", b"Method Not Allowed"
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _got(path: str) -> tuple[int, bytes, bytes]:
    if path == "/hello":
        return 200, b"text/plain; charset=utf-8", GREETING.encode()
    if path == "/profile":
        return 200, b"application/json", _encode(PROFILE)
    if path == "/download":
        return 200, b"application/octet-stream", DOWNLOAD
    try:
        if path.startswith(_NESTED):
            return 200, b"application/json", _encode({"account": int(path[len(_NESTED) :]) + 2})
        if path.startswith(_WAITS):
            await trio.lowlevel.checkpoint()
            path = _ITEMS + path[len(_WAITS) :]
        if path.startswith(_ITEMS):
            return 200, b"application/json", _encode({"item_id": int(path[len(_ITEMS) :])})
    except ValueError:
        pass
    return 404, b"text/plain; charset=utf-8", b"Not Found"


async def _posted(path: str, receive: Receive) -> tuple[int, bytes, bytes]:
    if path in ("/echo", "/orders"):
        chunks = []
        more = True
        while more:
            message = await receive()
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        order = _decode(b"".join(chunks))
        if path == "/orders":
            order = {"sku": order["sku"], "total": order["quantity"] * order["price"]}
        return 200, b"application/json", _encode(order)
    if path == "/upload":
        received = 0
        more = True
        while more:
            message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
        return 200, b"application/json", _encode({"received": received})
    return 404, b"text/plain; charset=utf-8", b"Not Found"


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
