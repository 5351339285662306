"""Commands on the connection itself: who is there, which protocol they speak, and how they go."""

from __future__ import annotations

from .arguments import SYNTAX
from .engine import VERSION
from .protocol import number_of
from .replies import OK, PONG, ZERO, CommandError, array, bulk, integer, mapping, simple, verbatim
from .session import Session
from .table import TABLE, command, wrong_arity


@command(b"ping", -1, subscribed=True)
def ping(session: Session, words: list[bytes]) -> bytes:
    """PING [message]."""
    if len(words) > 2:
        raise CommandError(wrong_arity(b"ping"))
    if session.version == 2 and session.subscribed:  # where whatever comes must look like a message
        return array([bulk(b"pong"), bulk(words[1] if len(words) > 1 else b"")])
    return PONG if len(words) == 1 else bulk(words[1])


@command(b"echo", 2)
def echo(session: Session, words: list[bytes]) -> bytes:
    """ECHO message."""
    return bulk(words[1])


@command(b"quit", -1, subscribed=True, at_once=True, closes=True)
def quit_(session: Session, words: list[bytes]) -> bytes:
    """QUIT."""
    session.closing = True
    return OK


@command(b"reset", 1, subscribed=True, at_once=True)
def reset(session: Session, words: list[bytes]) -> bytes:
    """RESET."""
    session.reset()
    return simple(b"RESET")


@command(b"hello", -1)
def hello(session: Session, words: list[bytes]) -> bytes:
    """HELLO [2 | 3 [AUTH user password] [SETNAME name]]."""
    version = session.version
    if len(words) > 1:
        asked = number_of(words[1])
        if asked is None:
            raise CommandError(b"ERR Protocol version is not an integer or out of range")
        if asked not in (2, 3):
            raise CommandError(b"NOPROTO unsupported protocol version")
        version = asked
    at = 2
    while at < len(words):
        option = words[at].upper()
        if option == b"AUTH" and at + 2 < len(words):
            _known(words[at + 1])
            at += 3
        elif option == b"SETNAME" and at + 1 < len(words):
            session.rename(_named(words[at + 1]))  # at once, and also if what follows is wrong: as redis-server does
            at += 2
        else:
            raise CommandError(b"ERR Syntax error in HELLO option '%b'" % words[at])
    session.speak(version)
    fields = [
        (b"server", bulk(b"redis")),
        (b"version", bulk(VERSION)),
        (b"proto", integer(version)),
        (b"id", integer(session.id)),
        (b"mode", bulk(b"standalone")),
        (b"role", bulk(b"master")),
        (b"modules", array([])),
    ]
    return mapping([(bulk(key), value) for key, value in fields], version)


@command(b"auth", -2)
def auth(session: Session, words: list[bytes]) -> bytes:
    """AUTH [user] password. There is no password."""
    if len(words) > 3:
        raise CommandError(SYNTAX)
    if len(words) == 2:
        raise CommandError(
            b"ERR AUTH <password> called without any password configured for the default user. Are you sure your "
            b"configuration is correct?"
        )
    _known(words[1])
    return OK


def _known(user: bytes) -> None:
    if user != b"default":  # who needs no password, whichever is given
        raise CommandError(b"WRONGPASS invalid username-password pair or user is disabled.")


def _named(name: bytes) -> bytes:
    if not all(0x21 <= byte <= 0x7E for byte in name):
        raise CommandError(b"ERR Client names cannot contain spaces, newlines or special characters.")
    return name


@command(b"client|id", 2)
def client_id(session: Session, words: list[bytes]) -> bytes:
    """CLIENT ID."""
    return integer(session.id)


@command(b"client|setname", 3)
def client_setname(session: Session, words: list[bytes]) -> bytes:
    """CLIENT SETNAME name."""
    session.rename(_named(words[2]))
    return OK


@command(b"client|getname", 2)
def client_getname(session: Session, words: list[bytes]) -> bytes:
    """CLIENT GETNAME."""
    return bulk(session.name) if session.name else session.null


