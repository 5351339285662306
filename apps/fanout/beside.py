"""Another application beside this one: in the same process, and reached over sockets as if it were elsewhere.

This file owns how it is served. Which one that is, and what it is asked, its callers know; the tour has some, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import hypercorn.trio
import trio
from hypercorn.config import Config

from trivet import App


@asynccontextmanager
async def beside(app: App, name: str) -> AsyncGenerator[str]:
    """Serve it on a port of its own, which nobody has to choose, for as long as the block runs; gives its URL.

    Args:
        app: the other one.
        name: of the task that serves it.
    """
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    serve = partial(hypercorn.trio.serve, app, config)  # type: ignore[arg-type]  # its own ASGI types
    async with trio.open_nursery() as nursery:
        addresses: list[str] = await nursery.start(serve, name=name)
        yield addresses[0]
        nursery.cancel_scope.cancel(reason="the application beside it ends")
