"""Clients that others have written: redis-cli, redis-py in threads, coredis on Trio; and a process that is killed."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from apps.mini_redis.conftest import RedisProcess, Wire, start_mini, start_redis
from apps.mini_redis.engine import Engine
from apps.mini_redis.persistence import open_journal
from apps.mini_redis.settings import Fsync
from tests.harness.tools import require

pytestmark = pytest.mark.live


def _cli(port: int, *words: str, stdin: str | None = None) -> str:
    program = require("redis-cli", why="it is what people type into")
    return subprocess.run(
        [program, "-p", str(port), *words], input=stdin, capture_output=True, text=True, timeout=20, check=True
    ).stdout


@pytest.mark.parametrize("version", ["-2", "-3"])
def test_redis_cli(mini: RedisProcess, redis: RedisProcess, version: str) -> None:
    """It shows the same for both servers, errors and transactions included."""
    script = (
        "FLUSHALL\nSET a 1 EX 100\nINCR a\nGET a\nMGET a none\nMULTI\nGET a\nINCR a\nEXEC\nNO such\nTYPE a\nKEYS *\n"
    )
    ours, theirs = (_cli(server.port, version, stdin=script) for server in (mini, redis))
    assert ours == theirs
    assert "NO" in ours
    assert _cli(mini.port, version, "--scan").split() == ["a"]
    assert "redis_version" in _cli(mini.port, version, "INFO", "server")
    assert _cli(mini.port, version, "COMMAND", "COUNT").strip().isdigit()


def test_redis_py_in_threads(mini: RedisProcess) -> None:
    """Four threads count to the same number, by INCR and by WATCH; one hears of it."""
    require("module:redis", why="it is a client")
    import redis as redis_py

    client: Any = redis_py.Redis(port=mini.port, decode_responses=True)
    client.flushall()
    heard = client.pubsub()
    heard.subscribe("done")
    assert heard.get_message(timeout=5)["type"] == "subscribe"

    def count() -> None:
        for _ in range(25):
            client.incr("fast")

            def add(pipe: Any) -> None:
                value = int(pipe.get("careful") or 0)
                pipe.multi()
                pipe.set("careful", value + 1, ex=100)

            client.transaction(add, "careful")
        client.publish("done", "yes")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (client.get("fast"), client.get("careful")) == ("100", "100")
    assert 90 < client.ttl("careful") <= 100
    assert [heard.get_message(timeout=5)["data"] for _ in range(4)] == ["yes"] * 4
    with client.pipeline(transaction=False) as pipe:
        assert pipe.set("p", 1).get("p").delete("p").execute() == [True, "1", 1]
    assert sorted(client.scan_iter()) == ["careful", "fast"]
    heard.close()
    client.close()


async def test_coredis_on_trio(mini: RedisProcess) -> None:
    """Values, a pipeline, and messages."""
    require("module:coredis", why="it is a client")
    import coredis

    client: Any = coredis.Redis(port=mini.port, decode_responses=True)
    async with client:
        await client.flushall()
        assert await client.set("a", "1")
        assert await client.incr("a") == 2
        assert await client.mget(["a", "none"]) == ("2", None)
        async with client.pipeline(transaction=True) as pipe:
            results = [pipe.incr("a"), pipe.get("a")]
        assert [await each for each in results] == [3, "3"]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Clients write, the process is killed among it, three times over: each write with a reply is there again."""
    log = tmp_path / "log"
    promised: dict[bytes, int] = {}
    asked: dict[bytes, int] = {}
    r = random.Random(5)
    for turn in range(3):
        with start_mini(log=log, fsync="always") as server:
            with server.wire() as wire:
                for key, number in promised.items():
                    found = int(wire.ask(b"GET", key))
                    assert number <= found <= asked[key], (turn, key)
            threads = [
                threading.Thread(target=_write, args=(server.wire(), b"%d" % each, promised, asked))
                for each in range(8)
            ]
            for thread in threads:
                thread.start()
            want = sum(promised.values()) + r.randint(300, 900)
            while sum(promised.copy().values()) < want:
                threads[0].join(0.005)
                assert any(thread.is_alive() for thread in threads)
            server.process.kill()
            for thread in threads:
                thread.join(20)
    assert len(promised) == 8
    # What is in it, a redis-server takes as its own.
    (tmp_path / "appendonly.aof").write_bytes(log.read_bytes())
    with start_redis("--appendonly", "yes", directory=tmp_path) as theirs, theirs.wire() as wire:
        for key, number in promised.items():
            assert number <= int(wire.ask(b"GET", key)) <= asked[key]


@pytest.mark.parametrize("fsync", ["everysec", "no"])
def test_no_policy_lets_kill_9_undo_what_was_acknowledged(tmp_path: Path, fsync: Fsync) -> None:
    """Killed as soon as the last reply is there: the kernel had it all before. Only the power may cost a second."""
    log = tmp_path / "log"
    with start_mini(log=log, fsync=fsync) as server, server.wire() as wire:
        replies: list[object] = []
        for number in range(50):
            replies = wire.ask_all([[b"SET", b"k%d" % each, b"%d" % number] for each in range(20)])
        server.process.kill()
        assert replies == [b"OK"] * 20
        server.process.wait()
    engine = Engine(lambda: 0)
    open_journal(log, "no", engine).close()
    assert engine.stores[0].values == {b"k%d" % each: b"49" for each in range(20)}


def _write(wire: Wire, key: bytes, promised: dict[bytes, int], asked: dict[bytes, int]) -> None:
    """Count up, some at a time, until the connection breaks."""
    with wire:
        number = int(wire.ask(b"GET", key) or 0)
        while True:
            asked[key] = number + 3
            try:
                for reply in wire.ask_all([[b"INCR", key]] * 3):
                    number = promised[key] = reply
            except (EOFError, OSError):
                return
