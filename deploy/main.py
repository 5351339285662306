"""One of each kind, to try a deployment with: a page, an upload, events, a WebSocket, and a handler that is slow."""

import os

import trio

from trivet import App, EventSink, EventStream, Next, Request, Response, WebSocket
from trivet.contrib import observe

app = App(
    trusted=os.environ.get("TRUSTED", "unix").split(),  # whose X-Forwarded-For counts: the proxy's address
    max_body=10 * 1024 * 1024,  # no more than the proxy lets through
    timeout=30,
)
app.mount("", observe.router("health", "ready"))


@app.middleware
async def say_id(request: Request, call_next: Next) -> Response:
    """Let the proxy write our id of the request into its log."""
    response = await call_next(request)
    response.headers["x-request-id"] = request.id
    return response


@app.get("/")
async def index(request: Request) -> dict[str, object]:
    return {"client": request.client and request.client.host, "url": request.url}


@app.put("/upload")
async def upload(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@app.get("/ticks")
async def ticks() -> EventStream:
    async def feed(sink: EventSink) -> None:
        while True:
            await sink.send("tick")
            await trio.sleep(1)

    return EventStream(feed)


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.get("/slow/{seconds}")
async def slow(seconds: float) -> str:
    await trio.sleep(seconds)
    return "done\n"
