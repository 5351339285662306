"""Requests of one client are run, one after another; this file owns which may, and what is answered where not.

This is the loop that each command of each client passes through: no `await`, no task switch, one try.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from . import (
    commands_connection,
    commands_keys,
    commands_pubsub,
    commands_server,
    commands_strings,
    commands_transactions,
)
from .pipeline import Alike
from .protocol import OVERHEAD
from .replies import QUEUED, CommandError, error
from .session import Session
from .table import QUICK, TOGETHER, Command, look_up

log = logging.getLogger("apps.mini_redis")

MODULES: Final = (
    commands_connection,
    commands_keys,
    commands_pubsub,
    commands_server,
    commands_strings,
    commands_transactions,
)
"""What fills the table, by being imported."""

TRANSACTION: Final = 128 * 1024 * 1024
"""Bytes of the commands between MULTI and EXEC."""

HTTP: Final = frozenset((b"post", b"host:"))
"""How a request of HTTP begins, and how its first field does: lines, of which each further one could be a command. A
page of any site may have a browser POST a text of its choice to this port; redis-server too ends the connection."""

WARNED: Final = 60_000
"""Milliseconds between two warnings of that, as in redis-server: whoever makes them must not fill the log."""

LARGE: Final = 4096
"""Bytes of a reply after which the replies so far are sent, lest a pipeline of large ones be held in memory."""


def execute(session: Session, requests: Sequence[list[bytes]], begin: int, replies: list[bytes]) -> int:
    """Run requests, adding to `replies`.

    Args:
        session: who asks.
        requests: what it asks.
        begin: the first of them to run.
        replies: where the replies go.

    Returns:
        How far it came: the number of requests, or less if what there is to send should be sent first, or the client
        is to go.
    """
    if type(requests) is Alike and session.plain and not begin:
        run = TOGETHER.get(requests.columns[0][0])
        if run is not None and (answers := run(session, requests.columns)) is not None:
            replies += answers
            return _ran(session, requests, 0, len(requests))
    reply = replies.append
    quick = QUICK.get
    at = begin
    for words in requests[begin:] if begin else requests:
        at += 1
        found = quick(words[0])
        if found is not None and session.plain and found[1] <= len(words) <= found[2]:
            try:
                answer = found[0](session, words)
            except CommandError as wrong:
                answer = error(wrong.args[0])
            reply(answer)
            if len(answer) > LARGE:
                break
        else:
            answer = _with_care(session, words)
            reply(answer)
            if len(answer) > LARGE or session.closing:
                break
    return _ran(session, requests, begin, at)


def _ran(session: Session, requests: Sequence[list[bytes]], begin: int, at: int) -> int:
    session.commands += at - begin
    if at > begin:
        session.last = requests[at - 1][0].lower()[:32]
    return at


def _with_care(session: Session, words: list[bytes]) -> bytes:
    if words[0].lower() in HTTP:
        _end_http(session)
        return b""
    try:
        command = look_up(words)
        if session.engine.refusing is not None and _refused(session, command):
            raise CommandError(session.engine.refusing)
        if session.version == 2 and session.subscribed and not command.subscribed:
            raise CommandError(
                b"ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                b"this context" % command.name
            )
    except CommandError as wrong:
        if words[0].lower() == b"exec":
            session.end_transaction()
            return error(b"EXECABORT Transaction discarded because of: " + wrong.args[0].removeprefix(b"ERR "))
        session.broken = session.queue is not None
        return error(wrong.args[0])
    if session.queue is not None and not command.at_once:
        session.queued += sum(map(len, words)) + OVERHEAD * len(words)
        if session.queued > TRANSACTION:
            session.broken = True
            session.queue.clear()
            return error("ERR the transaction is too large; DISCARD it, and send it in parts")
        session.queue.append((command, words))
        return QUEUED
    try:
        return command.run(session, words)
    except CommandError as wrong:
        return error(wrong.args[0])


def _refused(session: Session, command: Command) -> bool:
    """Whether it would change something; and PING, as in redis-server: who asks only whether all is well, is told."""
    if command.name == b"exec":
        return any(queued.write for queued, _ in session.queue or ())
    return command.write or command.name == b"ping"


def _end_http(session: Session) -> None:
    session.closing = True
    engine = session.engine
    now = engine.clock()
    if now - engine.warned >= WARNED:
        engine.warned = now
        log.warning(
            "%s sent POST or Host: and was cut off: a page in a browser there may be trying to reach this server",
            session.address,
        )
