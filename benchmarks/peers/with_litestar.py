"""Litestar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.status_codes import HTTP_200_OK

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE, UPLOAD


@dataclass
class Order:
    sku: str
    quantity: int
    price: float
    tags: list[str]
    gift: bool


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


@post("/echo", status_code=HTTP_200_OK)
async def echo(data: Order) -> Order:
    return data


@get("/download")
async def download() -> Response[bytes]:
    return Response(DOWNLOAD, media_type="application/octet-stream")


# It takes ten million bytes unless told otherwise; 10 MB are a few more.
@post("/upload", status_code=HTTP_200_OK, request_max_body_size=2 * UPLOAD)
async def upload(request: Request[Any, Any, Any]) -> dict[str, int]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
    return {"received": received}


# Its default logging starts a thread of its own.
app = Litestar([hello, item, waits, profile, echo, download, upload], logging_config=None)
