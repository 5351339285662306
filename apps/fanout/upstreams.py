"""The services that the page is made of, each with a trouble that real ones have. An application of its own.

One is well, one has a replica that is slow now and then, one comes and goes, one is down, and one is slow always. What
they do depends on the request and the clock only, so that two who call them at once see the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

import trio
from msgspec import Meta

from trivet import App, Depends, Header, HTTPError, RequestCancelled

PARTS: Final = ("product", "price", "stock", "reviews", "similar")
FLAP: Final = 4.0
"""Seconds for which the stock is there, and then for as long is not."""


@dataclass
class Tally:
    """What has become of the calls so far."""

    begun: int = 0
    ended: int = 0
    stopped: int = 0


tally = Tally()


@asynccontextmanager
async def counted() -> AsyncGenerator[None]:
    """Keep the tally of one call: it is stopped when whoever called has left."""
    tally.begun += 1
    try:
        yield
    except RequestCancelled:
        tally.stopped += 1
        raise
    finally:
        tally.ended += 1


app = App(timeout=10, title="The upstreams")


@app.get("/product", dependencies=[Depends(counted)])
async def product() -> str:
    """Well."""
    await trio.sleep(0.1)
    return "A kettle, 1.7 litres"


@app.get("/price", dependencies=[Depends(counted)])
async def price(previous_attempts: Annotated[int, Header(), Meta(ge=0, le=100)] = 0) -> str:
    """Two replicas, of which one is slow just now; the balancer sends who tries again to the other.

    As Envoy does, which remembers the hosts of previous attempts; how many there were, gRPC says in such a header.
    """
    await trio.sleep(0.1 if previous_attempts % 2 else 2.0)
    return "39.90"


@app.get("/stock", dependencies=[Depends(counted)])
async def stock() -> str:
    """There for some seconds, not there for as many."""
    await trio.sleep(0.1)
    if trio.current_time() % (2 * FLAP) >= FLAP:
        raise HTTPError(503, "The stock is being counted.")
    return "7 left"


@app.get("/reviews", dependencies=[Depends(counted)])
async def reviews() -> str:
    """Down."""
    await trio.sleep(0.05)
    raise HTTPError(500, "The reviews are down.")


@app.get("/similar", dependencies=[Depends(counted)])
async def similar() -> str:
    """Slow, whichever replica it is."""
    await trio.sleep(1.0)
    return "A teapot"


@app.get("/tally")
async def show_tally() -> Tally:
    """How many calls have begun, have ended, and of those, how many were stopped since whoever called had left."""
    return tally
