"""Starlette; its JSON comes from the standard library, as it does unless one brings a response class of one's own."""

from __future__ import annotations

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE


async def hello(request: Request) -> Response:
    return PlainTextResponse(GREETING)


async def item(request: Request) -> Response:
    return JSONResponse({"item_id": request.path_params["item_id"]})


async def waits(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return JSONResponse({"item_id": request.path_params["item_id"]})


async def profile(request: Request) -> Response:
    return JSONResponse(PROFILE)


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def download(request: Request) -> Response:
    return Response(DOWNLOAD, media_type="application/octet-stream")


async def upload(request: Request) -> Response:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
    return JSONResponse({"received": received})


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/items/{item_id:int}", item),
        Route("/waits/{item_id:int}", waits),
        Route("/profile", profile),
        Route("/echo", echo, methods=["POST"]),
        Route("/download", download),
        Route("/upload", upload, methods=["POST"]),
    ]
)
