"""The command line of the server alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from apps.mini_redis.__main__ import OPTIONS, read
from apps.mini_redis.conftest import running
from apps.mini_redis.settings import Settings, Unusable
from apps.mini_redis.values import Simple
from tests.harness.processes import free_port


def test_an_option_stands_above_the_environment() -> None:
    """And what is not said is as the environment has it."""
    environment = {"MINI_REDIS_FSYNC": "no", "MINI_REDIS_SLOW": "drop"}
    assert read([], environment) == Settings(fsync="no", slow="drop")
    line = ["--bind", "[::1]:0", "--connections=7", "--log", "a.aof", "--fsync", "always"]
    assert read(line, environment) == Settings(
        host="::1", port=0, connections=7, log=Path("a.aof"), fsync="always", slow="drop"
    )
    assert read(["--port", "7000"], environment).port == 7000


def test_each_setting_of_the_environment_has_an_option() -> None:
    """Neither knows what the other does not."""
    asked: set[str] = set()

    class Noted(Mapping[str, str]):
        """An empty environment that notes what it is asked for."""

        def __getitem__(self, name: str) -> str:
            asked.add(name)
            raise KeyError(name)

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def __len__(self) -> int:
            return 0

    Settings.read(Noted())
    assert asked == {variable for variable, _, _ in OPTIONS.values()}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--prot", "7000"], "unrecognized arguments: --prot 7000"),
        (["7000"], "unrecognized arguments: 7000"),
        (["--port", "1", "--bind", "127.0.0.1:1"], "--port is a part of --bind; write one of them"),
    ],
)
def test_what_is_not_understood_is_refused(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that listens elsewhere than its user believes is worse than none."""
    with pytest.raises(SystemExit) as stopped:
        read(line, {})
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_value_that_cannot_be_is_refused() -> None:
    """As in the environment."""
    with pytest.raises(Unusable, match="is none of always, everysec, no"):
        read(["--fsync", "never"], {})
    with pytest.raises(Unusable, match="is no address and port"):
        read(["--port", "many"], {})


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It is given, and nothing is served."""
    with pytest.raises(SystemExit) as stopped:
        read(["--help"], {})
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    assert all(option in told and variable in told for option, (variable, _, _) in OPTIONS.items())


@pytest.mark.live
def test_a_server_that_is_told_its_port() -> None:
    """It answers there."""
    port = free_port()
    with (
        running([sys.executable, "-m", "apps.mini_redis", "--port", str(port)], port, {}) as server,
        server.wire() as wire,
    ):
        assert wire.ask(b"PING") == Simple(b"PONG")
