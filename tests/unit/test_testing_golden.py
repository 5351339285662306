"""The golden files' helper and `require`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.harness import Golden, namespaces, normalized, require

CASES = [
    ("plain", "plain\n"),
    ("\ntwo  \nlines\t\n\n", "two\nlines\n"),
    ("read (/home/ann/src/app/main.py:12)", "read (main.py:LINE)"),
    ("read (C:\\src\\main.py:12:3)", "read (main.py:LINE)"),
    ("apps/hello/main.py:7: in hello", "main.py:LINE: in hello"),
    ('  File "/opt/py/lib/x.py", line 88, in f', '  File "x.py", line LINE, in f'),
    ("<function f at 0x7f3a2b1c>", "<function f at 0xADDRESS>"),
    # What must stay: paths of URLs, numbers, short hexadecimals.
    ("GET /a/b:12 conflicts with GET /a/{c}", "GET /a/b:12 conflicts with GET /a/{c}"),
    ("at most 18 digits, 0xff", "at most 18 digits, 0xff"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_normalized(text: str, expected: str) -> None:
    """What depends on the machine is taken out, and nothing else; twice is once."""
    assert normalized(text).rstrip("\n") == expected.rstrip("\n")
    assert normalized(normalized(text)) == normalized(text)


def test_golden_compares_and_rewrites(tmp_path: Path) -> None:
    """A new text fails until it is written, passes then, and fails with a diff when it changes."""
    check, update = Golden(tmp_path, update=False), Golden(tmp_path, update=True)
    with pytest.raises(pytest.fail.Exception, match=r"no golden file a/new\.txt"):
        check("a/new", "one\ntwo")
    update("a/new", "one\ntwo")
    check("a/new", "one\ntwo\n")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)update-golden.*-two\n\+2"):
        check("a/new", "one\n2")


def test_require(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is found; what is missing skips on a laptop and fails under CI."""
    assert require("module:trio") == "trio"
    assert Path(require("sh")).exists()
    for missing in ("no-such-program", "module:no_such_module"):
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match=missing):
            require(missing)
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="missing under CI"):
            require(missing)


@pytest.mark.parametrize(
    ("ci", "skipped", "status"),
    [("true", ["one"], pytest.ExitCode.TESTS_FAILED), ("true", [], 0), ("", ["one"], 0)],
)
def test_a_skip_fails_the_run_under_ci(
    ci: str, skipped: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason; on a laptop it is shown, and that is all."""
    monkeypatch.setenv("CI", ci)
    reporter = SimpleNamespace(stats={"skipped": skipped})
    plugins = SimpleNamespace(get_plugin=lambda name: reporter if name == "terminalreporter" else None)
    session: Any = SimpleNamespace(config=SimpleNamespace(pluginmanager=plugins), exitstatus=0)
    conftest.pytest_sessionfinish(session)
    assert session.exitstatus == status


@pytest.mark.parametrize(("status", "expected"), [(0, True), (1, False)])
def test_a_sandbox_that_forbids_namespaces_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, expected: bool
) -> None:
    """By trying; where there is nothing to try with, the test that needs it says what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert namespaces.allowed.__wrapped__()
    (tmp_path / "unshare").write_text(f"#!/bin/sh\nexit {status}\n")
    (tmp_path / "unshare").chmod(0o755)
    assert namespaces.allowed.__wrapped__() is expected
