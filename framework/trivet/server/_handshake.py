"""The start of a connection: plain, or TLS. This file owns what becomes of a handshake that fails: nothing."""

from __future__ import annotations

from typing import TypeAlias

import trio

from ._stream import BoundedStream

Transport: TypeAlias = "BoundedStream | trio.SSLStream[BoundedStream]"


async def alpn_of(transport: Transport, timeout: float, scope: trio.CancelScope) -> str | None:
    """The ALPN name (RFC 7301) the client chose, or None if there is nobody to talk to.

    Args:
        transport: the accepted stream.
        timeout: seconds for the handshake.
        scope: what it runs in, so that it can be ended from outside.
    """
    if isinstance(transport, BoundedStream):
        return "http/1.1"
    with scope:
        scope.deadline = trio.current_time() + timeout
        try:
            await transport.do_handshake()
            return transport.selected_alpn_protocol() or "http/1.1"
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a scanner, or a client that does not trust our certificate: no fault of ours
    return None
