"""`trivet openapi module:app`: the OpenAPI document of an application. This file owns how it is written."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ._app import app_in
from ._load import LoadError, load
from ._report import report


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "openapi",
        help="print the OpenAPI document of an application",
        description="Print the OpenAPI 3.1 document of the application as JSON, those mounted in it included.",
    )
    parser.add_argument("application", metavar="module:app", help="the application")
    parser.add_argument("--indent", type=_indent, default=2, help="blanks a level; 0: all on one line (default: 2)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write it there instead of printing it")
    parser.set_defaults(command=command)


def command(arguments: argparse.Namespace) -> int:
    """Write the document; the exit status is 0."""
    reference = str(arguments.application)
    try:
        document = app_in(load(reference), reference).openapi()
    except LoadError:
        raise
    except Exception as error:  # noqa: BLE001 - the module is the user's: it may raise anything
        raise LoadError(f"{reference} cannot be imported\n{report(error)}") from None
    text = json.dumps(document, indent=arguments.indent or None, ensure_ascii=False) + "\n"
    output: Path | None = arguments.output
    if output is None:
        sys.stdout.write(text)
        return 0
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LoadError(f"{output} cannot be written: {error.strerror}") from None
    return 0


def _indent(text: str) -> int:
    if not text.isdecimal() or int(text) > 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of blanks from 0 to 16")
    return int(text)
