"""The routes as a quart-trio application."""

from __future__ import annotations

import trio
from quart import request
from quart_trio import QuartTrio

from .ledger import STEP, Ledger

ledger = Ledger()
app = QuartTrio(__name__)


@app.get("/report")
async def report() -> str:
    """A slow page that needs a lease while it is made."""
    # Flask's tradition: the handler takes no parameters, and a query that is no number counts as absent.
    seconds = request.args.get("seconds", 3.0, type=float)
    ledger.note("lease taken")
    try:
        ledger.note("report begun")
        await trio.sleep(seconds)
        ledger.note("report done")
        return "the report\n"
    finally:
        # When the client leaves, this runs in a scope that is cancelled already: it raises at its first `await`, and
        # the lease is lost. By hand it takes  with trio.CancelScope(shield=True, relative_deadline=5):  here.
        await ledger.release()


@app.post("/orders")
async def order() -> tuple[str, int]:
    """Two steps that belong together."""
    ledger.note("card charged")
    await trio.sleep(STEP)  # a client that leaves now has paid for nothing: quart-trio cancels every method
    ledger.note("order recorded")
    return "thank you\n", 201


@app.get("/ledger")
async def show_ledger() -> list[str]:
    """What happened."""
    return ledger.entries


@app.delete("/ledger")
async def clear_ledger() -> str:
    """Begin anew."""
    ledger.clear()
    return "cleared\n"  # not 204: Quart sends that with a Content-Length, which RFC 9110 section 8.6 forbids
