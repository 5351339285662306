"""What tests have provided to handlers. This file owns providers that more than one module of tests needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


def entering(manager: AbstractAsyncContextManager[T]) -> Callable[[], AbstractAsyncContextManager[T]]:
    """A provider of one thing that is there already, which is entered: `Depends(entering(rooms), scope="app")`."""

    @asynccontextmanager
    async def entered() -> AsyncGenerator[T]:
        async with manager as value:
            yield value

    return entered
