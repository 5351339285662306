"""Settings: what may be set, and what is said where it may not, or where what it names cannot be had."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from apps.mini_redis import __main__ as program
from apps.mini_redis.aof import written
from apps.mini_redis.settings import Settings, Unusable


def test_settings_are_read_from_the_environment() -> None:
    """Each has a default; an address of IPv6 is in brackets, as elsewhere."""
    assert Settings.read({}) == Settings()
    assert Settings.read(
        {
            "MINI_REDIS_BIND": "[::1]:0",
            "MINI_REDIS_CONNECTIONS": "7",
            "MINI_REDIS_CLIENTS_MB": "2",
            "MINI_REDIS_SLOW": "drop",
            "MINI_REDIS_LOG": "/var/lib/log",
            "MINI_REDIS_FSYNC": "always",
        }
    ) == Settings(
        host="::1", port=0, connections=7, clients_memory=2 << 20, slow="drop", log=Path("/var/lib/log"), fsync="always"
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BIND", "here", "is no address and port; write for example  127.0.0.1:6380"),
        ("BIND", ":6380", "is no address and port"),
        ("BIND", "127.0.0.1:x", "is no address and port"),
        ("BIND", "127.0.0.1:65536", "is no address and port"),
        ("CONNECTIONS", "0", "is no number from 1 on; write for example  MINI_REDIS_CONNECTIONS=1000"),
        ("CONNECTIONS", "many", "is no number from 1 on"),
        ("CLIENTS_MB", "0", "is no number from 1 on; write for example  MINI_REDIS_CLIENTS_MB=1024"),
        ("SLOW", "wait", "is none of disconnect, drop; write for example  MINI_REDIS_SLOW=disconnect"),
        ("FSYNC", "never", "is none of always, everysec, no; write for example  MINI_REDIS_FSYNC=always"),
    ],
)
def test_what_a_setting_may_not_be(name: str, text: str, said: str) -> None:
    """The message names the variable, what it was, and what it may be."""
    with pytest.raises(Unusable, match="MINI_REDIS") as caught:
        Settings.read({f"MINI_REDIS_{name}": text})
    assert str(caught.value).startswith(f"MINI_REDIS_{name}={text} {said}")


@pytest.fixture
def taken() -> Generator[int]:
    """A port where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **environment: str) -> str:
    """What the program says before it ends, with these settings."""
    monkeypatch.setenv("MINI_REDIS_BIND", "127.0.0.1:0")
    for name, text in environment.items():
        monkeypatch.setenv(f"MINI_REDIS_{name}", text)
    assert program.main() == 1
    return capsys.readouterr().err


def test_a_port_that_is_taken_is_two_lines(
    taken: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which one, and what to write: no traceback of the nurseries that it was listened in."""
    said = refused(monkeypatch, capsys, BIND=f"127.0.0.1:{taken}").splitlines()
    assert said == [
        f"mini_redis: MINI_REDIS_BIND=127.0.0.1:{taken} cannot be listened on: Address already in use.",
        f"Something listens there, perhaps this server, started before; choose  MINI_REDIS_BIND=127.0.0.1:{taken + 1}",
    ]


def test_an_address_of_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of documentation are no machine's (RFC 5737)."""
    said = refused(monkeypatch, capsys, BIND="192.0.2.1:6380")
    assert "MINI_REDIS_BIND=192.0.2.1:6380 cannot be listened on: Cannot assign requested address.\nWrite" in said


def test_a_log_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting is named, and what would make it one that can."""
    path = tmp_path / "none" / "log"
    said = refused(monkeypatch, capsys, LOG=str(path))
    assert f"MINI_REDIS_LOG={path} cannot be opened: No such file or directory.\n" in said
    assert f"mkdir -p {path.parent}\n" in said
    said = refused(monkeypatch, capsys, LOG=str(tmp_path))
    assert f"MINI_REDIS_LOG={tmp_path} cannot be opened: Is a directory.\nName a file" in said


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_log_that_is_no_file(
    device: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It could not be cut off, nor read again; who wants to keep nothing is told how."""
    assert refused(monkeypatch, capsys, LOG=device).splitlines() == [
        f"mini_redis: MINI_REDIS_LOG={device} is a device or a pipe: what is written there cannot be read.",
        "Name a file, for example  MINI_REDIS_LOG=/var/tmp/mini_redis.aof",
        "To keep nothing, leave it away:  unset MINI_REDIS_LOG",
    ]


def test_a_disk_that_fails_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with which file, and what to do; no traceback."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        said = refused(monkeypatch, capsys, LOG=str(tmp_path / "log")).splitlines()
    assert said[0] == f"mini_redis: MINI_REDIS_LOG={tmp_path}/log cannot be used: Input/output error."
    assert said[1].endswith(f"df -h {tmp_path}")


def test_a_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program ends with what can be done, not with a traceback; here it has a key to delete that has expired."""

    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "log"
    path.write_bytes(written([b"SET", b"a", b"1", b"PXAT", b"1"]))
    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        said = refused(monkeypatch, capsys, LOG=str(path), FSYNC="always").splitlines()
    assert said[0] == f"mini_redis: MINI_REDIS_LOG={path} cannot be written: No space left on device."
    assert said[-1].endswith(f"df -h {tmp_path}")
    assert len(said) == 3
