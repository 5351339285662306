"""quart-trio: what a Trio program would be written with otherwise. It watches for the disconnect as well."""

from __future__ import annotations

from typing import Any

import trio
from quart import Response, request
from quart_trio import QuartTrio

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

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


@app.post("/echo")
async def echo() -> Any:
    return await request.get_json()


@app.get("/download")
async def download() -> Response:
    return Response(DOWNLOAD, content_type="application/octet-stream")


@app.post("/upload")
async def upload() -> dict[str, int]:
    received = 0
    async for chunk in request.body:
        received += len(chunk)
    return {"received": received}
