"""Commands on values: GET, SET, counting, and their like."""

from __future__ import annotations

from typing import Final

from .arguments import HIGHEST, LOWEST, SYNTAX, moment, number
from .replies import HEADS, OK, CommandError, array, bounded, bulk_or_null, integer
from .session import Session
from .table import command, together, wrong_arity

LONGEST: Final = b"%d" % (512 * 1024 * 1024)
"""Bytes of a value where nothing else is set, as in redis-server."""

SHORT: Final = len(HEADS)

ENDS: Final = {b"EX": (1000, False), b"PX": (1, False), b"EXAT": (1000, True), b"PXAT": (1, True)}


@command(b"get", 2, keys=(1, 1, 1))
def get(session: Session, words: list[bytes]) -> bytes:
    """GET key."""
    store = session.store
    value = store.get(words[1]) if store.until else store.values.get(words[1])
    if value is None:
        return session.null
    length = len(value)
    return HEADS[length] + value + b"\r\n" if length < SHORT else b"$%d\r\n%b\r\n" % (length, value)


@together(b"get")
def get_all(session: Session, columns: list[list[bytes]]) -> list[bytes] | None:
    """GET of several keys."""
    store = session.store
    if store.until or len(columns) != 2:
        return None
    null = session.null
    try:
        return [
            null if value is None else HEADS[len(value)] + value + b"\r\n"
            for value in map(store.values.get, columns[1])
        ]
    except IndexError:  # a long one
        return None


@together(b"set")
def set_all(session: Session, columns: list[list[bytes]]) -> list[bytes] | None:
    """SET of several keys."""
    if len(columns) != 3 or not session.store.put_all(columns[1], columns[2]):
        return None
    return [OK] * len(columns[0])


@command(b"set", -3, write=True, keys=(1, 1, 1))
def set_(session: Session, words: list[bytes]) -> bytes:
    """SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]."""
    if len(words) == 3:
        session.store.put(words[1], words[2])
        return OK
    store, key = session.store, words[1]
    condition, keep, want, end = _set_options(words)
    until = None
    if end is not None:
        scale, absolute = ENDS[end[0]]
        until = moment(end[1], store.clock(), scale=scale, absolute=absolute, name=b"set", past=False)
    old = store.get(key)
    if (condition == b"NX" and old is not None) or (condition == b"XX" and old is None):
        return bulk_or_null(old, session.version) if want else session.null
    store.put(key, words[2], until, keep=keep)
    return bulk_or_null(old, session.version) if want else OK


def _set_options(words: list[bytes]) -> tuple[bytes, bool, bool, tuple[bytes, bytes] | None]:
    condition, keep, want = b"", False, False
    end: tuple[bytes, bytes] | None = None
    at = 3
    while at < len(words):
        option = words[at].upper()
        if option in (b"NX", b"XX") and condition in (b"", option):
            condition = option
        elif option == b"GET":
            want = True
        elif option == b"KEEPTTL" and end is None:
            keep = True
        elif option in ENDS and not keep and (end is None or end[0] == option) and at + 1 < len(words):
            at += 1
            end = option, words[at]
        else:
            raise CommandError(SYNTAX)
        at += 1
    return condition, keep, want, end


@command(b"mget", -2, keys=(1, -1, 1))
def mget(session: Session, words: list[bytes]) -> bytes:
    """MGET key..."""
    version = session.version
    values = [session.store.get(key) for key in words[1:]]
    bounded(sum([len(value) for value in values if value is not None]))  # before they are copied
    return array([bulk_or_null(value, version) for value in values])


@command(b"mset", -3, write=True, keys=(1, -1, 2))
def mset(session: Session, words: list[bytes]) -> bytes:
    """MSET key value..."""
    if len(words) % 2 == 0:
        raise CommandError(wrong_arity(b"mset"))
    with session.engine.together():
        for key, value in zip(words[1::2], words[2::2], strict=True):
            session.store.put(key, value)
    return OK


@command(b"append", 3, write=True, keys=(1, 1, 1))
def append(session: Session, words: list[bytes]) -> bytes:
    """APPEND key value."""
    old = session.store.get(words[1]) or b""
    if len(old) + len(words[2]) > int(session.engine.config.get(b"proto-max-bulk-len", LONGEST)):
        raise CommandError(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    return integer(session.store.append(words[1], words[2]))


@command(b"strlen", 2, keys=(1, 1, 1))
def strlen(session: Session, words: list[bytes]) -> bytes:
    """STRLEN key."""
    return integer(len(session.store.get(words[1]) or b""))


def _add(session: Session, key: bytes, amount: int) -> bytes:
    store = session.store
    old = store.get(key) if store.until else store.values.get(key)
    value = amount if old is None else number(old) + amount
    if not LOWEST <= value <= HIGHEST:
        raise CommandError(b"ERR increment or decrement would overflow")
    text = b"%d" % value
    store.put(key, text, None, True)
    return b":" + text + b"\r\n"


@command(b"incr", 2, write=True, keys=(1, 1, 1))
def incr(session: Session, words: list[bytes]) -> bytes:
    """INCR key."""
    return _add(session, words[1], 1)


@together(b"incr")
def incr_all(session: Session, columns: list[list[bytes]]) -> list[bytes] | None:
    """INCR of several keys, or of one several times."""
    store = session.store
    if store.until or store.watchers or len(columns) != 2:
        return None
    known = store.values
    counts: dict[bytes, int] = {}
    texts: list[bytes] = []
    try:
        for key in columns[1]:
            count = counts[key] = (counts[key] if key in counts else number(known.get(key, b"0"))) + 1
            texts.append(b"%d" % count)
    except CommandError:  # of one of them; so far none has been changed
        return None
    if max(counts.values()) > HIGHEST or not store.put_all(columns[1], texts):
        return None
    return [b":" + text + b"\r\n" for text in texts]


@command(b"decr", 2, write=True, keys=(1, 1, 1))
def decr(session: Session, words: list[bytes]) -> bytes:
    """DECR key."""
    return _add(session, words[1], -1)


@command(b"incrby", 3, write=True, keys=(1, 1, 1))
def incrby(session: Session, words: list[bytes]) -> bytes:
    """INCRBY key amount."""
    return _add(session, words[1], number(words[2]))


@command(b"decrby", 3, write=True, keys=(1, 1, 1))
def decrby(session: Session, words: list[bytes]) -> bytes:
    """DECRBY key amount."""
    amount = number(words[2])
    if amount == LOWEST:
        raise CommandError(b"ERR decrement would overflow")
    return _add(session, words[1], -amount)
