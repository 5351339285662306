"""trivet with a handler that sleeps."""

from __future__ import annotations

import trio

from trivet import JSON, App

app = App()
_asleep: list[None] = []


@app.get("/sleep", timeout=None)
async def sleep() -> str:
    _asleep.append(None)
    await trio.sleep(3600)
    return "slept"


@app.get("/asleep")
async def asleep() -> JSON[int]:
    return JSON(len(_asleep))


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}
