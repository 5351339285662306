"""Which connections go on in another protocol. This file owns that decision; hypercorn's take them from there."""

from __future__ import annotations

from typing import Final

from ._http1_head import RequestHead

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"


def begins_http2(data: bytes) -> bool:
    """Whether a client starts with HTTP/2 right away (RFC 9113 section 3.4)."""
    return data.startswith(_PREFACE)


def becomes_another(head: RequestHead) -> bool:
    """Whether this request asks for a WebSocket.

    `h2c` is ignored, as RFC 9110 section 7.8 permits and as hypercorn's side does here: RFC 9113 has dropped it, and a
    connection that is handed over for nothing has got a client to the parser that takes more than ours.
    """
    return head.upgrade == b"websocket" and head.method == "GET" and head.version == "1.1" and head.length == 0
