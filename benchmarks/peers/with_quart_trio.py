"""quart-trio: what a Trio program would be written with otherwise. It watches for the disconnect as well."""

from __future__ import annotations

from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio

from benchmarks.cases import GREETING, PROFILE

app = QuartTrio(__name__)


@app.get("/hello")
async def hello() -> Response:
    return Response(GREETING, content_type="text/plain; charset=utf-8")


@app.get("/items/<int:item_id>")
async def item(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@app.get("/waits/<int:item_id>")
async def waits(item_id: int) -> dict[str, int]:
    await trio.lowlevel.checkpoint()
    return {"item_id": item_id}


@app.get("/profile")
async def profile() -> dict[str, Any]:
    return PROFILE
