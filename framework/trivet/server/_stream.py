"""A socket whose writes cannot wait for ever.

This file owns how long a write may make no progress, and how a socket is ended: by FIN or by RST. It sits below TLS, so
that it counts bytes the kernel took, and it knows nothing of HTTP.

hypercorn shields each write from cancellation and gives it no time limit, so that a client that stops reading holds
its handler, and the shutdown, for as long as it likes. Here a write is tried at once, without a timer, for that is all
most writes need (the kernel buffers hundreds of kilobytes); only one that would block gets a deadline, which moves on
with each byte the kernel takes.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
import struct
from collections.abc import Callable
from math import inf

import trio

RECEIVE_SIZE = 65_536

_NO_LINGER = struct.pack("ii", 1, 0)
"""Waited for by nobody, for no time: then `close` sends RST."""


class Stalled(trio.BrokenResourceError):
    """The peer has taken nothing for as long as we were willing to wait."""


def end_half(sock: stdlib_socket.socket | trio.socket.SocketType) -> None:
    """Send FIN: nothing more will be written. Never blocks or raises."""
    try:
        sock.shutdown(stdlib_socket.SHUT_WR)
    except OSError:
        pass  # the peer is gone: there is nobody to tell


def close_now(sock: stdlib_socket.socket | trio.socket.SocketType, *, reset: bool) -> None:
    """Close, if it is not closed. Never blocks or raises.

    Args:
        sock: a Trio socket also wakes who waits for it.
        reset: drop what the kernel has not sent yet and send RST instead of FIN, so that the peer cannot take what it
            has for the whole (RFC 9293 section 3.10.7.4), nor hold our memory by not reading it.
    """
    if reset and sock.fileno() != -1:
        try:
            sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, _NO_LINGER)
        except OSError:
            pass  # it is being closed anyhow
    sock.close()


def _translate(error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
    if error.errno in (errno.EBADF, errno.ENOTSOCK):
        return trio.ClosedResourceError("this socket was closed")
    return trio.BrokenResourceError(f"connection broken: {error}")


class BoundedStream(trio.abc.HalfCloseableStream):
    """A connected stream socket, as `trio.SocketStream`, with a bound on writes.

    Args:
        sock: the connected, non-blocking socket, owned from here on.

    Attributes:
        socket: the same as Trio's.
        patience: called when a write blocks; the seconds it may stand still, `inf` for no bound.
        shielded: whether a blocked write goes on when its task is cancelled. Right where the bytes of several requests
            share the connection (HTTP/2); elsewhere a cancelled write leaves the stream broken, as with any Trio
            stream, and the task is free at once.
    """

    def __init__(self, sock: stdlib_socket.socket) -> None:
        self.socket = trio.socket.from_stdlib_socket(sock)
        self._send = sock.send
        self.patience: Callable[[], float] = lambda: inf
        self.shielded = False
        self._torn = False  # part of a write is out and the rest never will be: later bytes would be misread

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`.

        Other tasks have their turn in any case. But it can only be cancelled while it is blocked: data that the kernel
        takes at once is sent in a cancelled scope, too, for an answer to a request that was cut is worth more than a
        prompt `Cancelled`. Nothing else may send at the same time.

        Raises:
            Stalled: the peer took nothing for `patience()` seconds.
            trio.BrokenResourceError: the connection is broken.
            trio.ClosedResourceError: this end was closed.
        """
        if self._torn:
            raise trio.BrokenResourceError("an earlier write was interrupted")
        if not data:
            await trio.lowlevel.checkpoint()
            return
        sent = self._write(data)
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        try:
            # Trio's `socket.send` would do, but it costs two passes through the scheduler and refuses in a cancelled
            # scope; the socket is non-blocking, so that this cannot block.
            return self._send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _translate(error) from error

    async def _send_rest(self, rest: memoryview) -> None:
        patience = self.patience()
        self._torn = True
        with trio.CancelScope(deadline=trio.current_time() + patience, shield=self.shielded) as scope:
            while rest:
                await trio.lowlevel.wait_writable(self.socket)
                sent = self._write(rest)
                if sent:
                    rest = rest[sent:]
                    scope.deadline = trio.current_time() + patience
        if rest:
            raise Stalled(f"the peer has read nothing for {patience:g} s")
        self._torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        if self.socket.fileno() == -1:
            raise trio.ClosedResourceError("this socket was closed")
        await trio.lowlevel.wait_writable(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        if max_bytes is None:
            max_bytes = RECEIVE_SIZE
        elif max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")  # nothing would be received, which means the end
        try:
            return await self.socket.recv(max_bytes)
        except OSError as error:
            raise _translate(error) from error

    async def send_eof(self) -> None:
        """End our half."""
        self.end_writing()
        await trio.lowlevel.checkpoint()

    def end_writing(self) -> None:
        """`send_eof`, without a checkpoint: what a task that may be cancelled can still do."""
        end_half(self.socket)

    def close(self, *, reset: bool = False) -> None:
        """Close at once; `reset`: see `close_now`."""
        close_now(self.socket, reset=reset)

    async def aclose(self) -> None:
        """Close."""
        self.close()
        await trio.lowlevel.checkpoint()
