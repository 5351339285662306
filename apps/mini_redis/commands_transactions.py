"""MULTI and what belongs to it.

A transaction needs no isolation of its own: EXEC runs its commands in one function, in which nobody else runs.
"""

from __future__ import annotations

from typing import Final

from .replies import NULL_ARRAY, OK, CommandError, array, bounded, error
from .session import Session
from .table import command

SMALL: Final = 64
"""Bytes of a reply that comes in any case: to say that it does not would take more."""


@command(b"multi", 1, at_once=True)
def multi(session: Session, words: list[bytes]) -> bytes:
    """MULTI."""
    if session.queue is not None:
        raise CommandError(b"ERR MULTI calls can not be nested")
    session.queue = []
    session.queued = 0
    session.broken = False
    session.settle()
    return OK


@command(b"exec", 1, at_once=True)
def exec_(session: Session, words: list[bytes]) -> bytes:
    """EXEC."""
    queue = session.queue
    if queue is None:
        raise CommandError(b"ERR EXEC without MULTI")
    broken, dirty = session.broken, session.dirty or _expired(session)
    session.end_transaction()
    if broken:
        raise CommandError(b"EXECABORT Transaction discarded because of previous errors.")
    if dirty:
        return NULL_ARRAY[session.version]
    replies: list[bytes] = []
    size = 0
    with session.engine.together():
        for queued, arguments in queue:
            try:
                reply = queued.run(session, arguments)
                if len(reply) > SMALL:
                    bounded(size + len(reply))
                size += len(reply)
            except CommandError as wrong:
                reply = error(wrong.args[0])
            replies.append(reply)
    return array(replies)


@command(b"discard", 1, at_once=True)
def discard(session: Session, words: list[bytes]) -> bytes:
    """DISCARD."""
    if session.queue is None:
        raise CommandError(b"ERR DISCARD without MULTI")
    session.end_transaction()
    return OK


@command(b"watch", -2, at_once=True, keys=(1, -1, 1))
def watch(session: Session, words: list[bytes]) -> bytes:
    """WATCH key..."""
    if session.queue is not None:
        raise CommandError(b"ERR WATCH inside MULTI is not allowed")
    for key in words[1:]:
        session.watch(key)
    return OK


@command(b"unwatch", 1)
def unwatch(session: Session, words: list[bytes]) -> bytes:
    """UNWATCH."""
    session.unwatch()
    return OK


def _expired(session: Session) -> bool:
    """Whether a watched key has expired, which changes it, though nobody may have noticed so far."""
    for store, key in session.watched:
        store.get(key)
    return session.dirty
