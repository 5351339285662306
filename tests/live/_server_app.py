"""A bare ASGI application, without trivet, for the server's tests: each path does one thing, or one thing wrong."""

from __future__ import annotations

import json
import os
from typing import Any

import trio

from tests.live._tasks import living

LIVE = {"live": 0, "cancelled": 0, "disconnected": 0, "drained": 0}


async def answer(send: Any, status: int = 200, body: bytes = b"ok", headers: Any = None) -> None:
    headers = [(b"content-length", b"%d" % len(body))] if headers is None else headers
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    LIVE["live"] += 1
    try:
        await (http if scope["type"] == "http" else websocket)(scope, receive, send)
    except trio.Cancelled:
        LIVE["cancelled"] += 1
        raise
    finally:
        LIVE["live"] -= 1


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def http(scope: Any, receive: Any, send: Any) -> None:
    _, name, *rest = scope["path"].split("/")
    handler = globals().get(f"do_{name or 'root'}")
    if handler is None:
        await answer(send, 404, b"")
    else:
        await handler(scope, receive, send, *rest)


async def do_root(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, body=b"%d" % os.getpid())


async def do_stats(scope: Any, receive: Any, send: Any) -> None:
    tasks = living()
    stats = {**LIVE, "tasks": tasks, "fds": len(os.listdir("/proc/self/fd")), "pid": os.getpid()}
    await answer(send, body=json.dumps(stats).encode())


async def do_sleep(scope: Any, receive: Any, send: Any, seconds: str) -> None:
    await trio.sleep(float(seconds))
    await answer(send)


async def do_drained(scope: Any, receive: Any, send: Any) -> None:
    """Answers as soon as the server drains."""
    await scope["extensions"]["trivet"].draining.wait()
    await answer(send)


async def do_held(scope: Any, receive: Any, send: Any) -> None:
    """Says that it has begun, and ends as soon as the server drains."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await scope["extensions"]["trivet"].draining.wait()
    await send({"type": "http.response.body", "body": b"ended"})


async def do_linked(scope: Any, receive: Any, send: Any, seconds: str = "60") -> None:
    """As an application that knows the extension: told to stop, it answers 503 itself."""
    link = scope["extensions"]["trivet"]
    reasons: list[str] = []
    with trio.CancelScope() as stop:

        def cancel(reason: str) -> None:
            reasons.append(reason)
            LIVE[reason] += 1
            stop.cancel()

        link.attach(cancel)
        await trio.sleep(float(seconds))
    link.detach()
    await answer(send, 503 if reasons else 200, ",".join(reasons).encode() or b"ok")


async def do_stream(scope: Any, receive: Any, send: Any, megabytes: str = "64", timeout: str = "") -> None:
    if timeout:
        scope["extensions"]["trivet"].send_timeout = float(timeout)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(megabytes) * 16):
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def do_whole(scope: Any, receive: Any, send: Any, megabytes: str) -> None:
    await answer(send, body=b"x" * (int(megabytes) * 2**20))


async def do_abort(scope: Any, receive: Any, send: Any, framing: str = "") -> None:
    headers = [(b"content-length", b"100")] if framing == "length" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    scope["extensions"]["trivet"].abort()
    await send({"type": "http.response.body", "body": b"ignored"})


async def do_late(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    raise RuntimeError("after the head")


async def do_echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    await answer(send, body=body)


async def do_refuse(scope: Any, receive: Any, send: Any, wait: str = "0") -> None:
    """Answers without reading the body."""
    await trio.sleep(float(wait))
    await answer(send, 413, b"too large")


async def do_raise(scope: Any, receive: Any, send: Any, name: str, wait: str = "0") -> None:
    await trio.sleep(float(wait))
    if name == "group":
        raise BaseExceptionGroup("several", [ValueError(), SystemExit(3)])
    raise {"value": ValueError, "exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[name]


async def do_nested(scope: Any, receive: Any, send: Any) -> None:
    async def fail() -> None:
        raise KeyboardInterrupt

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await trio.sleep_forever()


async def do_status(scope: Any, receive: Any, send: Any, status: str) -> None:
    await answer(send, int(status))


async def do_header(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, headers=[(b"x-a", b"1\r\nx-injected: yes")])


async def do_toolong(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, body=b"12345", headers=[(b"content-length", b"3")])


async def do_tooshort(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, body=b"12345", headers=[(b"content-length", b"30")])


async def do_silent(scope: Any, receive: Any, send: Any) -> None:
    pass


async def do_stubborn(scope: Any, receive: Any, send: Any) -> None:
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            await trio.lowlevel.cancel_shielded_checkpoint()


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    path = scope["path"]
    if path == "/badsub":
        await send({"type": "websocket.accept", "subprotocol": "nope"})
    elif path == "/badheader":
        await send({"type": "websocket.accept", "headers": [(b"x", b"a\nb")]})
    elif path == "/slowaccept":
        await trio.sleep(0.3)
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif path == "/unread":
        await send({"type": "websocket.accept"})
        await trio.sleep(0.3)
        await send({"type": "websocket.close", "code": 1000})
    elif path == "/raise":
        await send({"type": "websocket.accept"})
        raise SystemExit
    else:
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
