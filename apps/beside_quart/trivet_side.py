"""The same routes as a trivet application."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import trio
from msgspec import Meta

from trivet import App, Depends

from .ledger import STEP, Ledger

ledger = Ledger()
app = App(timeout=70)


@asynccontextmanager
async def lease() -> AsyncGenerator[None]:
    """What a report needs while it is made.

    It sees an ordinary exception when the request was cancelled, and has `cleanup_grace` seconds to clean up in.
    """
    ledger.note("lease taken")
    try:
        yield
    finally:
        await ledger.release()


@app.get("/report", dependencies=[Depends(lease)])
async def report(seconds: Annotated[float, Meta(ge=0, le=60)] = 3) -> str:
    """A slow page that needs a lease while it is made; stops when its client leaves, as GETs do."""
    ledger.note("report begun")
    await trio.sleep(seconds)
    ledger.note("report done")
    return "the report\n"


@app.post("/orders")
async def order() -> tuple[int, str]:
    """Two steps that belong together; the client may leave, a POST is finished unless its route says otherwise."""
    ledger.note("card charged")
    await trio.sleep(STEP)
    ledger.note("order recorded")
    return 201, "thank you\n"


@app.get("/ledger")
async def show_ledger() -> list[str]:
    """What happened."""
    return ledger.entries


@app.delete("/ledger")
async def clear_ledger() -> str:
    """Begin anew."""
    ledger.clear()
    return "cleared\n"
