"""The servers behind the gateway: which of them are well, and whose turn it is.

This file owns that judgement. A backend is out after `FALL` bad answers in a row to the question how it is, or where so
many clients in a row did not reach it, and in again after `RISE` good answers, so that one that flaps is asked by its
watcher and not by clients. What becomes of a request that has reached it says as much of the request: else who knows
one that a backend breaks off would take it from everybody. Where none is well, all are asked, as by Envoy in a panic:
what is said of them may be wrong, and nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

import httpx
import msgspec
import trio

from trivet.contrib.periodic import every

log = logging.getLogger("apps.gateway")

FALL: Final = 2
RISE: Final = 2
PATIENCE: Final = 1.0
"""Seconds for an answer to that question."""


class State(msgspec.Struct, frozen=True):
    """How a backend is."""

    url: str
    healthy: bool
    in_flight: int


class Backend:
    """One of them.

    Args:
        url: scheme, host and port.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = httpx.URL(url).netloc
        """For requests that name none."""
        self.healthy = False
        """Nothing is known of one that has not been asked."""
        self.in_flight = 0
        """Requests that it has not answered to the end."""
        self._row = 0
        """Good answers to its watcher in a row, or bad ones if negative."""
        self._missed = 0
        """How many clients in a row did not reach it."""

    def well(self) -> None:
        """It has said that it is."""
        self._row = max(0, self._row) + 1
        self._missed = 0
        if not self.healthy and self._row >= RISE:
            self.healthy = True
            log.info("%s is well", self.url)

    def failed(self) -> None:
        """Its watcher did not reach it, or was told that it cannot."""
        self._row = min(0, self._row) - 1
        if self._row <= -FALL:
            self._out()

    def reached(self) -> None:
        """A client's request has come to it."""
        self._missed = 0

    def missed(self) -> None:
        """A client's request has not."""
        self._missed += 1
        if self._missed >= FALL:
            self._row = min(0, self._row)  # what its watcher heard before that counts no more
            self._out()

    def _out(self) -> None:
        if self.healthy:
            self.healthy = False
            log.warning("%s is out", self.url)

    @contextmanager
    def busy(self) -> Generator[None]:
        """Count a request."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def ask_first(self, client: httpx.AsyncClient, path: str) -> None:
        """Ask it how it is, and believe it: there is nothing else to go by."""
        self.healthy = await self._ask(client, path)

    async def watch(self, client: httpx.AsyncClient, path: str, interval: float) -> None:
        """Ask it how it is, for ever."""
        async for _ in every(interval, at_once=False):
            if await self._ask(client, path):
                self.well()
            else:
                self.failed()

    async def _ask(self, client: httpx.AsyncClient, path: str) -> bool:
        try:
            with trio.fail_after(PATIENCE):
                response = await client.get(self.url + path)
        except (httpx.HTTPError, trio.TooSlowError):
            return False
        return response.is_success


class Backends:
    """All of them.

    Args:
        urls: of each.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self.all = [Backend(url) for url in urls]
        self._turn = 0

    async def ask_all(self, client: httpx.AsyncClient, path: str) -> None:
        """Ask all of them for the first time, and at once: it takes no longer than the slowest, `PATIENCE` at most."""
        async with trio.open_nursery() as nursery:
            for each in self.all:
                nursery.start_soon(each.ask_first, client, path)

    def in_turn(self) -> list[Backend]:
        """Those that are well, or all if none is: who has the least to do first, and in turn among equals."""
        self._turn += 1
        first = self._turn % max(1, len(self.all))
        turned = self.all[first:] + self.all[:first]
        return sorted([each for each in turned if each.healthy] or turned, key=_load)

    @property
    def none_is_well(self) -> bool:
        """Whether all of them are out."""
        return not any(each.healthy for each in self.all)

    def states(self) -> list[State]:
        """How each of them is."""
        return [State(each.url, each.healthy, each.in_flight) for each in self.all]


def _load(backend: Backend) -> int:
    return backend.in_flight
