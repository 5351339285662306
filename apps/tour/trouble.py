"""Counters in trouble, for the site to cope with."""

from __future__ import annotations

import trio

from trivet import App, HTTPError

app = App(timeout=70)


@app.post("/slow", on_disconnect="cancel")
async def slow() -> None:
    """Take a minute: far longer than the site waits, which leaves, so that this stops."""
    await trio.sleep(60)


@app.post("/failing")
async def failing() -> None:
    """Answer at once, but with an error."""
    raise HTTPError(500, "this counter always fails")
