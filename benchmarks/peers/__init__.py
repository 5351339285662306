"""The applications that are compared: the same three routes in each, written as its own documentation writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Peer:
    """An application and where hypercorn finds it."""

    name: str
    target: str


BASE: Final = "bare"
"""The peer that the others are divided by: no framework, so what it reaches is the server's own speed."""

PEERS: Final = (
    Peer("bare", "benchmarks.peers.bare:app"),
    Peer("trivet", "benchmarks.peers.with_trivet:app"),
    Peer("trivet-finish", "benchmarks.peers.with_trivet:finish"),
    Peer("starlette", "benchmarks.peers.with_starlette:app"),
    Peer("fastapi", "benchmarks.peers.with_fastapi:app"),
    Peer("litestar", "benchmarks.peers.with_litestar:app"),
    Peer("quart-trio", "benchmarks.peers.with_quart_trio:app"),
)
