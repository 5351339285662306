"""The `trivet` command: this file owns which subcommands there are.

Each is a module with `add_to(subparsers)`, which sets `command` on its parser: a function from the parsed arguments to
an exit status.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import cast

from . import check, routes, run
from ._load import LoadError

COMMANDS = (run, routes, check)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default that of the process, and return the exit status."""
    parser = argparse.ArgumentParser(prog="trivet", description="A web microframework for Python on Trio.")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_to(subparsers)
    arguments = parser.parse_args(argv)
    arguments.argv = argv
    command = cast(Callable[[argparse.Namespace], int], arguments.command)
    try:
        return command(arguments)
    except LoadError as error:
        print(f"trivet: {error}", file=sys.stderr)
        return 1
