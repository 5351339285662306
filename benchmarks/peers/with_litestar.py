"""Litestar."""

from __future__ import annotations

from typing import Any

import trio
from litestar import Litestar, MediaType, get

from benchmarks.cases import GREETING, PROFILE


@get("/hello", media_type=MediaType.TEXT)
async def hello() -> str:
    return GREETING


@get("/items/{item_id:int}")
async def item(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@get("/waits/{item_id:int}")
async def waits(item_id: int) -> dict[str, int]:
    await trio.lowlevel.checkpoint()
    return {"item_id": item_id}


@get("/profile")
async def profile() -> dict[str, Any]:
    return PROFILE


# Its default logging starts a thread of its own.
app = Litestar([hello, item, waits, profile], logging_config=None)
