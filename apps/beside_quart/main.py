"""One server, two applications with the same routes: quart-trio's below /quart, trivet's below /trivet.

This is the way over for a Quart application, too: mount it whole, then write its routes anew one by one. A trivet route
wins over a mounted application (see /quart/moved), so a path need not change when its code does.
"""

from __future__ import annotations

from typing import cast

from trivet import App
from trivet.asgi import ASGIApp

from .quart_side import app as quart_app
from .trivet_side import app as trivet_app

app = App(timeout=70)

# Quart's types spell out each ASGI message, trivet's are plain mappings; both mean the same protocol.
app.mount("/quart", cast(ASGIApp, quart_app))
app.mount("/trivet", trivet_app)


@app.get("/quart/moved")
async def moved() -> str:
    """A path of the Quart application that trivet serves already."""
    return "served by trivet\n"
