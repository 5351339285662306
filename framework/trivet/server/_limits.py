"""What a client may take of us before it is turned away. This file owns the numbers, their units and their precedents.

Each is an option of `trivet run` and an argument of `serve`. The application's own limits (`max_body`, `body_timeout`,
`send_timeout`, `timeout`) come on top; these hold for any ASGI application, and before one is asked at all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of trivet's HTTP/1.1 and WebSocket protocols.

    Attributes:
        request_line: bytes of the request line; longer: 414. nginx's `large_client_header_buffers` holds lines of
            8 KiB, Apache's `LimitRequestLine` is 8,190.
        head_size: bytes of the whole head, request line included; larger: 431. nginx takes 4 times 8 KiB.
        head_fields: field lines in a head; more: 431. Apache's `LimitRequestFields` and hyper's limit are 100.
        head_timeout: seconds from the first byte of a head to its last; longer: 408. HAProxy's manual suggests 5 to
            10 s for `timeout http-request`.
        idle_timeout: seconds without a request, on a new connection and between two; then it is closed. hypercorn's
            and uvicorn's `keep_alive_timeout`.
        body_size: bytes of a body; larger: 413. `None`: no bound, as uvicorn and hypercorn; an `App` has `max_body`.
        body_rate: bytes a second that a body has to come at while somebody reads it; slower: 408. `None`: no bound.
            Apache's `mod_reqtimeout` demands 500.
        body_grace: seconds before `body_rate` counts. Apache's `RequestReadTimeout body=20`.
        connections: open at once; further ones wait in the kernel's backlog, as in tokio's mini-redis. `None`: as
            many as the process may have descriptors.
        requests: on one connection, which is closed after that many; `None`: no bound. hypercorn's
            `keep_alive_max_requests` is 1,000, as nginx's.
        read_ahead: bytes that are read behind the request being answered (pipelined requests, or a body or messages
            that nobody reads yet); then the client has to wait. uvicorn's high-water mark.
        websocket_message: bytes of a message, inflated if it is compressed; larger: 1009. hypercorn's and uvicorn's
            16 MiB.
        websocket_deflate: bytes from which a message is compressed, if the client can (permessage-deflate); `None`: no
            message is, either way. Off as in `ws` (Node) and gorilla (Go); `ws` starts at 1,024 where it is on.
        websocket_pong: seconds in which something has to be heard after a ping; else the client is dropped. uvicorn's
            `ws_ping_timeout`.
        websocket_close: seconds for a client to answer our close frame with its own; RFC 6455 names none.
    """

    request_line: int = 8192
    head_size: int = 32_768
    head_fields: int = 100
    head_timeout: float = 6.0
    idle_timeout: float = 5.0
    body_size: int | None = None
    body_rate: float | None = 500.0
    body_grace: float = 20.0
    connections: int | None = None
    requests: int | None = None
    read_ahead: int = 65_536
    websocket_message: int = 16_777_216
    websocket_deflate: int | None = None
    websocket_pong: float = 20.0
    websocket_close: float = 5.0
