"""`trivet check module:app`: every fault of registration at once. This file owns what is looked for beyond import."""

from __future__ import annotations

import argparse
import sys

from trivet._collect import collect
from trivet.errors import RegistrationError

from ._app import app_in
from ._load import LoadError, load
from ._report import report


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="import an application and report every fault of registration",
        description="Import the application and report all conflicts, signatures that cannot be bound, annotations "
        "that do not resolve and routes that no request can reach. The exit status is 1 if there are any.",
    )
    parser.add_argument("application", metavar="module:app", help="the application")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Report on standard output; the exit status is 1 if anything is wrong."""
    reference = str(arguments.application)
    faults = check(reference)
    for number, fault in enumerate(faults, 1):
        print(f"{number}. {fault}\n")
    if faults:
        print(f"{reference}: {len(faults)} fault{'s' if len(faults) > 1 else ''}")
        return 1
    print(f"{reference}: no faults")
    return 0


def check(reference: str) -> list[str]:
    """What is wrong with the application that `reference` names, in the order of registration."""
    with collect() as collected:
        try:
            app = app_in(load(reference), reference)
        except LoadError:
            raise
        except RegistrationError as error:  # raised where nothing collects: `App(...)` itself
            return [*map(str, collected), str(error)]
        except Exception as error:  # noqa: BLE001 - the module is the user's: whatever it raises is the report
            print(report(error), file=sys.stderr)
            return [*map(str, collected), f"importing it raised {type(error).__name__}: {error}"]
    unreachable = [
        f"no request can reach {entry.pattern.text}, {entry.where}: {why}"
        for table in (app._table, app._socket_table)
        for entry, why in table.unreachable()
    ]
    return [*map(str, collected), *unreachable]
