"""Commands on channels."""

from __future__ import annotations

from collections.abc import Callable

from .glob import compiled
from .replies import CommandError, array, array_of_bulks, bulk, integer, push
from .session import ENTRY, Session
from .table import command


@command(b"publish", 3)
def publish(session: Session, words: list[bytes]) -> bytes:
    """PUBLISH channel message."""
    session.engine.counted.published += 1
    return integer(session.engine.hub.publish(words[1], words[2]))


def _told(session: Session, kind: bytes, name: bytes | None) -> bytes:
    named = session.null if name is None else bulk(name)
    return push([bulk(kind), named, integer(session.subscribed)], session.version)


@command(b"subscribe", -2, subscribed=True)
def subscribe(session: Session, words: list[bytes]) -> bytes:
    """SUBSCRIBE channel... One reply for each."""
    return _enter(session, words, session.channels, session.engine.hub.subscribe)


@command(b"psubscribe", -2, subscribed=True)
def psubscribe(session: Session, words: list[bytes]) -> bytes:
    """PSUBSCRIBE pattern..."""
    return _enter(session, words, session.patterns, session.engine.hub.subscribe_pattern)


@command(b"unsubscribe", -1, subscribed=True)
def unsubscribe(session: Session, words: list[bytes]) -> bytes:
    """UNSUBSCRIBE [channel...]; all of them, if it names none."""
    return _leave(session, words, session.channels, session.engine.hub.unsubscribe)


@command(b"punsubscribe", -1, subscribed=True)
def punsubscribe(session: Session, words: list[bytes]) -> bytes:
    """PUNSUBSCRIBE [pattern...]; all of them, if it names none."""
    return _leave(session, words, session.patterns, session.engine.hub.unsubscribe_pattern)


def _enter(
    session: Session, words: list[bytes], own: dict[bytes, None], enter: Callable[[bytes, Session], None]
) -> bytes:
    kind = words[0].lower()
    replies: list[bytes] = []
    for name in words[1:]:
        if name not in own:
            own[name] = None
            session.named += ENTRY + len(name)
        enter(name, session)
        replies.append(_told(session, kind, name))
    session.settle()
    return b"".join(replies)


def _leave(
    session: Session, words: list[bytes], own: dict[bytes, None], leave: Callable[[bytes, Session], None]
) -> bytes:
    kind = words[0].lower()
    replies: list[bytes] = []
    for name in words[1:] or list(own):
        if name in own:
            del own[name]
            session.named -= ENTRY + len(name)
            leave(name, session)
        replies.append(_told(session, kind, name))
    session.settle()
    return b"".join(replies) or _told(session, kind, None)


@command(b"pubsub|channels", -2)
def channels(session: Session, words: list[bytes]) -> bytes:
    """PUBSUB CHANNELS [pattern]."""
    if len(words) > 3:
        raise CommandError(b"ERR unknown subcommand or wrong number of arguments for '%b'. Try PUBSUB HELP." % words[1])
    known = session.engine.hub.channels
    matches = compiled(words[2]) if len(words) > 2 else known.__contains__
    return array_of_bulks(channel for channel in known if matches(channel))


@command(b"pubsub|numsub", -2)
def numsub(session: Session, words: list[bytes]) -> bytes:
    """PUBSUB NUMSUB [channel...]."""
    known = session.engine.hub.channels
    return array([part for name in words[2:] for part in (bulk(name), integer(len(known.get(name, ()))))])


@command(b"pubsub|numpat", 2)
def numpat(session: Session, words: list[bytes]) -> bytes:
    """PUBSUB NUMPAT."""
    return integer(len(session.engine.hub.patterns))
