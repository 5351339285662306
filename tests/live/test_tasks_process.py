"""`trivet run` asked what it does: by SIGUSR1, with workers and without, also when it is blocked; `--slow-steps`."""

from __future__ import annotations

import re
import signal

import pytest
import trio

from tests.harness import ServerProcess, run_server

pytestmark = [pytest.mark.live, pytest.mark.slow]

APP = "tests.live._tasks_app:app"
SLEEPS = (
    r"GET /sleep/\{seconds\} \[[-0-9a-f]{36}, .*\] deadline in .* - waits for trio.sleep .* at tests.live._tasks_app"
)
BLOCKS = r"GET /block \[.*\] deadline in .* at tests.live._tasks_app.block:"
SLOW = r"GET /block held up the event loop for \d+ ms, at tests.live._tasks_app.block:\d+, request"


async def asked_until(server: ServerProcess, *patterns: str) -> None:
    """Ask until the answers have had all of these: what is to be seen may have yet to begin."""
    with trio.fail_after(20):
        while not all(re.search(pattern, server.output) for pattern in patterns):
            server.send_signal(signal.SIGUSR1)
            await trio.sleep(0.05)


async def test_one_process_tells_and_goes_on() -> None:
    """The tree goes to stderr, without query strings; while the loop is blocked, too; and who does that, to the log."""
    async with run_server("trivet", APP, "--slow-steps", "0.05") as server, server.client() as client:
        async with client.open("GET", "/sleep/30?token=s3cret") as exchange:
            await asked_until(server, SLEEPS, f"--- process {server.process.pid}\n<init>")
            exchange.leave()
        async with client.open("GET", "/inner/sleep/30") as exchange:
            await asked_until(server, SLEEPS.replace("/sleep", "/inner/sleep", 1))
            exchange.leave()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/block?seconds=0.6")
            await asked_until(server, BLOCKS)
        await server.wait_output("    time.sleep(seconds)")  # the last line of the stack
        assert re.search(SLOW, server.output)
        assert "s3cret" not in server.output
        assert await server.stop() == 0


async def test_each_worker_tells() -> None:
    """The supervisor passes the question on."""
    async with run_server("trivet", APP, "--workers", "2") as server:
        await server.wait_output("worker 1 (process")
        workers = re.findall(r"worker \d \(process (\d+)\)", server.output)
        await asked_until(server, *(f"--- process {worker}\n<init>" for worker in workers))
        assert f"--- process {server.process.pid}\n" not in server.output
        assert await server.stop() == 0
