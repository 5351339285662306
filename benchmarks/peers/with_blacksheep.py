"""BlackSheep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blacksheep import Application, Content, FromJSON, Request, Response, json, text

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

app = Application()


@dataclass
class Order:
    sku: str
    quantity: int
    price: float
    tags: list[str]
    gift: bool


@app.router.get("/hello")
async def hello() -> Response:
    return text(GREETING)


@app.router.get("/items/{item_id}")
async def item(item_id: int) -> Response:
    return json({"item_id": item_id})


@app.router.get("/profile")
async def profile() -> Any:
    return json(PROFILE)


@app.router.post("/echo")
async def echo(data: FromJSON[Order]) -> Response:
    return json(data.value)


@app.router.get("/download")
async def download() -> Response:
    return Response(200, content=Content(b"application/octet-stream", DOWNLOAD))


@app.router.post("/upload")
async def upload(request: Request) -> Response:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
    return json({"received": received})
