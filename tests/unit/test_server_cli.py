"""The command line of `trivet run`: names that are hypercorn's, and mistakes that are explained."""

from __future__ import annotations

import argparse
import importlib.metadata
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hypercorn.__main__
import pytest

from trivet.cli import main
from trivet.cli._load import LoadError, load
from trivet.cli._options import ConfigError, RunConfig, add_to, config_from

GOOD = """
import functools
async def app(scope, receive, send): ...
class Object:
    async def __call__(self, scope, receive, send): ...
class Nested:
    inner = Object()
object_ = Object()
partial = functools.partial(app)
wsgi = lambda environ, start_response: []
def make(): return app
text = "app"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with modules, which is the current one."""
    (tmp_path / "it.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there")
    monkeypatch.chdir(tmp_path)
    path, before = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "reference",
    [
        "it",
        "it:app",
        "it:object_",
        "it:Nested.inner",
        "it:partial",
        "it.py:app",
        "./it.py",
        "asgi:it:app",
        "wsgi:it:wsgi",
    ],
)
def test_what_names_an_application(here: Path, reference: str) -> None:
    """A module or a file, of the current directory too, and what is in it; `app` by default."""
    assert callable(load(reference))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("its:app", "Did you mean  it:app  ?"),
        ("nowhere.at.all:app", "Run the command in the directory that holds it"),
        (":app", "Write it as  module:app"),
        ("gone.py:app", "there is no file 'gone.py'"),
        ("it:ap", "Did you mean  it:app  ?"),
        ("it:zzzzzz", "It must hold the application"),
        ("it:Object", "is the class Object, not an application"),
        ("it:text", "is a str, and an ASGI application is called with (scope, receive, send)"),
        ("it:wsgi", "trivet run wsgi:it:wsgi"),
        ("it:make", "app = make()"),
        ("wsgi:it:text", "is no WSGI application"),
    ],
)
def test_what_names_none_is_explained(here: Path, reference: str, said: str) -> None:
    """What came, the likely mistake, and the remedy."""
    with pytest.raises(LoadError) as caught:
        load(reference)
    assert said in str(caught.value)


def test_a_module_that_fails_shows_its_own_error(here: Path) -> None:
    """An import inside it that fails is not reported as the module's absence."""
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        load("broken:app")


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """hypercorn's parser, caught as it starts to parse, and ours."""
    caught: list[argparse.ArgumentParser] = []

    class Caught(Exception):
        pass

    def parse_args(self: argparse.ArgumentParser, *_: Any) -> None:
        caught.append(self)
        raise Caught

    with mock.patch.object(argparse.ArgumentParser, "parse_args", parse_args), pytest.raises(Caught):
        hypercorn.__main__.main(["x"])
    ours = argparse.ArgumentParser()
    add_to(ours)
    return caught[0], ours


def test_every_option_of_hypercorn_is_ours() -> None:
    """A command line that was written for hypercorn works; one it gains later makes this fail."""
    theirs, ours = ({option for action in parser._actions for option in action.option_strings} for parser in parsers())
    assert len(theirs) > 40
    assert theirs - ours == set()


