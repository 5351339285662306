"""Commands on keys: whether they are there, until when, and which."""

from __future__ import annotations

from typing import Final

from .arguments import SYNTAX, moment, number
from .glob import of_keys
from .replies import OK, ONE, ZERO, CommandError, array, array_of_bulks, bulk, integer, simple
from .session import Session
from .table import command

CONDITIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT"))


def _delete(session: Session, words: list[bytes]) -> bytes:
    if len(words) == 2:
        return ONE if session.store.remove(words[1]) else ZERO
    with session.engine.together():
        return integer(sum([session.store.remove(key) for key in words[1:]]))


command(b"del", -2, write=True, keys=(1, -1, 1))(_delete)
command(b"unlink", -2, write=True, keys=(1, -1, 1))(_delete)


@command(b"exists", -2, keys=(1, -1, 1))
def exists(session: Session, words: list[bytes]) -> bytes:
    """EXISTS key..."""
    return integer(sum([session.store.get(key) is not None for key in words[1:]]))


@command(b"type", 2, keys=(1, 1, 1))
def type_(session: Session, words: list[bytes]) -> bytes:
    """TYPE key. There is one type."""
    return simple(b"none" if session.store.get(words[1]) is None else b"string")


@command(b"keys", 2)
def keys(session: Session, words: list[bytes]) -> bytes:
    """KEYS pattern."""
    matches = of_keys(words[1])
    return array_of_bulks(key for key in session.store.present() if matches(key))


@command(b"scan", -2)
def scan(session: Session, words: list[bytes]) -> bytes:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]."""
    cursor = _cursor(words[1])
    count, matches, wanted = 10, of_keys(b"*"), True
    for at in range(2, len(words), 2):
        option = words[at].upper()
        if at + 1 == len(words) or option not in (b"MATCH", b"COUNT", b"TYPE"):
            raise CommandError(SYNTAX)
        if option == b"MATCH":
            matches = of_keys(words[at + 1])
        elif option == b"TYPE":
            wanted = words[at + 1].lower() == b"string"
        else:
            count = number(words[at + 1])
            if count < 1:
                raise CommandError(SYNTAX)
    following, found = session.store.scan(cursor, count)
    return array([bulk(b"%d" % following), array_of_bulks(key for key in found if wanted and matches(key))])


def _cursor(text: bytes) -> int:
    """As C's `strtoul` reads it, which takes a sign, and wraps around."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    if not text:
        return 0
    if not digits.isdigit() or len(digits) > 20 or int(digits) >= 1 << 64:
        raise CommandError(b"ERR invalid cursor")
    return (-int(digits) if text[:1] == b"-" else int(digits)) % (1 << 64)


@command(b"dbsize", 1)
def dbsize(session: Session, words: list[bytes]) -> bytes:
    """DBSIZE."""
    return integer(len(session.store))


@command(b"flushdb", -1, write=True)
def flushdb(session: Session, words: list[bytes]) -> bytes:
    """FLUSHDB [ASYNC | SYNC]."""
    _flush_option(words)
    session.store.clear()
    return OK


@command(b"flushall", -1, write=True)
def flushall(session: Session, words: list[bytes]) -> bytes:
    """FLUSHALL [ASYNC | SYNC]."""
    _flush_option(words)
    with session.engine.together():
        for store in session.engine.stores:
            store.clear()
    return OK


def _flush_option(words: list[bytes]) -> None:
    if len(words) > 2 or (len(words) == 2 and words[1].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError(SYNTAX)


@command(b"select", 2)
def select(session: Session, words: list[bytes]) -> bytes:
    """SELECT number."""
    index = number(words[1])
    if not -(1 << 31) <= index < 1 << 31:  # a C int there
        raise CommandError(b"ERR value is out of range, value must between -2147483648 and 2147483647")
    if not 0 <= index < len(session.engine.stores):
        raise CommandError(b"ERR DB index is out of range")
    session.store = session.engine.stores[index]
    return OK


# ---- until when


def _expire(name: bytes, scale: int, absolute: bool) -> None:
    @command(name, -3, write=True, keys=(1, 1, 1))
    def expire(session: Session, words: list[bytes]) -> bytes:
        store, key = session.store, words[1]
        conditions = _conditions(words[3:])
        until = moment(words[2], store.clock(), scale=scale, absolute=absolute, name=name, past=True)
        if store.get(key) is None:
            return ZERO
        old = store.until.get(key)
        if (
            (b"NX" in conditions and old is not None)
            or (b"XX" in conditions and old is None)
            or (b"GT" in conditions and (old is None or until <= old))
            or (b"LT" in conditions and old is not None and until >= old)
        ):
            return ZERO
        store.expire(key, until)
        return ONE


_expire(b"expire", 1000, absolute=False)
_expire(b"pexpire", 1, absolute=False)
_expire(b"expireat", 1000, absolute=True)
_expire(b"pexpireat", 1, absolute=True)


def _conditions(words: list[bytes]) -> set[bytes]:
    conditions = set[bytes]()
    for word in words:
        if word.upper() not in CONDITIONS:
            raise CommandError(b"ERR Unsupported option %b" % word)
        conditions.add(word.upper())
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError(b"ERR NX and XX, GT or LT options at the same time are not compatible")
    if conditions >= {b"GT", b"LT"}:
        raise CommandError(b"ERR GT and LT options at the same time are not compatible")
    return conditions


def _left(session: Session, key: bytes) -> int:
    """Milliseconds that are left; -1: no end, -2: no key."""
    if session.store.get(key) is None:
        return -2
    until = session.store.until.get(key)
    return -1 if until is None else max(0, until - session.store.clock())


@command(b"ttl", 2, keys=(1, 1, 1))
def ttl(session: Session, words: list[bytes]) -> bytes:
    """TTL key, in seconds, rounded."""
    left = _left(session, words[1])
    return integer(left if left < 0 else (left + 500) // 1000)


@command(b"pttl", 2, keys=(1, 1, 1))
def pttl(session: Session, words: list[bytes]) -> bytes:
    """PTTL key, in milliseconds."""
    return integer(_left(session, words[1]))


@command(b"persist", 2, write=True, keys=(1, 1, 1))
def persist(session: Session, words: list[bytes]) -> bytes:
    """PERSIST key."""
    return ONE if session.store.persist(words[1]) else ZERO
