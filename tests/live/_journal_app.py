"""A bare ASGI application that writes down each request it has accepted, so that a test knows which one was lost.

`JOURNAL` names the file; a line of it is the id of a request.
`BROKEN` and `SLOW_IMPORT` name files: while they exist, a startup fails, or an import takes its time (a minute at
most).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import trio

JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
BROKEN = Path(os.environ.get("BROKEN", "/nowhere"))

UNTIL = time.monotonic() + 60
while Path(os.environ.get("SLOW_IMPORT", "/nowhere")).exists() and time.monotonic() < UNTIL:
    time.sleep(0.02)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if BROKEN.exists():  # noqa: ASYNC240 - a test may block
                raise ValueError("no database")
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    _, request, seconds = scope["path"].split("/")
    os.write(JOURNAL, f"{request}\n".encode())
    if request == "exit":
        os._exit(7)
    if request == "spin":
        while True:
            pass
    await trio.sleep(float(seconds))
    body = b"%d %s" % (os.getpid(), os.environ["TRIVET_WORKER_INDEX"].encode())
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]},
    )
    await send({"type": "http.response.body", "body": body})
