"""The applications that are compared, each written as its own documentation writes it, and the server under each.

This file owns who is compared with whom. How a server is started is `servers.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.cases import Case

Kind = Literal["framework", "bare", "limit"]


@dataclass(frozen=True, slots=True)
class Peer:
    """An application on a server.

    Attributes:
        name: for the command line and the tables; what follows the @ is the server, where the name needs it.
        server: the name of a command in `servers.py`.
        target: where that server finds the application.
        kind: `framework`: routes, binds and encodes; `bare`: a function on the server's own interface; `limit`: answers
            the same bytes whatever it is asked, to show how far a loop can go.
        cases: what it can be asked; empty: what everybody is asked.
        more: what it is asked on top of that.
    """

    name: str
    server: str
    target: str
    kind: Kind = "framework"
    cases: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    def takes(self, case: Case) -> bool:
        """Whether it takes part in a case."""
        return case.name in self.cases if self.cases else case.common or case.name in self.more

    @property
    def short(self) -> str:
        return self.name.partition("@")[0]


BASE: Final = "bare@uvicorn"
"""What the others are divided by in the comparison of servers: no framework, on the server that most people have."""

BINDING: Final = ("order", "nested")
"""The cases of those frameworks that read a body into a model and have dependencies."""

_BARE = "benchmarks.peers.bare:app"
_STARLETTE = "benchmarks.peers.with_starlette:app"
_QUART = "benchmarks.peers.with_quart_trio:app"

PEERS: Final = (
    Peer("limit-door", "limit", "--door", "limit", ("typed",)),
    Peer("limit", "limit", "--task", "limit", ("typed",)),
    Peer(BASE, "uvicorn", _BARE, "bare", more=BINDING),
    Peer("bare@trivet", "trivet", _BARE, "bare"),
    Peer("bare@granian", "granian-asgi", _BARE, "bare"),
    Peer("rsgi@granian", "granian-rsgi", "benchmarks.peers.bare_rsgi:app", "bare"),
    Peer("bare@hypercorn", "hypercorn", _BARE, "bare"),
    Peer("trivet", "trivet", "benchmarks.peers.with_trivet:app", more=BINDING),
    Peer("trivet-waits", "trivet", "benchmarks.peers.with_trivet:waits", more=BINDING),
    Peer("starlette@trivet", "trivet", _STARLETTE),
    Peer("starlette@uvicorn", "uvicorn", _STARLETTE),
    Peer("fastapi@uvicorn", "uvicorn", "benchmarks.peers.with_fastapi:app", more=BINDING),
    Peer("litestar@uvicorn", "uvicorn", "benchmarks.peers.with_litestar:app", more=BINDING),
    Peer("blacksheep@uvicorn", "uvicorn", "benchmarks.peers.with_blacksheep:app"),
    Peer("falcon@uvicorn", "uvicorn", "benchmarks.peers.with_falcon:app"),
    Peer("sanic", "sanic", "benchmarks.peers.with_sanic:app"),
    Peer("aiohttp", "module", "benchmarks.peers.with_aiohttp"),
    Peer("robyn", "robyn", "benchmarks.peers.with_robyn"),
    Peer("quart-trio@hypercorn", "hypercorn", _QUART),
)
"""Each on the server that its users would pick. `trivet` answers through the direct door; the handlers of
`trivet-waits` wait for a checkpoint each, so they go through ASGI's."""

METRICS_BASE: Final = "trivet"

METRICS_PEERS: Final = (
    Peer(METRICS_BASE, "trivet", "benchmarks.peers.with_trivet:app"),
    Peer("trivet-metrics", "trivet", "benchmarks.peers.with_trivet:metrics"),
)
"""Itself, and itself with all requests counted: by themselves and turn by turn, for what is looked for is smaller than
what the machine's speed changes by while twenty others have theirs."""

STOCK_BASE: Final = "bare"
"""What the others are divided by on stock hypercorn."""

STOCK_PEERS: Final = (
    Peer(STOCK_BASE, "hypercorn", _BARE, "bare"),
    Peer("trivet", "hypercorn", "benchmarks.peers.with_trivet:app"),
    Peer("trivet-finish", "hypercorn", "benchmarks.peers.with_trivet:finish"),
    Peer("starlette", "hypercorn", _STARLETTE),
    Peer("fastapi", "hypercorn", "benchmarks.peers.with_fastapi:app"),
    Peer("litestar", "hypercorn", "benchmarks.peers.with_litestar:app"),
    Peer("quart-trio", "hypercorn", _QUART),
)
"""The frameworks that run on Trio, all on hypercorn's Trio worker: what each adds to the same server."""

ASLEEP_BASE: Final = "starlette@uvicorn"

ASLEEP_PEERS: Final = (
    Peer(ASLEEP_BASE, "uvicorn", "benchmarks.peers.asleep_starlette:app"),
    Peer("starlette@hypercorn", "hypercorn", "benchmarks.peers.asleep_starlette:app"),
    Peer("starlette@trivet", "trivet", "benchmarks.peers.asleep_starlette:app"),
    Peer("trivet", "trivet", "benchmarks.peers.asleep_trivet:app"),
)
"""Whose connections are counted while their handlers sleep."""

ROOM_BASE: Final = "queues@wsproto"

_ROOM: Final = "benchmarks.peers.room_starlette:"

ROOM_PEERS: Final = (
    *(
        Peer(f"{way}@{protocol}", f"uvicorn-{protocol}", f"{_ROOM}{way}")
        for protocol in ("websockets", "wsproto", "sansio")
        for way in ("loop", "gather", "queues")
    ),
    Peer("trivet", "trivet-ws", "benchmarks.peers.room_trivet:broadcast"),
    Peer("trivet-loop", "trivet-ws", "benchmarks.peers.room_trivet:loop"),
)
"""Who has a room: Starlette on uvicorn with each of its protocols and in each of the ways that people write one, and
trivet. `sansio` is what uvicorn calls `websockets-sansio`, the younger of its two on top of websockets."""

ROOM_SHORT: Final = ("queues@websockets", "queues@wsproto", "loop@sansio", "queues@sansio", "trivet", "trivet-loop")
"""Who is measured if not all are: the way that is fastest on each protocol, and ours."""
