"""aiohttp, on its own server and uvloop: `python -m benchmarks.peers.with_aiohttp PORT`."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

routes = web.RouteTableDef()


@routes.get("/hello")
async def hello(request: web.Request) -> web.Response:
    return web.Response(text=GREETING)


@routes.get(r"/items/{item_id:\d+}")
async def item(request: web.Request) -> web.Response:
    return web.json_response({"item_id": int(request.match_info["item_id"])})


@routes.get("/profile")
async def profile(request: web.Request) -> web.Response:
    return web.json_response(PROFILE)


@routes.post("/echo")
async def echo(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


@routes.get("/download")
async def download(request: web.Request) -> web.Response:
    return web.Response(body=DOWNLOAD, content_type="application/octet-stream")


@routes.post("/upload")
async def upload(request: web.Request) -> web.Response:
    received = 0
    async for chunk in request.content.iter_any():
        received += len(chunk)
    return web.json_response({"received": received})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(routes)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=uvloop.new_event_loop())
