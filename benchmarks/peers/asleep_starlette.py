"""Starlette with a handler that sleeps, on asyncio as on Trio."""

from __future__ import annotations

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_asleep: list[None] = []


async def sleep(request: Request) -> Response:
    _asleep.append(None)
    await anyio.sleep(3600)
    return PlainTextResponse("slept")


async def asleep(request: Request) -> Response:
    return JSONResponse(len(_asleep))


async def item(request: Request) -> Response:
    return JSONResponse({"item_id": request.path_params["item_id"]})


app = Starlette(routes=[Route("/sleep", sleep), Route("/asleep", asleep), Route("/items/{item_id:int}", item)])
