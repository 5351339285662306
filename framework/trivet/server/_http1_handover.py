"""Which connections go on in another protocol. This file owns that decision, and how they get there.

HTTP/2 is hypercorn's, and takes the bytes from here. A WebSocket is ours, and takes the transport as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._http1_head import Refused, RequestHead
from ._ws_connection import WebSocketConnection
from ._ws_handshake import VERSION, offer_of

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service
    from ._transport import Transport

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


def open_websocket(
    server: HTTP1Service, transport: Transport, head: RequestHead, behind: bytes, *, paused: bool, eof: bool
) -> tuple[int, str, bytes] | None:
    """Let a WebSocket go on where HTTP/1.1 ends.

    Args:
        server: what they share.
        transport: on which the request came.
        head: of the request.
        behind: what has come after it.
        paused: whether reading is paused.
        eof: whether the client has ended its half.

    Returns:
        None; or how the handshake is to be refused: status, detail, and further fields.
    """
    if server.watchful and not server.admits(head):
        return 404, "this server has no such host", b""
    if behind:
        # RFC 6455 section 4.1: a client waits for our answer. What comes before may be meant for somebody else.
        return 400, "There is data behind the handshake of a WebSocket that is not answered yet.", b""
    try:
        offer = offer_of(head)
    except Refused as refused:
        return refused.status, refused.detail, VERSION if refused.status == 426 else b""
    connection = WebSocketConnection(server, transport, head, offer, server.now)
    transport.pass_on(connection)
    server.joined(connection)
    connection.begin()
    if eof:
        connection.received(b"", server.now)
    elif paused:
        transport.resume()
    return None
