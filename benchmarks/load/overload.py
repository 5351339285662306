"""What L14 asks for: queries of a database that has twenty connections, with a limit in front of it and without.

Twenty connections and a fifth of a second for each query are 100 queries a second, however fast the server is.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from trivet import App, Limit

from .app import HASTE

CONNECTIONS: Final = 20
QUERY: Final = 0.2
TIMEOUT: Final = max(0.5, 2 / HASTE)

limit = Limit(CONNECTIONS, queue=CONNECTIONS, wait=1)
connections = trio.CapacityLimiter(CONNECTIONS)
app = App(timeout=TIMEOUT)


async def query() -> str:
    """Wait for a connection, and for the answer."""
    async with connections:
        await trio.sleep(QUERY)
    return "rows"


app.get("/", limit=limit)(query)
app.get("/unlimited", name="unlimited")(query)


@app.get("/counts")
async def counts() -> dict[str, Any]:
    """What the limit says."""
    return {"running": limit.running, "waiting": limit.waiting, "shed": limit.shed}
