"""Noticing that a peer has gone while nobody reads its socket.

This file owns one epoll object. A connection's reader is sometimes parked: the application has not read what is
queued, or the client has pipelined a request behind the one being answered. The socket is readable all that time, so
that waiting for it says nothing, and the end of the stream lies behind bytes we do not want yet. Linux can be asked
for just the end: EPOLLRDHUP. What the kernels cannot hold of an unread upload keeps even that from arriving: then the
client is missed until its body is read on, or its response written. On systems without epoll a parked reader notices
when it reads on, as stock hypercorn does.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Generator
from contextlib import contextmanager

import trio

log = logging.getLogger("trivet.server")

_SUPPORTED = hasattr(select, "epoll") and hasattr(select, "EPOLLRDHUP")


class Hangups:
    """Watches parked connections for their peer's end of stream (FIN or RST). One for a server."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if _SUPPORTED else None
        self._watched: dict[int, Callable[[], object]] = {}

    async def run(self) -> None:
        """Serve the watches. Cancel it to end; then `close`."""
        if self._epoll is None:
            return
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0):
                gone = self._forget(fd)
                if gone is not None:
                    try:
                        gone()
                    except Exception:
                        log.exception("a connection ended by an error")  # it costs nobody else anything

    @contextmanager
    def watch(self, socket: trio.socket.SocketType, gone: Callable[[], object]) -> Generator[None]:
        """Call `gone` at most once, if the peer ends its half or breaks the connection while inside."""
        fd = socket.fileno()
        if self._epoll is None or fd == -1 or fd in self._watched:
            yield
            return
        self._epoll.register(fd, select.EPOLLRDHUP)
        self._watched[fd] = gone
        try:
            yield
        finally:
            # A descriptor that was closed meanwhile may belong to another connection by now; then it is not ours.
            if self._watched.get(fd) is gone:
                self._forget(fd)

    def _forget(self, fd: int) -> Callable[[], object] | None:
        gone = self._watched.pop(fd, None)
        if gone is not None and self._epoll is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # the kernel forgets a closed descriptor by itself
        return gone

    def close(self) -> None:
        """Release the descriptor."""
        if self._epoll is not None:
            self._epoll.close()