@command(b"client|info", 2)
def client_info(session: Session, words: list[bytes]) -> bytes:
    """CLIENT INFO."""
    return verbatim(_line(session), session.version)


@command(b"client|list", -2)
def client_list(session: Session, words: list[bytes]) -> bytes:
    """CLIENT LIST [TYPE type | ID id...]."""
    chosen = list(session.engine.clients.values())
    if len(words) > 3 and words[2].upper() == b"ID":
        ids = {number_of(word) for word in words[3:]}
        if None in ids:
            raise CommandError(b"ERR Invalid client ID")
        chosen = [each for each in chosen if each.id in ids]
    elif len(words) == 4 and words[2].upper() == b"TYPE":
        kind = _kind(words[3])
        chosen = [each for each in chosen if _is(each, kind)]
    elif len(words) != 2:
        raise CommandError(SYNTAX)
    return verbatim(b"".join(map(_line, chosen)), session.version)


@command(b"client|kill", -3)
def client_kill(session: Session, words: list[bytes]) -> bytes:
    """CLIENT KILL address, or filters: ID, ADDR, LADDR, TYPE, USER, SKIPME."""
    old_way = len(words) == 3
    filters = [(b"ADDR", words[2])] if old_way else _filters(words)
    skip = not old_way
    found = list(session.engine.clients.values())
    for kind, value in filters:
        if kind == b"SKIPME":
            skip = value == b"YES"
        else:
            found = [each for each in found if _meets(each, kind, value)]
    found = [each for each in found if not (skip and each is session)]
    for each in found:
        if each is session:
            session.closing = True  # it has its reply first
        else:
            each.close()  # nobody counts it from now on, though its task has yet to end
            each.kill()
    if old_way:
        if not found:
            raise CommandError(b"ERR No such client")
        return OK
    return integer(len(found)) if found else ZERO


def _filters(words: list[bytes]) -> list[tuple[bytes, bytes]]:
    if len(words) % 2:
        raise CommandError(SYNTAX)
    filters: list[tuple[bytes, bytes]] = []
    for name, value in zip(words[2::2], words[3::2], strict=True):
        kind, text = name.upper(), value
        if kind == b"ID":
            if (number_of(value) or 0) <= 0:
                raise CommandError(b"ERR client-id should be greater than 0")
        elif kind == b"TYPE":
            text = _kind(value)
        elif kind == b"USER":
            if value != b"default":
                raise CommandError(b"ERR No such user '%b'" % value)
        elif kind == b"SKIPME":
            text = value.upper()
            if text not in (b"YES", b"NO"):
                raise CommandError(SYNTAX)
        elif kind not in (b"ADDR", b"LADDR"):
            raise CommandError(SYNTAX)
        filters.append((kind, text))
    return filters


def _meets(each: Session, kind: bytes, value: bytes) -> bool:
    if kind == b"ID":
        return each.id == number_of(value)
    if kind == b"TYPE":
        return _is(each, value)
    return {b"ADDR": each.address, b"LADDR": each.local}.get(kind, "").encode() == value or kind == b"USER"


def _kind(text: bytes) -> bytes:
    kind = text.lower()
    if kind not in (b"normal", b"pubsub", b"master", b"replica", b"slave"):
        raise CommandError(b"ERR Unknown client type '%b'" % text)
    return kind


def _is(each: Session, kind: bytes) -> bool:
    return kind == (b"pubsub" if each.subscribed else b"normal")


def _line(each: Session) -> bytes:
    flags = "x" * (each.queue is not None) + "P" * bool(each.subscribed) or "N"
    age = max(0, each.engine.clock() - each.born) // 1000
    known = each.last if each.last in TABLE else b"NULL"  # what else somebody sent may have a line end in it
    text = (
        f"id={each.id} addr={each.address} laddr={each.local} name={each.name.decode()} age={age} flags={flags} "
        f"db={each.store.number} sub={len(each.channels)} psub={len(each.patterns)} "
        f"multi={-1 if each.queue is None else len(each.queue)} cmd={known.decode()} "
        f"user=default resp={each.version}\n"
    )
    return text.encode()
