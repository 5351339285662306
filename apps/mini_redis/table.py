"""The table of commands: what each takes, where it may stand, and the function that answers it.

This file owns what is known of a command before it runs. The table is filled while the `commands_*` modules are
imported, and never changed after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .replies import CommandError
from .session import Session

Run: TypeAlias = Callable[[Session, list[bytes]], bytes]
"""Takes who asks and the whole request, its name included; returns the reply, or raises `CommandError`."""

MANY: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or subcommand.

    Attributes:
        name: in small letters; a subcommand's with its command's before it, `client|id`.
        arity: how many words it has; at least so many, if negative. As in redis-server.
        write: whether it may change keys.
        subscribed: whether it is allowed while subscribed, in RESP2.
        at_once: whether it runs in a transaction instead of being queued.
        keys: the first and last word that is a key, and the step between them.
    """

    name: bytes
    run: Run
    arity: int
    write: bool = False
    subscribed: bool = False
    at_once: bool = False
    keys: tuple[int, int, int] = (0, 0, 0)
    subcommands: dict[bytes, Command] = field(default_factory=dict[bytes, "Command"])

    def takes(self, words: int) -> bool:
        """Whether a request may have so many."""
        return words == self.arity if self.arity > 0 else words >= -self.arity


TABLE: Final[dict[bytes, Command]] = {}

QUICK: Final[dict[bytes, tuple[Run, int, int]]] = {}
"""What the loop needs of a command that has no subcommands and does not end the connection, by its name in small and in
capital letters."""


def command(
    name: bytes,
    arity: int,
    *,
    write: bool = False,
    subscribed: bool = False,
    at_once: bool = False,
    closes: bool = False,
    keys: tuple[int, int, int] = (0, 0, 0),
) -> Callable[[Run], Run]:
    """Enter a function into the table; `closes`: it may end the connection."""

    def enter(run: Run) -> Run:
        made = Command(name, run, arity, write, subscribed, at_once, keys)
        container, _, sub = name.partition(b"|")
        if sub:
            if container not in TABLE:
                TABLE[container] = Command(container, _container, -2)
            TABLE[container].subcommands[sub] = made
        elif name in TABLE:  # COMMAND, which can also stand alone
            made.subcommands.update(TABLE[name].subcommands)
            TABLE[name] = made
        elif closes:
            TABLE[name] = made
        else:
            TABLE[name] = made
            QUICK[name] = QUICK[name.upper()] = run, abs(arity), arity if arity > 0 else MANY
        return run

    return enter


def look_up(words: list[bytes]) -> Command:
    """The command of a request.

    Raises:
        CommandError: there is none, or not with so many words.
    """
    found = TABLE.get(words[0].lower())
    if found is None:
        raise CommandError(_unknown(words))
    if found.subcommands and len(words) > 1:
        sub = found.subcommands.get(words[1].lower())
        if sub is None:
            text = b"ERR unknown subcommand '%b'. Try %b HELP." % (_c_string(words[1], 128), found.name.upper())
            raise CommandError(text)
        found = sub
    if not found.takes(len(words)):
        raise CommandError(wrong_arity(found.name))
    return found


def wrong_arity(name: bytes) -> bytes:
    """What who gives too many words, or too few, is told."""
    return b"ERR wrong number of arguments for '%b' command" % name


def _unknown(words: list[bytes]) -> bytes:
    said = b""
    for word in words[1:]:
        if len(said) >= 128:
            break
        said += b"'%b' " % _c_string(word, 128 - len(said))
    return b"ERR unknown command '%b', with args beginning with: %b" % (_c_string(words[0], 128), said)


def _c_string(text: bytes, most: int) -> bytes:
    return text.partition(b"\0")[0][:most]


def _container(session: Session, words: list[bytes]) -> bytes:
    raise CommandError(wrong_arity(words[0].lower()))
