"""The limits of the server as options: one for each, by the names of both programs, and wrong ones explained."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.harness.golden import Golden
from trivet.cli._limits import LIMITS
from trivet.cli._options import ConfigError, RunConfig, add_to, config_from, limits_from
from trivet.server._limits import Limits


def parsed(*arguments: str) -> RunConfig:
    parser = argparse.ArgumentParser()
    add_to(parser)
    return config_from(parser.parse_args(arguments))


def test_each_limit_is_an_option() -> None:
    """A limit that is added without one makes this fail; the help says its unit and its default."""
    fields = [field.name for field in dataclasses.fields(Limits)]
    assert [limit.field for limit in LIMITS] == fields
    parser = argparse.ArgumentParser()
    add_to(parser)
    actions = {flag: action for action in parser._actions for flag in action.option_strings}
    for field in dataclasses.fields(Limits):
        action = actions["--limit-" + field.name.replace("_", "-")]
        assert action.help is not None
        default = "none" if field.default is None else f"{field.default}".removesuffix(".0")
        assert f"(default {default}" in action.help
        unit = {"BYTES": "bytes", "SECONDS": "seconds", "N": ""}[str(action.metavar)]
        assert unit in action.help


def test_without_a_choice_they_are_the_defaults() -> None:
    """hypercorn's own defaults are not taken for a choice."""
    assert limits_from(parsed()) == Limits()
    assert limits_from(RunConfig()) == Limits()


GIVEN: list[tuple[str, str, Any]] = [
    ("request_line", "1000", 1000),
    ("head_size", "256", 256),
    ("head_fields", "1", 1),
    ("head_timeout", "0.5", 0.5),
    ("idle_timeout", "75", 75.0),
    ("body_size", "0", 0),
    ("body_size", "none", None),
    ("body_rate", "none", None),
    ("body_rate", "1", 1),
    ("body_grace", "0", 0.0),
    ("connections", "10", 10),
    ("requests", "1", 1),
    ("requests", "none", None),
    ("read_ahead", "1024", 1024),
]


@pytest.mark.parametrize(("field", "text", "value"), GIVEN)
def test_a_choice_reaches_the_limits(field: str, text: str, value: object, tmp_path: Path) -> None:
    """From the command line, and by the same name from a file."""
    expected = dataclasses.replace(Limits(), **{field: value})
    assert limits_from(parsed("--limit-" + field.replace("_", "-"), text)) == expected
    (tmp_path / "c.toml").write_text(f"limit_{field} = {text if value is not None else repr(text)}\n")
    assert limits_from(parsed("-c", str(tmp_path / "c.toml"))) == expected


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("keep_alive_timeout = 9\n", [], {"idle_timeout": 9}),
        ("keep_alive_max_requests = 7\n", [], {"requests": 7}),
        ("h11_max_incomplete_size = 9000\n", [], {"head_size": 9000}),
        ("", ["--keep-alive", "9"], {"idle_timeout": 9}),
        ("limit_idle_timeout = 20\n", ["--keep-alive", "9"], {"idle_timeout": 9}),
        ("keep_alive_timeout = 20\n", ["--limit-idle-timeout", "9"], {"idle_timeout": 9}),
        ("limit_requests = 7\n", ["--limit-requests", "none"], {"requests": None}),
        ("max_requests = 7\n", ["--max-requests-jitter", "3"], {}),
    ],
)
def test_hypercorns_names(text: str, arguments: list[str], expected: dict[str, Any], tmp_path: Path) -> None:
    """They mean the same; the command line has precedence, whichever name it uses."""
    (tmp_path / "c.toml").write_text(text)
    config = parsed("-c", str(tmp_path / "c.toml"), *arguments)
    assert limits_from(config) == dataclasses.replace(Limits(), **expected)


def test_a_limit_holds_on_hypercorns_protocols_where_it_has_one() -> None:
    """For HTTP/2, and for all with `--protocol hypercorn`."""
    config = parsed("--limit-idle-timeout", "9", "--limit-requests", "7", "--limit-head-size", "9000")
    assert (config.keep_alive_timeout, config.keep_alive_max_requests, config.h11_max_incomplete_size) == (9, 7, 9000)


WRONG: list[list[str]] = [
    ["--limit-request-line", "63"],
    ["--limit-request-line", "8k"],
    ["--limit-head-fields", "0"],
    ["--limit-head-fields", "1.5"],
    ["--limit-head-timeout", "0"],
    ["--limit-head-timeout", "soon"],
    ["--limit-body-grace", "-1"],
    ["--limit-body-grace", "nan"],
    ["--limit-body-grace", "inf"],
    ["--limit-body-size", "-1"],
    ["--limit-body-rate", "0"],
    ["--limit-connections", "0"],
    ["--limit-connections", "None"],
    ["--limit-head-size", "none"],
    ["--keep-alive", "0"],
    ["--protocol", "hypercorn", "--limit-body-rate", "500"],
]
WRONG_IN_FILE = [
    "limit_head_size = true",
    'limit_head_size = "large"',
    "limit_head_size = 1.5",
    "limit_connections = []",
    "keep_alive_timeout = 0",
    "keep_alive_max_requests = 0",
    "h11_max_incomplete_size = 10",
    "limit_body = 1",
]


def test_wrong_limits_are_explained(golden: Golden, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What came, and what it takes."""
    said: list[str] = []
    for arguments in WRONG:
        with pytest.raises((SystemExit, ConfigError)) as caught:
            parsed(*arguments)
        text = capsys.readouterr().err.rpartition("error: ")[2] or str(caught.value)
        said.append(f"{' '.join(arguments)}\n{text}")
    for setting in WRONG_IN_FILE:
        (tmp_path / "c.toml").write_text(setting + "\n")
        with pytest.raises(ConfigError) as refused:
            parsed("-c", str(tmp_path / "c.toml"))
        said.append(f"{setting}\n{refused.value}\n")
    golden("cli/limits", "\n".join(said))
