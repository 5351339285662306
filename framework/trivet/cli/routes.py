"""`trivet routes module:app`: the table of routes as requests meet it. This file owns its columns."""

from __future__ import annotations

import argparse
import math

from trivet._endpoint import Endpoint, Mounted
from trivet._options import SAFE_METHODS
from trivet._registered import WEBSOCKET
from trivet._routes import Entry

from ._app import app_in, entries
from ._load import LoadError, load
from ._report import report

HEAD = ("METHODS", "PATH", "HANDLER", "WHERE", "TIMEOUT", "ON DISCONNECT")


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "routes",
        help="print the routes of an application",
        description="Print methods, path, handler, its place, timeout and disconnect policy of each route.",
    )
    parser.add_argument("application", metavar="module:app", help="the application")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Print the table; the exit status is 0."""
    reference = str(arguments.application)
    try:
        app = app_in(load(reference), reference)
    except LoadError:
        raise
    except Exception as error:  # noqa: BLE001 - the module is the user's: it may raise anything
        raise LoadError(f"{reference} cannot be imported\n{report(error)}") from None
    rows = [HEAD, *(row(entry, prefix) for prefix, entry in entries(app))]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    for line in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def row(entry: Entry[Endpoint | Mounted], prefix: str = "") -> tuple[str, ...]:
    """One route as text, below the prefix of the application that it is in."""
    where = f"{entry.where.file}:{entry.where.line}" if entry.where.line else "-"
    if isinstance(entry.value, Mounted):
        return ("*", f"{prefix}{entry.value.prefix}/...", entry.where.name, where, "its own", "its own")
    options = entry.value.resolve()
    timeout = "none" if options.timeout == math.inf else f"{options.timeout:g} s"
    if entry.value.registered.socket:
        after_close = options.on_disconnect or "grace"
        return (WEBSOCKET, prefix + entry.value.path, entry.where.name, where, timeout, after_close)
    methods = set(entry.methods or ())
    if "GET" in methods:
        methods.add("HEAD")
    policies = {method: "cancel" if options.cancels(method) else "finish" for method in sorted(methods)}
    distinct = set(policies.values())
    policy = distinct.pop() if len(distinct) == 1 else ", ".join(f"{m}: {p}" for m, p in policies.items())
    if options.on_disconnect is None and methods & SAFE_METHODS == methods:
        policy = "cancel"
    return (",".join(sorted(methods)), prefix + entry.value.path, entry.where.name, where, timeout, policy)
