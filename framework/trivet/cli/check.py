"""`trivet check module:app`: every fault of registration at once. This file owns what is looked for beyond import.

A fault is what cannot work; a warning is what can, and hardly anybody means. Only faults make the exit status 1.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from trivet import App
from trivet._collect import collect
from trivet._endpoint import Endpoint
from trivet._entry import Entry
from trivet._extract import BodyParam
from trivet._parameter import spell
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
    faults, warnings = check(reference)
    for number, fault in enumerate(faults, 1):
        print(f"{number}. {fault}\n")
    for warning in warnings:
        print(f"Warning: {warning}\n")
    noted = f", {_count(warnings, 'warning')}" if warnings else ""
    print(f"{reference}: {_count(faults, 'fault') if faults else 'no faults'}{noted}")
    return 1 if faults else 0


def _count(found: list[str], name: str) -> str:
    return f"{len(found)} {name}{'s' if len(found) > 1 else ''}"


def check(reference: str) -> tuple[list[str], list[str]]:
    """What is wrong with the application that `reference` names, and what is likely a mistake, as it was registered."""
    with collect() as collected:
        try:
            app = app_in(load(reference), reference)
        except LoadError:
            raise
        except RegistrationError as error:  # raised where nothing collects: `App(...)` itself
            return [*map(str, collected), str(error)], []
        except Exception as error:  # noqa: BLE001 - the module is the user's: whatever it raises is the report
            print(report(error), file=sys.stderr)
            return [*map(str, collected), f"importing it raised {type(error).__name__}: {error}"], []
    unreachable = [
        f"no request can reach {entry.pattern.text}, {entry.where}: {why}"
        for table in (app._table, app._socket_table)
        for entry, why in table.unreachable()
    ]
    return [*map(str, collected), *unreachable], _unlikely(app)


def _unlikely(app: App) -> list[str]:
    return [warning for entry in app._table.entries() if (warning := _body_of_get(entry)) is not None]


def _body_of_get(entry: Entry[Any]) -> str | None:
    """What to say of a route that reads a body which next to no client sends: RFC 9110 section 9.3.1."""
    if not isinstance(entry.value, Endpoint) or entry.methods is None or not entry.methods <= {"GET", "HEAD"}:
        return None
    body = entry.value.plan.body
    if body is None or not isinstance(body[1], BodyParam) or body[1].marked:
        return None
    name, model = body[1].name, spell(body[1].annotation)
    return (
        f"{min(entry.methods)} {entry.pattern.text} reads {name!r} from a body, which such a request hardly ever has:\n"
        f"    {entry.where}\n"
        f"Did you mean its query?  {name}: Annotated[{model}, Query()]\n"
        f"If it is the body, say so:  {name}: Annotated[{model}, Body()]"
    )