def parsed(*arguments: str) -> RunConfig:
    parser = argparse.ArgumentParser()
    add_to(parser)
    return config_from(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["-b", "a:1", "--bind", "b:2"], "bind", ["a:1", "b:2"]),
        (["--keep-alive", "7.5"], "keep_alive_timeout", 7.5),
        (["--root-path", "/api/"], "root_path", "/api"),
        (["-w", "3"], "workers", 3),
        (["--drain-timeout", "0"], "drain_timeout", 0.0),
        (["--graceful-timeout", "4"], "drain_timeout", 4.0),
        (["--graceful-timeout", "4", "--drain-timeout", "3"], "drain_timeout", 3.0),
        ([], "drain_timeout", None),
        (["--reload"], "drain_timeout", 1.0),
        (["--reload", "--drain-timeout", "9"], "drain_timeout", 1.0),
        (["--reload", "--drain-timeout", "0"], "drain_timeout", 0.0),
        (["--verify-mode", "CERT_NONE"], "verify_mode", ssl.CERT_NONE),
        (["--max-requests-jitter", "5"], "max_requests_jitter", 5),
        (["--access-logfile", "-"], "accesslog", "-"),
        (["--reload"], "use_reloader", True),
        (["--server-name", "a", "--server-name", "b"], "server_names", ["a", "b"]),
        (["-k", "trio"], "worker_class", "trio"),
        ([], "protocol", "trivet"),
        (["--protocol", "hypercorn"], "protocol", "hypercorn"),
        ([], "slow_steps", None),
        (["--slow-steps", "0.1"], "slow_steps", 0.1),
        (["--access-log", "a.log"], "accesslog", "a.log"),
        ([], "access_log_format", "text"),
        (["--access-log-format", "json"], "access_log_format", "json"),
        (["--access-logformat", "%(h)s"], "access_log_format", "%(h)s"),
    ],
)
def test_options_reach_the_configuration(arguments: list[str], name: str, value: object) -> None:
    """Each sets what hypercorn calls by that name."""
    assert getattr(parsed(*arguments), name) == value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--protocol", "quick"], "the protocol 'quick' is not known"),
        (["--access-log-format", "%(f)s"], "the access log has no %(f)s"),
        (["--slow-steps", "0"], "more than a tenth of a second:  --slow-steps 0.1"),
        (["-k", "asyncio"], "hypercorn --worker-class asyncio module:app"),
        (["--certfile", "cert.pem"], "takes both a certificate and its key"),
        (["-c", "gone.toml"], "cannot be read: No such file"),
        (["--bind", "127.0.0.1:99999"], "there is no port 99999: the highest is 65535"),
        (["--bind", "127.0.0.1:-1"], "there is no port -1"),
        (["--bind", "127.0.0.1:http"], "--bind 127.0.0.1:8000"),
        (["--bind", "8000"], "has no host.\nWrite it as  --bind 127.0.0.1:8000"),
        (["--insecure-bind", "a:1", "--insecure-bind", "80"], "--insecure-bind 127.0.0.1:80"),
        (["--bind", "fd://three"], "is no file descriptor"),
    ],
)
def test_options_that_cannot_be_are_explained(arguments: list[str], said: str) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError) as caught:
        parsed(*arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "address", ["localhost", "127.0.0.1:0", ":8000", "[::1]:65535", "[fe80::abc]", "unix:/tmp/99999", "fd://3"]
)
def test_addresses_that_are_not_refused(address: str) -> None:
    """A host, host and port, IPv6 in brackets, a Unix socket, a descriptor."""
    assert parsed("--bind", address).bind == [address]


@pytest.mark.parametrize("seconds", ["-1", "soon", "inf", "nan"])
def test_seconds_are_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong duration is a wrong command line: status 2."""
    with pytest.raises(SystemExit) as caught:
        parsed("--drain-timeout", seconds)
    assert caught.value.code == 2
    assert "is not a number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conf.toml", 'bind = ["a:1"]\nkeep_alive_timeout = 3\ndrain_timeout = 2.5\n'),
        ("file:conf.py", "import os\nbind = ['a:1']\nkeep_alive_timeout = 3\ndrain_timeout = 2.5\ndef helper(): ...\n"),
    ],
)
def test_a_configuration_file(here: Path, name: str, text: str) -> None:
    """TOML or Python, with trivet's settings beside hypercorn's; the command line has precedence."""
    (here / name.removeprefix("file:")).write_text(text)
    config = parsed("-c", name, "--keep-alive", "9")
    assert (config.bind, config.keep_alive_timeout, config.drain_timeout) == (["a:1"], 9, 2.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keepalive_timeout = 3\n", "Did you mean  keep_alive_timeout  ?"),
        ("zzz = 3\n", "See  trivet run --help"),
        ('keep_alive_timeout = "soon"\n', "it takes a float, as in  keep_alive_timeout = 5.0"),
        ("backlog = true\n", "it takes a int"),
        ("bind = [\n", "does not parse"),
    ],
)
def test_a_configuration_file_with_a_mistake(here: Path, text: str, said: str) -> None:
    """hypercorn accepts any name and value in silence."""
    (here / "conf.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        parsed("-c", "conf.toml")
    assert said in str(caught.value)


def test_mistakes_end_with_a_message_and_status_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for what was mistyped."""
    with mock.patch("trivet.cli.run.configure"):
        assert main(["run", "its:app", "--bind", "127.0.0.1:0"]) == 1
    assert capsys.readouterr().err.startswith("trivet: there is no module 'its'")


