"""A TLS session that has begun in memory goes on as a `trio.SSLStream`. This file owns how it is put there.

A `trio.SSLStream` makes its `ssl.SSLObject` from a context, over two BIOs of its own. It gets a context that hands out
the object that there is, and that carries the ciphertext between its BIOs and ours. So HTTP/2 and WebSockets have
Trio's own stream, with nothing of it known here but the documented interface of `ssl`.
"""

from __future__ import annotations

import ssl
from typing import Any, cast

import trio

from ._stream import BoundedStream


def adopt(
    lower: BoundedStream, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> trio.SSLStream[BoundedStream]:
    """A stream that goes on with a session whose handshake is over.

    Args:
        lower: what ciphertext comes from and goes to.
        session: what there is.
        incoming: what it reads; what is in there is read first.
        outgoing: what it writes to; what is in there is sent first.
    """
    context = _Context(session, incoming, outgoing)
    return trio.SSLStream(lower, cast(ssl.SSLContext, context), server_side=True, https_compatible=True)


class _Context:
    def __init__(self, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._parts = session, incoming, outgoing

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **_: object) -> _Session:
        return _Session(*self._parts, incoming, outgoing)


class _Session:
    """The session, with the ciphertext carried over before and after each step."""

    def __init__(
        self,
        session: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        their_incoming: ssl.MemoryBIO,
        their_outgoing: ssl.MemoryBIO,
    ) -> None:
        self._session = session
        self._incoming, self._outgoing = incoming, outgoing
        self._their_incoming, self._their_outgoing = their_incoming, their_outgoing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _arrive(self) -> None:
        if self._their_incoming.pending:
            self._incoming.write(self._their_incoming.read())
        elif self._their_incoming.eof:
            self._incoming.write_eof()

    def _leave(self) -> None:
        if self._outgoing.pending:
            self._their_outgoing.write(self._outgoing.read())

    def do_handshake(self) -> None:
        self._leave()  # it is over: there is only what it has left behind

    def read(self, size: int) -> bytes:
        self._arrive()
        try:
            return self._session.read(size)
        finally:
            self._leave()

    def write(self, data: bytes) -> int:
        try:
            return self._session.write(data)
        finally:
            self._leave()

    def unwrap(self) -> None:
        self._arrive()
        try:
            self._session.unwrap()
        finally:
            self._leave()
