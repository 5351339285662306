"""The `trivet` command: this file owns which subcommands there are.

Each is a module with `add_to(subparsers)`, which sets `command` on its parser: a function from the parsed arguments to
an exit status. An option that a subcommand does not have is refused here, with that subcommand's usage. What cannot be
right whatever the application is ends with status 2, argparse's own; a supervisor (systemd) need not try that again.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import cast

from . import check, openapi, routes, run
from ._config import ConfigError
from ._load import LoadError

COMMANDS = (run, routes, check, openapi)

ALIASES = {"--host": "--bind", "--port": "--bind"}
"""What other servers call an option of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default that of the process, and return the exit status."""
    parser = argparse.ArgumentParser(prog="trivet", description="A web microframework for Python on Trio.")
    parser.add_argument("--version", action="version", version=f"trivet {version('trivet')}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_to(subparsers)
    # argparse's own refusal of an unknown option would show the usage of `trivet`, which has next to none.
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        chosen = next(subparsers.choices[word] for word in (argv or sys.argv[1:]) if word in subparsers.choices)
        chosen.error(_unknown(unknown, chosen, argv or sys.argv[1:]))
    arguments.argv = argv
    command = cast(Callable[[argparse.Namespace], int], arguments.command)
    try:
        return command(arguments)
    except (ConfigError, LoadError) as error:
        print(f"trivet: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _unknown(words: Sequence[str], parser: argparse.ArgumentParser, line: Sequence[str]) -> str:
    given = next((word for word in words if word.startswith("-")), None)
    if given is None:
        return f"unexpected: {' '.join(words)}"
    name = given.partition("=")[0]
    known = [flag for action in parser._actions for flag in action.option_strings]
    near = [ALIASES[name]] if ALIASES.get(name) in known else difflib.get_close_matches(name, known, n=1)
    remedy = f"See  {parser.prog} --help"
    if near == ["--bind"]:
        host, port = _value("--host", line) or "127.0.0.1", _value("--port", line)
        host = f"[{host}]" if ":" in host else host
        remedy = f"Did you mean  --bind {host}:{port if port.isdecimal() else 8000}  ?"
    elif near:
        remedy = f"Did you mean  {near[0]}  ?"
    return f"there is no option {name}.\n{remedy}"


def _value(name: str, line: Sequence[str]) -> str:
    """What the command line gives to an option that we do not have; empty: nothing."""
    for word, following in itertools.pairwise((*line, "-")):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and not following.startswith("-"):
            return following
    return ""
