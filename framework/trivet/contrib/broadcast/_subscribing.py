"""What `subscribe` gives: a subscriber that is not one yet, and says so to whoever takes it for one.

This file owns that. The likely mistake is to iterate at once: without a block nobody would know when the subscriber is
gone, and it would stay one until the garbage collector came by. What is entered is `_broadcast`'s.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, NoReturn, final

from ._subscription import Subscription

_WRITE: Final = (
    "Enter it, so that the subscriber is gone when the block is left:\n\n"
    "    async with broadcast.subscribe(topic) as subscription:\n"
    "        async for message in subscription:\n"
    "            ..."
)


@final
class Subscribing(AbstractAsyncContextManager[Subscription[Any], bool | None]):
    """To be entered, once.

    Args:
        subscribed: what there is to enter.
    """

    __slots__ = ("_subscribed",)

    def __init__(self, subscribed: AbstractAsyncContextManager[Subscription[Any], bool | None]) -> None:
        self._subscribed = subscribed

    async def __aenter__(self) -> Subscription[Any]:
        return await self._subscribed.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._subscribed.__aexit__(kind, error, trace)  # noqa: ASYNC102 - nothing in it waits

    def __aiter__(self) -> NoReturn:
        raise TypeError(f"Broadcast.subscribe() was iterated over, but not entered.\n{_WRITE}")

    def __await__(self) -> NoReturn:
        raise TypeError(f"Broadcast.subscribe() is awaited here, but it gives what is entered.\n{_WRITE}")
