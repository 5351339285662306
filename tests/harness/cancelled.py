"""A cancellation that is kept, as nobody should.

This file owns how one comes by it. What becomes of a task that raises it is for the tests to see.
"""

from __future__ import annotations

import trio


async def kept_cancellation() -> trio.Cancelled:
    """A `trio.Cancelled` out of the scope that it belongs to: no scope further out will catch it."""
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]
