"""Sanic, on its own server."""

from __future__ import annotations

from sanic import Request, Sanic
from sanic.response import HTTPResponse, json, raw, text

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

app = Sanic("benchmarks")


@app.get("/hello")
async def hello(request: Request) -> HTTPResponse:
    return text(GREETING)


@app.get("/items/<item_id:int>")
async def item(request: Request, item_id: int) -> HTTPResponse:
    return json({"item_id": item_id})


@app.get("/profile")
async def profile(request: Request) -> HTTPResponse:
    return json(PROFILE)


@app.post("/echo")
async def echo(request: Request) -> HTTPResponse:
    return json(request.json)


@app.get("/download")
async def download(request: Request) -> HTTPResponse:
    return raw(DOWNLOAD, content_type="application/octet-stream")


@app.post("/upload", stream=True)
async def upload(request: Request) -> HTTPResponse:
    received = 0
    while (chunk := await request.stream.read()) is not None:
        received += len(chunk)
    return json({"received": received})
