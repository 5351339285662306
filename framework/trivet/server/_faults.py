"""What an exception means once cancellation is taken out of it. This file owns that one distinction."""

from __future__ import annotations

from typing import cast

import trio


def fault_in(error: BaseException) -> BaseException | None:
    """`error` without the `trio.Cancelled` in it; None if it is nothing but that, and must be raised again."""
    if isinstance(error, trio.Cancelled):
        return None
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)[1]
    return error
