"""A WebSocket's messages as JSON: one of them, or one after the other.

This file owns what is said of a message that is not what was asked for. It knows no WebSocket but by its `receive`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, Self, TypeVar

from ._body import JSONDecoder, decoder_of
from ._ws_close import INVALID_DATA
from .errors import InvalidInput, InvalidMessage, WebSocketClosed

T = TypeVar("T")


class Receiver(Protocol):
    """Where messages come from."""

    async def receive(self) -> str | bytes:
        """The next one."""
        ...


class JSONMessages(AsyncIterator[T], Generic[T]):
    """The messages of a WebSocket as values of one type, until it is closed.

    Not a generator: those are left when the garbage collector comes around (PEP 525).
    """

    __slots__ = ("_decoder", "_source")

    def __init__(self, source: Receiver, as_type: type[T]) -> None:
        self._source = source
        self._decoder = decoder_of(as_type)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            message = await self._source.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None
        value: T = _decoded(message, self._decoder)
        return value


def from_json(message: str | bytes, as_type: Any) -> Any:
    """The value in a message.

    Raises:
        InvalidMessage: it is not JSON, or does not fit the type.
    """
    return _decoded(message, decoder_of(as_type))


def _decoded(message: str | bytes, decoder: JSONDecoder) -> Any:
    try:
        return decoder.decode(message.encode() if isinstance(message, str) else message)
    except InvalidInput as error:
        detail = error.detail.replace("the body", "the message", 1)
        if error.faults:  # a close has room for one, and a developer looks at that first
            first = error.faults[0]
            detail = f"{first.name or 'the message'}: {first.reason}"
        raise InvalidMessage(INVALID_DATA, error.status, detail, error.faults) from None
