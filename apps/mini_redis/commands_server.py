"""Commands on the server: what it can do, how it is set up, and how it is."""

from __future__ import annotations

import os

from .arguments import SYNTAX
from .engine import VERSION
from .glob import compiled
from .replies import CommandError, array, array_of_bulks, bulk, collection, integer, mapping, simple, verbatim
from .session import Session
from .table import TABLE, Command, command


@command(b"config|get", -3)
def config_get(session: Session, words: list[bytes]) -> bytes:
    """CONFIG GET pattern..."""
    config = session.engine.config
    said: dict[bytes, bytes] = {}
    for word in words[2:]:
        if (name := word.lower()) in config:
            said.setdefault(name, word)  # told as it was said
        else:
            matches = compiled(name)
            for each in filter(matches, config):
                said.setdefault(each, each)
    return mapping([(bulk(word), bulk(config[name])) for name, word in said.items()], session.version)


@command(b"command|count", 2)
def command_count(session: Session, words: list[bytes]) -> bytes:
    """COMMAND COUNT."""
    return integer(len(TABLE))


@command(b"command|list", -2)
def command_list(session: Session, words: list[bytes]) -> bytes:
    """COMMAND LIST."""
    if len(words) > 2:
        raise CommandError(SYNTAX)
    return array_of_bulks(TABLE)


@command(b"command|docs", -2)
def command_docs(session: Session, words: list[bytes]) -> bytes:
    """COMMAND DOCS [name...]. redis-cli asks for them as it starts, and shows them as one types."""
    chosen = [each for each in TABLE.values() if len(words) == 2 or each.name in words[2:]]
    return mapping([(bulk(each.name), _docs(each, session.version)) for each in chosen], session.version)


def _docs(each: Command, version: int) -> bytes:
    summary = (each.run.__doc__ or "").partition("\n")[0].encode()
    fields = [(b"summary", summary), (b"since", b"1.0.0"), (b"group", b"generic"), (b"complexity", b"")]
    return mapping([(bulk(name), bulk(value)) for name, value in fields], version)


@command(b"command|info", -2)
def command_info(session: Session, words: list[bytes]) -> bytes:
    """COMMAND INFO [name...]."""
    if len(words) == 2:
        return array([_info(each, session.version) for each in TABLE.values()])
    found = [TABLE.get(name.lower()) for name in words[2:]]
    return array([session.null if each is None else _info(each, session.version) for each in found])


@command(b"command", -1)
def command_all(session: Session, words: list[bytes]) -> bytes:
    """COMMAND [COUNT | LIST | DOCS | INFO]."""
    return array([_info(each, session.version) for each in TABLE.values()])


def _help(container: bytes) -> None:
    """Have HELP tell of the subcommands of this one."""

    @command(container + b"|help", 2)
    def help_(session: Session, words: list[bytes]) -> bytes:
        """HELP."""
        said = [b"%b <subcommand> [<arg> [value] [opt] ...]. Subcommands are:" % container.upper()]
        for each in TABLE[container].subcommands.values():
            line = (each.run.__doc__ or "").partition("\n")[0].rstrip(".").encode()
            said.append(line.removeprefix(container.upper() + b" "))
        return array([simple(line) for line in said])


for _container in (b"client", b"command", b"config", b"pubsub"):
    _help(_container)


def _info(each: Command, version: int) -> bytes:
    flags = [simple(b"write" if each.write else b"readonly")] if each.keys[0] else []
    if each.subscribed:
        flags.append(simple(b"pubsub"))
    keys = [integer(number) for number in each.keys]
    rest = [collection([], version), collection([], version), array([]), array([])]
    return array([bulk(each.name), integer(each.arity), collection(flags, version), *keys, *rest])


@command(b"info", -1)
def info(session: Session, words: list[bytes]) -> bytes:
    """INFO [section...]."""
    wanted = {word.decode(errors="replace").lower() for word in words[1:]}
    everything = not wanted or wanted & {"all", "default", "everything"}
    sections = [
        f"# {name}\r\n" + "".join(f"{key}:{value}\r\n" for key, value in fields.items())
        for name, fields in _sections(session).items()
        if everything or name.lower() in wanted
    ]
    return verbatim("\r\n".join(sections).encode(), session.version)


def _sections(session: Session) -> dict[str, dict[str, object]]:
    engine = session.engine
    counted, config = engine.counted, engine.config
    return {
        "Server": {
            "redis_version": VERSION.decode(),
            "redis_mode": "standalone",
            "server_name": "apps.mini_redis",
            "process_id": os.getpid(),
            "uptime_in_seconds": (engine.clock() - engine.started) // 1000,
        },
        "Clients": {
            "connected_clients": len(engine.clients),
            "maxclients": config.get(b"maxclients", b"0").decode(),
            "pubsub_clients": sum(bool(each.subscribed) for each in engine.clients.values()),
        },
        "Memory": {
            "mem_clients_normal": engine.memory.total,
            "maxmemory_clients": engine.memory.limit,
        },
        "Persistence": {
            "loading": 0,
            "aof_enabled": int(engine.log is not None),
            "aof_last_write_status": "ok" if engine.refusing is None else "err",
            "aof_recorded_bytes": engine.log.position if engine.log else 0,
        },
        "Stats": {
            "total_connections_received": counted.connections,
            "total_commands_processed": counted.commands + sum(each.commands for each in engine.clients.values()),
            "accept_errors": counted.refused,
            "evicted_clients": engine.memory.evicted,
            "expired_keys": sum(store.expired for store in engine.stores),
            "pubsub_channels": len(engine.hub.channels),
            "pubsub_patterns": len(engine.hub.patterns),
            "pubsub_published": counted.published,
            "pubsub_dropped_messages": counted.dropped,
            "pubsub_slow_disconnected": counted.cut_off,
        },
        "Keyspace": {
            f"db{store.number}": f"keys={len(store)},expires={len(store.until)},avg_ttl=0"
            for store in engine.stores
            if len(store)
        },
    }
