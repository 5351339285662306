"""`trivet routes module:app`: the table of routes as requests meet it. This file owns its columns."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence, Set

from trivet._endpoint import Endpoint, Mounted
from trivet._limit import Limit
from trivet._options import Resolved
from trivet._registered import WEBSOCKET
from trivet._routes import Entry

from ._app import app_in, entries
from ._load import LoadError, load
from ._report import report

HEAD = ("METHODS", "PATH", "HANDLER", "WHERE", "TIMEOUT", "LIMIT", "ON DISCONNECT", "ON DRAIN")

NONE = "-"


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "routes",
        help="print the routes of an application",
        description="Print methods, path, handler, its place, timeout and limits of each route, "
        "and what becomes of it when the client leaves, and when the server drains.",
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
    where = f"{entry.where.file}:{entry.where.line}" if entry.where.line else NONE
    if isinstance(entry.value, Mounted):
        return ("*", f"{prefix}{entry.value.prefix}/...", entry.where.name, where, *("its own",) * 4)
    options = entry.value.resolve()
    place = (prefix + entry.value.path, entry.where.name, where)
    bounds = ("none" if options.timeout == math.inf else f"{options.timeout:g} s", limits(options.limits))
    if entry.value.registered.socket:
        return (WEBSOCKET, *place, *bounds, options.on_disconnect or "grace", options.on_drain)
    methods = set(entry.methods or ())
    if "GET" in methods:
        methods.add("HEAD")
    # When the server drains a request is finished, whatever it is; an event stream says of itself what it does.
    return (",".join(sorted(methods)), *place, *bounds, leaving(options, methods), NONE)


def leaving(options: Resolved, methods: Set[str]) -> str:
    """What becomes of requests with these methods when their clients leave."""
    policies = {method: "cancel" if options.cancels(method) else "finish" for method in sorted(methods)}
    distinct = set(policies.values())
    if len(distinct) == 1:
        return distinct.pop()
    return ", ".join(f"{method}: {policy}" for method, policy in policies.items())


def limits(taken: Sequence[Limit]) -> str:
    """The limits of a route, the outermost first."""
    return " > ".join(map(_limit, taken)) or NONE


def _limit(limit: Limit) -> str:
    places = str(limit.concurrent) if limit._aimd is None else "adaptive"
    if limit.queue:
        places += f", queue {limit.queue}"
    return places if limit.name is None else f"{limit.name}: {places}"
