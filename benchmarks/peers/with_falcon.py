"""Falcon, its ASGI side."""

from __future__ import annotations

import falcon
import falcon.asgi

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE


class Hello:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = GREETING


class Item:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, item_id: int) -> None:
        resp.media = {"item_id": item_id}


class Profile:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.media = PROFILE


class Echo:
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.media = await req.get_media()


class Download:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = "application/octet-stream"
        resp.data = DOWNLOAD


class Upload:
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        received = 0
        async for chunk in req.stream:
            received += len(chunk)
        resp.media = {"received": received}


app = falcon.asgi.App()
app.add_route("/hello", Hello())
app.add_route("/items/{item_id:int}", Item())
app.add_route("/profile", Profile())
app.add_route("/echo", Echo())
app.add_route("/download", Download())
app.add_route("/upload", Upload())
