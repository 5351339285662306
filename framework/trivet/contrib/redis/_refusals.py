"""Which answers of Redis mean that it is away: it is there, but does not do now what it may do later.

This file owns that list, and that whoever operates it reads of it once. It knows no connection.

A handler can do as little about a Redis that has no memory left as about one that is gone, and whoever has something to
do instead has the same in both cases. A command that is wrong stays an error: it will be as wrong tomorrow.
"""

from __future__ import annotations

import logging
from typing import Final

import trio
from coredis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ._away import why

OF_ALL: Final = {"BUSY", "LOADING", "MASTERDOWN"}
"""A script takes too long; it reads its data; a replica has lost its master. Whatever is asked is refused."""

OF_SOME: Final = {"OOM", "MISCONF", "NOREPLICAS", "READONLY", "CLUSTERDOWN", "TRYAGAIN"}
"""There is no memory left; it cannot save, or has too few replicas; is a replica; has lost a part of its data. What
only reads may be done."""

_STRIPPED: Final[dict[type[BaseException], str]] = {
    BusyLoadingError: "LOADING",
    ReadOnlyError: "READONLY",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
}
"""coredis takes the code away from what it has a class for."""

OVER: Final = 60.0
"""Seconds without an answer of a kind, after which the next one is news."""


def code_of(error: BaseException) -> str:
    """The code of the answer if it means that Redis is away, else nothing."""
    code = _STRIPPED.get(type(error))
    if code is None and type(error) is ResponseError:
        text = str(error)
        if text.startswith("Error running script"):  # before 7.0 what a command in it was answered stands at the end
            text = text.rpartition(": -")[2]
        code = text.partition(" ")[0]
    return code if code in OF_ALL or code in OF_SOME else ""


class Refusals:
    """What one Redis has refused.

    Args:
        log: where it is told.
        place: of the Redis.
    """

    def __init__(self, log: logging.Logger, place: str) -> None:
        self._log = log
        self._place = place
        self._seen: dict[str, float] = {}
        """By code, when it was the last time."""
        self.of_all = ""
        """Why it refuses whatever it is asked, in one line; empty: it does not."""

    def note(self, error: RedisError) -> str:
        """Look at an answer. Returns the code if Redis is away by it, else nothing."""
        code = code_of(error)
        if code:
            now = trio.current_time()
            if now - self._seen.get(code, -OVER) >= OVER:
                self._log.warning("Redis at %s refuses commands: %s", self._place, why(error))
            self._seen[code] = now
        if code in OF_ALL:
            self.of_all = why(error)
        return code
