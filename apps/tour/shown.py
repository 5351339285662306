"""Which code the tour's page shows: the handlers that run, whole and in a few lines, and the same without trivet.

This file owns that choice. All of it is read from the source of what runs, so the page and the apps cannot drift apart;
a line that is no longer there stops the tour at import.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from html import escape
from inspect import getsource
from pathlib import Path
from textwrap import dedent
from typing import Final

from apps.beside_quart import quart_side, trivet_side
from apps.chat import visit
from apps.counter.main import create_app
from apps.fanout import itself, ways
from apps.gateway import forward
from apps.gateway import main as gateway
from apps.hello import main as hello
from apps.jobs import board, counting
from apps.jobs import main as jobs
from apps.mini_redis import connection, feed, server
from apps.mini_redis import main as redis
from apps.notes import api as notes
from apps.sleepers import main as sleepers
from apps.upload import main as upload
from apps.upload import store

Function = Callable[..., object]

WHOLE: Final[dict[str, tuple[Function, ...]]] = {
    "hello": (hello.hello,),
    "sleepers": (sleepers.sleep, sleepers.loop, sleepers.counted),
    "counter": (create_app,),
    "upload": (upload.receive, store.Store.receive),
    "jobs": (jobs.watch, board.Board.run, counting.Counting.__call__),
    "chat": (visit.Visit.run, visit.Visit.read, visit.Visit.write, visit.Visit.beat),
    "fanout": (ways.SecondTries.partial, ways.SecondTries._once_more, itself.Itself.parallel),
    "gateway": (forward.Forward.send, gateway._relayed),
    "mini_redis": (redis.subscribe, feed.Feed.__exit__, server.Server.serve, connection.Connection.drain),
    "quart": (quart_side.report, quart_side.order),
    "trivet": (trivet_side.lease, trivet_side.report, trivet_side.order),
    "notes": (notes.transaction, notes.change_note),
}
"""The functions that run when a button is pressed, by the name that the page has for them."""

FEW: Final[dict[str, list[tuple[Function, str, str]]]] = {
    "hello": [(hello.hello, "@app.get", "return")],
    "sleepers": [(sleepers.sleep, "@app.get", "return"), (sleepers.counted, "try:", "raise")],
    "counter": [(create_app, "try:", "return")],
    "upload": [(upload.receive, "async with", "kept"), (store.Store.receive, "finally:", "discard")],
    "jobs": [
        (jobs.watch, "async with", "nursery.start_soon"),
        (counting.Counting.__call__, "async with", "nursery.start"),
    ],
    "chat": [(visit.Visit.run, "async with trio", "nursery.start_soon"), (visit._until_first, "async def", "cancel")],
    "fanout": [(ways.SecondTries.partial, "return", "return"), (ways.SecondTries._once_more, "return", "return")],
    "gateway": [
        (gateway.create_app, "answer = await", "answer = await"),
        (forward.Forward.send, "try:", "raise"),
        (gateway._relayed, "async def feed", "sink.send"),
    ],
    "mini_redis": [(server.Server.serve, "async with trio.open_nursery() as clients", "connection.drain")],
    "notes": [(notes.transaction, "async with", "yield")],
}
"""The lines that a card is about: of a function, from the one that begins with this to the next that has that."""

BREAKS: Final = re.compile(r"(?<=[(\[.=])(?=[\w&])")

WITHOUT: Final[dict[str, tuple[str, ...]]] = {
    "hello": ("hello",),
    "sleepers": ("sleep", "left"),
    "counter": ("index",),
    "upload": ("receive",),
    "jobs": ("watch",),
    "chat": ("chat",),
    "fanout": ("page",),
    "gateway": ("forward",),
    "mini_redis": ("serve",),
    "notes": ("transaction",),
}
"""And what stands beside them: functions of `without.py`."""


def shown() -> dict[str, str]:
    """HTML by the name of its place on the page: `NAME` is the whole code, `NAME_beside` the comparison."""
    whole = {name: _escaped(*(dedent(getsource(each)).strip() for each in each)) for name, each in WHOLE.items()}
    beside = {f"{name}_beside": _beside(name) for name in FEW}
    return whole | beside


def _beside(name: str) -> str:
    here = _escaped("\n…\n".join(excerpt(*each) for each in FEW[name]))
    there = _escaped(*(_without()[each] for each in WITHOUT[name]))
    return (
        f'<div class="beside"><figure><figcaption>As it is here</figcaption><pre>{here}</pre></figure>'
        f"<figure><figcaption>On asyncio, with care</figcaption><pre>{there}</pre></figure></div>"
    )


def excerpt(function: Function, first: str, last: str) -> str:
    """The lines of a function from the one that begins with `first` to the next that contains `last`, not indented.

    Raises:
        LookupError: there are no such lines any more.
    """
    lines = getsource(function).splitlines()
    start = next((n for n, line in enumerate(lines) if line.lstrip().startswith(first)), None)
    if start is not None:
        for end, line in enumerate(lines[start:], start):
            if last in line:
                return dedent("\n".join(lines[start : end + 1]))
    raise LookupError(f"{function.__qualname__} has no lines from {first!r} to {last!r}; the tour shows them")


def _escaped(*sources: str) -> str:
    return "\n".join(_line(line) for line in "\n\n".join(sources).splitlines())


def _line(line: str) -> str:
    # Each an element that knows its depth: one that is too long for its column goes on deeper than it begins, and is
    # broken between words. Tabs, for a phone has no room for four letters a step.
    code, mark, comment = ("", "#", line.lstrip()[1:]) if line.lstrip().startswith("#") else line.partition("  # ")
    depth = (len(line) - len(line.lstrip())) // 4
    shown = "\t" * depth + BREAKS.sub("<wbr>", escape(code.lstrip()))
    noted = f"<em>{escape(mark + comment)}</em>" if mark else ""  # all of it, for it may go on in a line without "#"
    return f'<span class="d{depth}">{shown}{noted}</span>' if line else ""


@cache
def _without() -> dict[str, str]:
    # Read, and not imported: it needs FastAPI, which the tour does not.
    text = Path(__file__).with_name("without.py").read_text("utf-8")
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[node.name] = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return found
