"""A file that is open, and threads that may be abandoned."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tests.harness.files import descriptors
from trivet._descriptor import Abandoned, Descriptor, Irregular


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_is_read_from_where_one_goes_to(file: Path) -> None:
    """As much as was asked for, or what there is."""
    descriptor = Descriptor()
    with descriptor.used():
        descriptor.open(str(file))
        assert descriptor.stat().st_size == 10
        descriptor.seek(7)
        assert descriptor.read(2) == b"78"
        assert descriptor.read(5) == b"9"
        assert descriptor.read(5) == b""
    assert descriptors(file) == 1
    descriptor.close()
    descriptor.close()
    assert descriptor.closed
    assert descriptors(file) == 0


def test_short_reads_are_put_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal or a network may cut one short; only the end of the file does."""
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 3)))
    descriptor = Descriptor()
    with descriptor.used():
        descriptor.open(str(file))
        assert descriptor.read(8) == b"01234567"
        assert descriptor.read(8) == b"89"
        descriptor.close()
    assert descriptors(file) == 0


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    """Nothing waits for the other end of a FIFO, and nothing reads for ever from a device."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        for name in ("fifo", "socket", "/dev/zero"):
            with pytest.raises(Irregular):
                Descriptor().open(str(tmp_path / name))
    with pytest.raises(IsADirectoryError):
        Descriptor().open(str(tmp_path))


def test_what_has_become_something_else_since_it_was_looked_at_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened is what counts; and the open of a FIFO waits for nobody."""

    def swap(path: str, **_: object) -> None:
        os.unlink(path)
        os.mkfifo(path)

    monkeypatch.setattr(Descriptor, "look", staticmethod(swap))
    descriptor = Descriptor()
    with pytest.raises(Irregular):
        descriptor.open(str(file))
    descriptor.close()
    assert descriptors(file) == 0


def test_a_link_is_followed_only_if_one_asks(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when it is there before the look, nor when it comes after."""
    link = tmp_path / "link"
    link.symlink_to(file)
    followed = Descriptor()
    followed.open(str(link))
    followed.close()
    with pytest.raises(Irregular):
        Descriptor().open(str(link), follow=False)
    monkeypatch.setattr(Descriptor, "look", staticmethod(lambda path, **_: None))
    with pytest.raises(OSError, match="symbolic links"):
        Descriptor().open(str(link), follow=False)


def test_it_is_closed_by_the_thread_that_uses_it_last(file: Path) -> None:
    """`close` does not wait for a disk that hangs, and takes nothing away from under it."""
    descriptor = Descriptor()
    reading, answered = threading.Event(), threading.Event()
    read: list[bytes] = []

    def hang() -> None:
        with descriptor.used():
            descriptor.open(str(file))
            reading.set()
            answered.wait()
            read.append(descriptor.read(3))

    thread = threading.Thread(target=hang)
    thread.start()
    reading.wait()
    descriptor.close()
    assert descriptors(file) == 1
    answered.set()
    thread.join()
    assert read == [b"012"]
    assert descriptors(file) == 0


def test_one_that_was_closed_is_not_opened_any_more(file: Path) -> None:
    """A thread that begins after its request has ended opens nothing."""
    descriptor = Descriptor()
    descriptor.close()
    with pytest.raises(Abandoned), descriptor.used():
        descriptor.open(str(file))
    assert descriptor.closed


def test_a_close_while_the_lock_is_given_back_is_not_lost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the lock taken after its holder has looked for the last time inside of it."""
    descriptor = Descriptor()
    asked = Descriptor._ending
    times: list[bool] = []

    def ending(self: Descriptor) -> bool:
        times.append(asked(self))
        if len(times) == 2:  # the look before the lock is given back
            self.close()
            return False
        return asked(self)

    monkeypatch.setattr(Descriptor, "_ending", ending)
    with descriptor.used():
        descriptor.open(str(file))
    assert len(times) == 3
    assert descriptors(file) == 0
