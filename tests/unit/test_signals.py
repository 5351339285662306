"""SIGUSR1, the question: what a process answers, inside of the signal handler."""

from __future__ import annotations

import os
import select
import signal

import pytest

from trivet.server import _signals
from trivet.server._signals import QUESTION, answering

pytestmark = pytest.mark.skipif(QUESTION is None, reason="this system has no SIGUSR1")


def ask() -> None:
    """Send the question to this process."""
    assert QUESTION is not None
    os.kill(os.getpid(), QUESTION)


def test_the_answer_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """With the process, for several may answer; and what was there before is there again."""
    assert QUESTION is not None
    before = signal.getsignal(QUESTION)
    with answering(lambda: "größer 🜁", last=False):
        ask()
    assert capfd.readouterr().err == f"--- process {os.getpid()}\ngrößer 🜁\n"
    assert signal.getsignal(QUESTION) is before


def test_an_answer_goes_out_by_whole_lines_that_a_pipe_takes_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that answer into the same pipe cannot tear each other's lines, and each piece says whose it is."""
    lines = [f"{number} " + "x" * 100 for number in range(100)] + ["long " + "y" * 9000, "end"]
    pieces: list[str] = []

    def write(_: int, data: bytes) -> int:
        pieces.append(data.decode())
        return len(data)

    monkeypatch.setattr(os, "write", write)
    with answering(lambda: "\n".join(lines), last=False):
        ask()
    title = f"--- process {os.getpid()}"
    assert [piece.splitlines()[0] for piece in pieces] == [title, *[f"{title}, continued"] * (len(pieces) - 1)]
    assert [line for piece in pieces for line in piece.splitlines()[1:]] == lines
    assert all(piece.endswith("\n") for piece in pieces)
    assert {len(piece.splitlines()) for piece in pieces if len(piece) > select.PIPE_BUF} == {2}
    assert len(pieces) < 8


def test_an_answer_that_fails_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """It says that it has."""

    def told() -> str:
        raise KeyError("x")

    with answering(told, last=False):
        ask()
    assert capfd.readouterr().err.endswith("cannot tell: KeyError: 'x'\n")


def test_nothing_is_written_where_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stderr is no reason to fail."""
    monkeypatch.setattr("sys.__stderr__", None)
    monkeypatch.setattr("sys.stderr", None)
    with answering(lambda: "x", last=False):
        ask()


def test_a_question_does_not_kill_a_process_that_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """While its interpreter does, there is no handler of ours any more."""
    assert QUESTION is not None
    before = signal.getsignal(QUESTION)
    try:
        with answering(lambda: "x", last=True):
            pass
        ask()
        assert capfd.readouterr().err == ""
    finally:
        signal.signal(QUESTION, before)


def test_where_there_is_no_such_signal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Windows has none: nobody can ask."""
    monkeypatch.setattr(_signals, "QUESTION", None)
    with answering(lambda: "x", last=True):
        pass
    assert capfd.readouterr().err == ""
