"""FastAPI, with return annotations: they choose its faster, typed way to JSON."""

from __future__ import annotations

from typing import Any

import trio
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

app = FastAPI()


class Order(BaseModel):
    sku: str
    quantity: int
    price: float
    tags: list[str]
    gift: bool


@app.get("/hello", response_class=PlainTextResponse)
async def hello() -> str:
    return GREETING


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@app.get("/waits/{item_id}")
async def waits(item_id: int) -> dict[str, int]:
    await trio.lowlevel.checkpoint()
    return {"item_id": item_id}


@app.get("/profile")
async def profile() -> dict[str, Any]:
    return PROFILE


@app.post("/echo")
async def echo(order: Order) -> Order:
    return order


@app.get("/download")
async def download() -> Response:
    return Response(DOWNLOAD, media_type="application/octet-stream")


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
    return {"received": received}
