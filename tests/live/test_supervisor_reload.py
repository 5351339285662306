"""What counts as a change of the source, and that it is served."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.harness import require
from tests.live._server import Running, parse, read_all, running
from trivet.server._reload import Changes, loaded_files

APP = """
{imports}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        import trio
        print("slow", file=__import__("sys").stderr, flush=True)
        await trio.sleep(59)
    body = {body!r}
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}})
    await send({{"type": "http.response.body", "body": body}})
"""


def write(path: Path, body: bytes, imports: str = "") -> None:
    path.write_text(APP.format(body=body, imports=imports))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "it.py"
    path.write_text("x = 1\n")
    os.utime(path, (1e9, 1e9))
    return path


def test_nothing_has_changed(source: Path) -> None:
    """A file whose time, size and identity are the same is the same."""
    changes = Changes(str(source.parent))
    changes.watch([str(source)])
    source.touch()
    os.utime(source, (1e9, 1e9))
    assert changes.changed() == []


def test_a_change_is_told_once(source: Path) -> None:
    """The next question is about the time since."""
    changes = Changes(str(source.parent))
    changes.watch([str(source)])
    source.write_text("x = 2\n")
    assert changes.changed() == [str(source)]
    assert changes.changed() == []


def test_a_change_that_keeps_the_time_counts(source: Path) -> None:
    """As `cp -p` or a checkout that restores times leave it: the file, or its size, is another."""
    changes = Changes(str(source.parent))
    changes.watch([str(source)])
    source.write_text("x = 222\n")
    os.utime(source, (1e9, 1e9))
    assert changes.changed() == [str(source)]


def test_a_file_that_goes_and_comes_counts_both_times(source: Path) -> None:
    """As with an editor that writes another file and renames it, slowly."""
    changes = Changes(str(source.parent))
    changes.watch([str(source)])
    source.unlink()
    assert changes.changed() == [str(source)]
    source.write_text("x = 1\n")
    assert changes.changed() == [str(source)]


def test_a_change_after_the_start_and_before_the_report_counts(source: Path) -> None:
    """The process may have read the file before it was changed."""
    changes = Changes(str(source.parent))
    os.utime(source)
    changes.watch([str(source)], since=time.time() - 60)
    assert changes.changed() == [str(source)]
    assert changes.changed() == []


@pytest.mark.parametrize("mtime", [1e9, 4e9])
def test_a_change_before_the_start_or_in_the_future_does_not(source: Path, mtime: float) -> None:
    """A clock that is wrong must not restart us for ever."""
    changes = Changes(str(source.parent))
    os.utime(source, (mtime, mtime))
    changes.watch([str(source)], since=time.time() - 60)
    assert changes.changed() == []


def test_a_new_module_beside_it_counts(source: Path) -> None:
    """It may be the one that an import did not find; what is no module does not matter."""
    changes = Changes(str(source.parent))
    for name in ("data.txt", ".#lock.py", "it.pyc"):
        (source.parent / name).touch()
    (source.parent / "uploads").mkdir()
    assert changes.changed() == []
    (source.parent / "new.py").touch()
    (source.parent / "package").mkdir()
    (source.parent / "package" / "__init__.py").touch()
    assert changes.changed() == [str(source.parent / "new.py"), str(source.parent / "package" / "__init__.py")]
    assert changes.changed() == []


def test_a_new_directory_is_told(source: Path) -> None:
    """So that whoever waits for notifications waits for those of it too; one that is known is no news."""
    changes = Changes(str(source.parent))
    changes.grown = trio.Event()
    changes.watch([str(source)])
    assert not changes.grown.is_set()
    changes.watch([str(source.parent / "package" / "module.py")])
    assert changes.grown.is_set()
    assert str(source.parent / "package") in changes.directories


def test_the_files_of_an_error_are_its_traceback_and_its_cause() -> None:
    """What must be mended before the process can start again."""
    here = os.path.abspath(__file__)

    def fail() -> None:
        try:
            compile("def (", here, "exec")
        except SyntaxError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert here in loaded_files(caught.value)


# With processes ---------------------------------------------------------------------------------------------------


def serves(server: Running, body: bytes) -> Callable[[], bool]:
    def check() -> bool:
        try:
            return server.get("/") == (200, body)
        except (OSError, ValueError, IndexError):
            return False

    return check


def eventually(check: Callable[[], object], server: Running, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, server.log
        time.sleep(0.02)


@pytest.fixture(params=["watchfiles", "polling"])
def notifier(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the supervisor learns of a change."""
    if request.param == "polling":
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        (hidden / "watchfiles.py").write_text("raise ImportError('not installed')\n")
        monkeypatch.setenv("PYTHONPATH", str(hidden))
    else:
        require("module:watchfiles")
    return str(request.param)


@pytest.mark.live
@pytest.mark.slow
def test_mistakes_are_mended_while_it_runs(tmp_path: Path, notifier: str) -> None:
    """A change; a module that is imported and not there, then is, then changes; two workers, both reloaded."""
    directory = tmp_path / "source"
    directory.mkdir()
    source, other = directory / "it.py", directory / "other.py"
    write(source, b"one")
    with running("--reload", "--workers", "2", app="it:app", cwd=directory) as server:
        eventually(serves(server, b"one"), server)
        if notifier == "polling":
            server.wait_for(r"pip install 'trivet\[reload\]'")
        write(source, b"two", imports="import other")
        server.wait_for("No module named 'other'")
        assert server.process.poll() is None
        other.write_text("raise ValueError('unfinished')\n")
        server.wait_for("ValueError: unfinished")
        other.write_text("word = 'finished'\n")
        eventually(serves(server, b"two"), server)
        server.signal()
        assert server.wait(20) == 0
        assert ("pip install 'trivet[reload]'" in server.log) is (notifier == "polling")


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["reload", "Ctrl-C"])
def test_requests_have_as_long_as_the_log_says(tmp_path: Path, ending: str) -> None:
    """A second, also where more is configured: who has saved a file wants to see what it does. Then 503."""
    write(tmp_path / "it.py", b"one")
    with running("--reload", "--drain-timeout", "40", app="it:app", cwd=tmp_path) as server, server.connect() as client:
        client.settimeout(20)
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for("slow")
        if ending == "reload":
            write(tmp_path / "it.py", b"two")
        else:
            server.signal(signal.SIGINT)
        server.wait_for("requests have 1 s to finish")
        assert parse(read_all(client))[0] == 503
        if ending == "reload":
            eventually(serves(server, b"two"), server)
            server.signal()
        assert server.wait(20) == 0


@pytest.mark.live
@pytest.mark.slow
def test_an_application_that_is_not_there_yet(tmp_path: Path, notifier: str) -> None:
    """Whoever starts the server before the file exists is served when it does."""
    directory = tmp_path / "source"
    directory.mkdir()
    with running("--reload", app="it:app", cwd=directory) as server:
        server.wait_for("waiting for a change")
        write(directory / "it.py", b"here")
        eventually(serves(server, b"here"), server)
        server.signal(signal.SIGINT)
        assert server.wait(20) == 0


@pytest.mark.live
@pytest.mark.slow
def test_a_package_in_a_directory_of_its_own_is_watched(tmp_path: Path, notifier: str) -> None:
    """Its directory is learnt of from the worker."""
    package = tmp_path / "source" / "app" / "views"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    write(package / "it.py", b"one")
    with running("--reload", app="app.views.it:app", cwd=tmp_path / "source") as server:
        eventually(serves(server, b"one"), server)
        write(package / "it.py", b"two")
        eventually(serves(server, b"two"), server)
        server.signal()
        assert server.wait(20) == 0
