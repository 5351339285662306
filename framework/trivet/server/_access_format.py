"""What a line of the access log looks like. This file owns the formats; they only lay out the fields of a record.

text    2026-01-31T12:00:00.000Z 127.0.0.1 GET /items/7 200 returned 27B 1.2ms head=1.1ms id=...
json    one object a line (jsonlines.org)
%(h)s   hypercorn's names, which are Apache's and gunicorn's, as far as the log has what they stand for
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final


def formatter_of(shape: str) -> logging.Formatter:
    """The formatter for `text`, `json`, or a format of hypercorn's.

    Raises:
        ValueError: it is none of them, or asks for something that is not in the log; says which.
    """
    if shape == "text":
        return TextFormatter()
    if shape == "json":
        return JSONFormatter()
    if "%(" not in shape:
        raise ValueError(
            f'there is no access log format {shape!r}.\nUse text, json, or one such as  %(h)s "%(r)s" %(s)s'
        )
    for name in _ATOM.findall(shape):
        if name not in ATOMS:
            raise ValueError(
                f"the access log has no %({name})s: it holds no headers, no query and no environment.\n"
                f"There are {', '.join(ATOMS)}, and the formats text and json"
            )
    formatter = AtomsFormatter(shape)
    try:
        formatter.format(logging.makeLogRecord(_EXAMPLE))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the access log format {shape!r} cannot be used: {error}") from None
    return formatter


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z 127.0.0.1 GET /items/7 200 returned 27B 1.2ms head=1.1ms id=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return f"{_timestamp(record)} {record.getMessage()}"


class JSONFormatter(logging.Formatter):
    """One object a line (jsonlines.org); durations in seconds, what is not known is null."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, Any] = vars(record)
        to_head = fields["time_to_head"]
        return json.dumps(
            {
                "time": _timestamp(record),
                "client": _known(fields["client"]),
                "method": _known(fields["method"]),
                "path": _known(fields["path"]),
                "route": fields["route"],
                "http_version": _known(fields["http_version"]),
                "status": fields["status"] or None,
                "outcome": fields["outcome"],
                "bytes": fields["bytes"],
                "duration": round(fields["duration"], 6),
                "time_to_head": None if to_head is None else round(to_head, 6),
                "request_id": _known(fields["request_id"]),
                "process": record.process,
            },
            separators=(",", ":"),
        )


class AtomsFormatter(logging.Formatter):
    """A format of hypercorn's, which are Apache's names and gunicorn's, as far as the log has them."""

    def __init__(self, shape: str) -> None:
        super().__init__()
        self._shape = shape
        self._atoms = [(name, ATOMS[name]) for name in dict.fromkeys(_ATOM.findall(shape))]

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, Any] = vars(record)
        return self._shape % {name: atom(fields) for name, atom in self._atoms}


def _phrase(fields: Mapping[str, Any]) -> str:
    try:
        return HTTPStatus(fields["status"]).phrase
    except ValueError:
        return "-"


ATOMS: Final[Mapping[str, Callable[[Mapping[str, Any]], object]]] = {
    "h": lambda fields: fields["client"],
    "l": lambda _: "-",
    "t": lambda fields: time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(fields["created"])),
    "r": lambda fields: f"{fields['method']} {fields['path']} {fields['http_version']}",
    "s": lambda fields: fields["status"] or "-",
    "st": _phrase,
    "m": lambda fields: fields["method"],
    "U": lambda fields: fields["path"],
    "H": lambda fields: fields["http_version"],
    "b": lambda fields: fields["bytes"] or "-",
    "B": lambda fields: fields["bytes"],
    "T": lambda fields: int(fields["duration"]),
    "D": lambda fields: int(fields["duration"] * 1_000_000),
    "L": lambda fields: f"{fields['duration']:.6f}",
    "p": lambda fields: f"<{fields['process']}>",
}
"""hypercorn's names for what is in our log."""

_ATOM: Final = re.compile(r"%\(([^)]*)\)")
_EXAMPLE: Final = {
    "client": "-", "method": "GET", "path": "/", "status": 200, "bytes": 0, "duration": 0.0, "http_version": "1.1",
}  # fmt: skip


def _timestamp(record: logging.LogRecord) -> str:
    """RFC 3339, in UTC: lines of several machines can be sorted."""
    seconds = int(record.created)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int((record.created - seconds) * 1000):03d}Z"


def _known(text: str) -> str | None:
    return None if text == "-" else text
