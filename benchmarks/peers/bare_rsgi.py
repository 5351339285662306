"""Bare RSGI, granian's own interface: the same as `bare`, with as little around it."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ITEMS = "/items/"
_TEXT = [("content-type", "text/plain; charset=utf-8")]
_JSON = [("content-type", "application/json")]
_BYTES = [("content-type", "application/octet-stream")]


async def app(scope: Any, protocol: Any) -> None:
    path: str = scope.path
    if scope.method == "POST":
        await _post(path, protocol)
    elif scope.method != "GET":
        protocol.response_str(405, _TEXT, "Method Not Allowed")
    elif path == "/hello":
        protocol.response_str(200, _TEXT, GREETING)
    elif path == "/profile":
        protocol.response_bytes(200, _JSON, _encode(PROFILE))
    elif path == "/download":
        protocol.response_bytes(200, _BYTES, DOWNLOAD)
    else:
        try:
            if not path.startswith(_ITEMS):
                raise ValueError
            body = _encode({"item_id": int(path[len(_ITEMS) :])})
        except ValueError:
            protocol.response_str(404, _TEXT, "Not Found")
        else:
            protocol.response_bytes(200, _JSON, body)


async def _post(path: str, protocol: Any) -> None:
    if path == "/echo":
        protocol.response_bytes(200, _JSON, _encode(_decode(await protocol())))
    elif path == "/upload":
        received = 0
        async for chunk in protocol:
            received += len(chunk)
        protocol.response_bytes(200, _JSON, _encode({"received": received}))
    else:
        protocol.response_str(404, _TEXT, "Not Found")
