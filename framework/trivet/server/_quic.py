"""HTTP/3, as hypercorn has it, kept from hurting the rest.

This file owns one containment. Everything else about QUIC is hypercorn's and aioquic's: requests over it carry no
`Link`, so that an application falls back on plain ASGI for them.
"""

from __future__ import annotations

import socket
from typing import Any, cast

import trio
from hypercorn.trio.udp_server import UDPServer
from hypercorn.typing import ConnectionState

from ._faults import fault_in
from ._state import Server, log

RESTART_SECONDS = 0.1


async def serve_quic(server: Server, sock: socket.socket) -> None:
    """Serve HTTP/3 on a UDP socket until the drain begins.

    An exception costs the QUIC connections of this socket, no more: hypercorn raises, for one, on data that follows an
    early answer.
    """

    served = server.app if server.access is None else server.access.around(server.app)

    async def app(scope: Any, receive: Any, send: Any, *_: object) -> None:
        await served(scope, receive, send)

    while not server.draining.is_set():
        try:
            state = ConnectionState(server.lifespan_state.copy())
            udp = UDPServer(cast(Any, app), server.config, cast(Any, server.context), state, sock)
            await udp.run()
        except BaseException as error:
            fault = fault_in(error)
            if fault is None:
                raise
            log.error("the HTTP/3 connections of one socket ended by an error", exc_info=fault)
            await trio.sleep(RESTART_SECONDS)
