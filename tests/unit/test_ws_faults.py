"""What an application is told that uses `send` of a WebSocket wrongly: `tests/golden/websocket/`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.harness import Golden
from tests.live._http1 import site
from tests.live._ws import opened

ACCEPT = {"type": "websocket.accept"}
CASES: dict[str, list[dict[str, Any]]] = {
    "send_before_accept": [{"type": "websocket.send", "text": "x"}],
    "accept_twice": [ACCEPT, ACCEPT],
    "accept_subprotocol": [{**ACCEPT, "subprotocol": "three"}],
    "accept_header": [{**ACCEPT, "headers": [(b"Sec-WebSocket-Accept", b"x")]}],
    "send_nothing": [ACCEPT, {"type": "websocket.send"}],
    "close_code": [ACCEPT, {"type": "websocket.close", "code": 1005}],
    "close_twice": [ACCEPT, {"type": "websocket.close"}, {"type": "websocket.close"}],
    "close_in_response": [
        {"type": "websocket.http.response.start", "status": 403},
        {"type": "websocket.http.response.body", "body": b"x", "more_body": True},
        {"type": "websocket.close"},
    ],
}


@pytest.mark.parametrize("name", CASES)
async def test_messages(golden: Golden, name: str) -> None:
    """Each says what came and what would be right."""
    found: list[str] = []
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            for message in CASES[name]:
                await send(message)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}\n")
        finally:
            done.set()

    async with site(app) as served, opened(served, b"Sec-WebSocket-Protocol: one, two"):
        await done.wait()  # who has left is no longer told
    golden(f"websocket/{name}", found[0])
