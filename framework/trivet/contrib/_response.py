"""A response that may be left in the middle.

This file owns one decision: what happens to httpx's iterators when a response is closed before its end. httpx
builds them as generators within generators, and leaves those that were not exhausted to the garbage
collector; Trio warns about each (`ResourceWarning`), which fails a test wherever warnings are errors. Here
the innermost is no generator, and the others are closed with the response. `trivet.contrib.client` and
`trivet.testing` give such responses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import httpx

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ClosingResponse"]


class ClosingResponse(httpx.Response):
    """`httpx.Response`, closing its iterators with itself.

    Args:
        status: the status.
        headers: the headers.
        body: the body's chunks; closing it is leaving. Its iterator is no generator.
        extensions: httpx's.
    """

    def __init__(
        self,
        status: int,
        *,
        headers: httpx.Headers,
        body: httpx.AsyncByteStream,
        extensions: dict[str, Any],
    ) -> None:
        super().__init__(status, headers=headers, stream=body, extensions=extensions)
        self._chunks = aiter(body)
        # Outer ones first: an iterator asks for the next inner one only when it runs.
        self._iterators: list[AsyncGenerator[Any]] = []

    def aiter_raw(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, chunk by chunk."""
        if self.is_stream_consumed:
            raise httpx.StreamConsumed
        if self.is_closed:
            raise httpx.StreamClosed
        self.is_stream_consumed = True
        chunks = RawChunks(self, self._chunks)
        return chunks if chunk_size is None else self._kept(_resized(chunks, chunk_size))

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body, decoded as its content-encoding says."""
        return self._kept(super().aiter_bytes(chunk_size))

    def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """The body as text."""
        return self._kept(super().aiter_text(chunk_size))

    def aiter_lines(self) -> AsyncIterator[str]:
        """The body line by line."""
        return self._kept(super().aiter_lines())

    def _kept(self, iterator: AsyncIterator[Any]) -> AsyncIterator[Any]:
        self._iterators.append(cast("AsyncGenerator[Any]", iterator))
        return iterator

    async def aclose(self) -> None:
        """Leave, unless the body is over, and close the iterators."""
        await super().aclose()
        iterators, self._iterators = self._iterators, []
        for iterator in iterators:
            # Running: it is the one that closes us, at the end of the body.
            if not iterator.ag_running:  # type: ignore[attr-defined]  # only the C type declares it
                await iterator.aclose()


class RawChunks:
    """Iterates over the chunks of a response and closes it after the last one.

    Args:
        response: the response to close.
        chunks: its chunks.
    """

    def __init__(self, response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
        self._response = response
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            await self._response.aclose()
            raise
        # What httpx counts for `num_bytes_downloaded`; its own loop is the one that we replace.
        self._response._num_bytes_downloaded += len(chunk)
        return chunk


async def _resized(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)
