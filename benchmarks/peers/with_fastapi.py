"""FastAPI, with return annotations: they choose its faster, typed way to JSON."""

from __future__ import annotations

from typing import Any

import trio
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from benchmarks.cases import GREETING, PROFILE

app = FastAPI()


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
