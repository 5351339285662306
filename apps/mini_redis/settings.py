"""What can be set about the server, and how it is read from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from .memory import LIMIT
from .outbox import Slow

MB: Final = 1024 * 1024

Fsync: TypeAlias = Literal["always", "everysec", "no"]


class Unusable(ValueError):
    """A setting is none of what it may be, or names what cannot be had: the message says which, and what to write."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings."""

    host: str = "127.0.0.1"
    port: int = 6380
    """0: a free one."""
    connections: int = 1000
    """At a time; who comes then waits in the kernel's queue."""
    bulk: int = 64 * 1024 * 1024
    """Bytes of a value that a client may send."""
    outbox: int = 8 * 1024 * 1024
    """Bytes that may wait for a subscriber: what redis-server lets wait for a minute."""
    clients_memory: int = LIMIT
    """Bytes that all clients may hold: of requests that are not whole, transactions, replies and messages that wait."""
    slow: Slow = "disconnect"
    """What is done with a subscriber for whom more would."""
    drain: float = 5.0
    """Seconds that clients have, at the end, to take the replies to what they asked."""
    log: Path | None = None
    """The append-only log; `None`: all is forgotten."""
    fsync: Fsync = "everysec"
    """When the disk has it: `always` before a reply, `everysec` a second later, `no` when the kernel likes. The kernel
    has it before the reply in any case."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of an environment: `MINI_REDIS_BIND`, `_CONNECTIONS`, `_CLIENTS_MB`, `_SLOW`, `_LOG`,
        `_FSYNC`.

        Raises:
            Unusable: one of them is none of what it may be; what it may be, the message says.
        """
        default = cls()
        bind = environment.get("MINI_REDIS_BIND", f"{default.host}:{default.port}")
        host, _, port = bind.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise Unusable(f"MINI_REDIS_BIND={bind} is no address and port; write for example  127.0.0.1:6380")
        log = environment.get("MINI_REDIS_LOG")
        return cls(
            host=host.strip("[]"),
            port=int(port),
            connections=_count("MINI_REDIS_CONNECTIONS", environment, default.connections),
            clients_memory=MB * _count("MINI_REDIS_CLIENTS_MB", environment, default.clients_memory // MB),
            slow=_one_of("MINI_REDIS_SLOW", environment, get_args(Slow), default.slow),  # type: ignore[arg-type]
            log=Path(log) if log else None,
            fsync=_one_of("MINI_REDIS_FSYNC", environment, get_args(Fsync), default.fsync),  # type: ignore[arg-type]
        )

    def address(self, port: int) -> str:
        """Host and port, as `MINI_REDIS_BIND` has them."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    @property
    def shown(self) -> dict[bytes, bytes]:
        """What CONFIG GET says, by redis-server's names."""
        return {
            b"appendfsync": self.fsync.encode(),
            b"appendonly": b"yes" if self.log else b"no",
            b"bind": self.host.encode(),
            b"databases": b"16",
            b"maxclients": b"%d" % self.connections,
            b"maxmemory": b"0",
            b"maxmemory-clients": b"%d" % self.clients_memory,
            b"port": b"%d" % self.port,
            b"proto-max-bulk-len": b"%d" % self.bulk,
            b"save": b"",
            b"timeout": b"0",
        }


def _count(name: str, environment: Mapping[str, str], default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise Unusable(f"{name}={text} is no number from 1 on; write for example  {name}={default}")
    return int(text)


def _one_of(name: str, environment: Mapping[str, str], known: tuple[str, ...], default: str) -> str:
    text = environment.get(name, default)
    if text not in known:
        raise Unusable(f"{name}={text} is none of {', '.join(known)}; write for example  {name}={known[0]}")
    return text
