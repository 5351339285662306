"""Which connections go on in another protocol. This file owns that decision; hypercorn's take them from there."""

from __future__ import annotations

from typing import Final

from ._http1_head import RequestHead

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"


def begins_http2(data: bytes) -> bool:
    """Whether a client starts with HTTP/2 right away (RFC 9113 section 3.4)."""
    return data.startswith(_PREFACE)


def becomes_another(head: RequestHead) -> bool:
    """Whether this request turns the connection into something else, as far as hypercorn can."""
    if head.method != "GET" or head.version != "1.1" or head.length != 0:
        return False
    if head.upgrade == b"websocket":
        return True
    # RFC 7540 section 3.2.1: exactly one HTTP2-Settings.
    return head.upgrade == b"h2c" and sum(name == b"http2-settings" for name, _ in head.headers) == 1
