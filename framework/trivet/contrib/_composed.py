"""A provider that stands on another one, which is chosen when it is made.

This file owns how that is said with public means. What a provider takes is read from its signature, and that of
`__call__` is written once for all instances; an instance with `__wrapped__` has the signature of what it wraps, as a
decorated function has (`inspect.unwrap`), and that can name any provider.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Composed(Generic[T]):
    """Base of such providers: to be called as what it wraps is.

    Args:
        function: a function of the instance's own; its parameters are bound as a provider's are.
        annotations: what each of them is annotated with; `Depends` may stand there.
    """

    __wrapped__: Callable[..., Awaitable[T]]

    def __init__(self, function: Callable[..., Awaitable[T]], **annotations: Any) -> None:
        function.__annotations__ = annotations
        self.__wrapped__ = function

    async def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Call what it wraps."""
        return await self.__wrapped__(*args, **kwargs)
