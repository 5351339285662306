"""trivet, twice: as it comes (a handler is cancelled when its client leaves), and with `on_disconnect="finish"`."""

from __future__ import annotations

from typing import Any

import trio

from benchmarks.cases import GREETING, PROFILE
from trivet import App


def routes(app: App) -> App:
    @app.get("/hello")
    async def hello() -> str:
        return GREETING

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"item_id": item_id}

    @app.get("/waits/{item_id}")
    async def waits(item_id: int) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"item_id": item_id}

    @app.get("/profile")
    async def profile() -> dict[str, Any]:
        return PROFILE

    return app


app = routes(App())
finish = routes(App(on_disconnect="finish"))