@pytest.mark.parametrize(
    "arguments", [["--protocol", "quick"], ["-c", "gone.toml"], ["--pid", "gone/pid"], ["--access-log", "gone/log"]]
)
def test_a_wrong_configuration_ends_with_a_message_and_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """As an option that is not known: whoever restarts what has failed need not try."""
    assert main(["run", "it:app", "--bind", "127.0.0.1:0", *arguments]) == 2
    assert capsys.readouterr().err.startswith("trivet: ")


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`trivet run --help` is ours, and groups the options."""
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith("usage: trivet run [OPTIONS] module:app")
    assert "time limits, in seconds:" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "8000"], "no option --port.\nDid you mean  --bind 127.0.0.1:8000  ?"),
        (["--host=0.0.0.0"], "no option --host.\nDid you mean  --bind 0.0.0.0:8000  ?"),
        (["--host", "::1", "--port", "81"], "no option --host.\nDid you mean  --bind [::1]:81  ?"),
        (["--port=81", "--host"], "no option --port.\nDid you mean  --bind 127.0.0.1:81  ?"),
        (["--bnd", "x"], "Did you mean  --bind 127.0.0.1:8000  ?"),
        (["--drain-timout", "3"], "Did you mean  --drain-timeout  ?"),
        (["--qqqqqq"], "See  trivet run --help"),
        (["other:app"], "unexpected: other:app"),
    ],
)
def test_an_unknown_option_is_refused_by_the_subcommand(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its usage, the likely name, and status 2."""
    with pytest.raises(SystemExit) as caught:
        main(["run", "it:app", *arguments])
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert err.startswith("usage: trivet run [OPTIONS] module:app\n")
    assert said in err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`trivet --version` is that of the package."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"trivet {importlib.metadata.version('trivet')}\n"


TWO_BODIES = """
from trivet import App
app = App()
@app.post("/")
async def two(a: dict[str, int], b: dict[str, int]) -> None: ...
"""


@pytest.mark.parametrize(
    ("text", "said", "unsaid"),
    [
        (TWO_BODIES, "two parameters want the body", "Traceback"),
        (TWO_BODIES, 'faulty.py", line ', "importlib"),
        ("app = (\n", "SyntaxError", "importlib"),
        ("def f():\n    raise KeyError('k')\nf()\n", "line 3", "importlib"),
    ],
)
@pytest.mark.parametrize("command", ["run", "routes"])
def test_an_import_that_fails_shows_the_users_code(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    command: str,
    text: str,
    said: str,
    unsaid: str,
) -> None:
    """No frame of trivet or of the import system; status 1."""
    (here / "faulty.py").write_text(text)
    bind = ["--bind", "127.0.0.1:0"] if command == "run" else []
    with mock.patch("trivet.cli.run.configure"):
        assert main([command, "faulty:app", *bind]) == 1
    shown = capsys.readouterr().err + caplog.text
    assert "faulty:app cannot be imported" in shown
    assert said in shown
    assert unsaid not in shown
    assert "trivet/cli" not in shown
