"""The end of a peer, noticed while nobody reads."""

from __future__ import annotations

import logging
import socket
from contextlib import closing

import pytest
import trio
import trio.testing

from trivet.server import _hangup
from trivet.server._hangup import Hangups

pytestmark = pytest.mark.skipif(not _hangup._SUPPORTED, reason="needs epoll")


async def test_an_error_of_who_is_told_costs_nobody_else_anything(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told, those that leave later too."""
    hangups = Hangups()
    pairs = [socket.socketpair() for _ in range(2)]
    told = trio.Event()

    def fail() -> None:
        raise KeyError("told")

    with closing(hangups), caplog.at_level(logging.ERROR), trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hangups.run)
            first, second = (trio.socket.from_stdlib_socket(ours) for ours, _ in pairs)
            with hangups.watch(first, fail), hangups.watch(second, told.set):
                pairs[0][1].close()
                await trio.testing.wait_all_tasks_blocked()
                pairs[1][1].close()
                await told.wait()
            nursery.cancel_scope.cancel()
    for ours, _ in pairs:
        ours.close()
    assert len(caplog.records) == 1
