"""The counter service: an application of its own, which the site calls over HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from trivet import App

app = App(timeout=5)


@dataclass
class Visits:
    """How many visits have been registered since the start."""

    visits: int = 0


registered = Visits()


@app.get("/visits")
async def show() -> Visits:
    """The count."""
    return registered


@app.post("/visits", status=201)
async def register() -> Visits:
    """Count one more visit.

    No lock: nothing else runs between two `await`s, and this handler has none.
    """
    registered.visits += 1
    return registered
