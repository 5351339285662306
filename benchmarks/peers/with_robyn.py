"""Robyn, on its own server: `python -m benchmarks.peers.with_robyn PORT`. It has no way to take a body in pieces."""

# No `from __future__ import annotations`: it takes a path's field for a number only by a type, not by its name as text.
import sys
from typing import Any

from robyn import Request, Response, Robyn

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE

app = Robyn(__file__)


@app.get("/hello")
async def hello() -> str:
    return GREETING


@app.get("/items/:item_id")
async def item(request: Request, item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@app.get("/profile")
async def profile(request: Request) -> dict[str, Any]:
    return PROFILE


@app.post("/echo")
async def echo(request: Request) -> Any:
    return request.json()


@app.get("/download")
async def download(request: Request) -> Response:
    return Response(200, {"Content-Type": "application/octet-stream"}, DOWNLOAD)


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    return {"received": len(request.body)}


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]))
