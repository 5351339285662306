"""`trivet run` asked what it does: by SIGUSR1, with workers and without, also when it is blocked; `--slow-steps`."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

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


def worker_of(pid: int) -> str | None:
    """The first worker of a supervisor, as soon as it is a process of its own."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has gone
            if (
                f"\nPPid:\t{pid}\n" in (each / "status").read_text()
                and b"TRIVET_WORKER=" in (each / "environ").read_bytes()
            ):
                return each.name
    return None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
async def test_a_worker_that_starts_tells_and_none_is_killed(tmp_path: Path) -> None:
    """Asked from its first moment on, with all of its process group, a worker lives; and it says what it waits for."""
    (tmp_path / "slow.py").write_text(
        "import os, trio\n"
        "from contextlib import asynccontextmanager\n"
        "from trivet import App\n"
        "@asynccontextmanager\n"
        "async def lifespan(app):\n"
        "    print('pid', os.getpid(), flush=True)\n"
        "    while not os.path.exists('go'): await trio.sleep(0.01)\n"
        "    yield\n"
        "app = App(lifespan=lifespan)\n"
    )
    arguments = "slow:app", "--workers", "2"
    async with run_server("trivet", *arguments, directory=tmp_path, listens=False) as server:
        pid = server.process.pid
        with trio.fail_after(20):
            while (worker := worker_of(pid)) is None:  # noqa: ASYNC110 - nobody could set an event
                await trio.sleep(0.001)
        for _ in range(20):
            os.killpg(pid, signal.SIGUSR1)
            await trio.sleep(0.005)
        await server.wait_output(f"pid {worker}")
        await asked_until(server, f"--- process {worker}\n<init>", r" at slow\.lifespan:\d+\n")
        assert "is ready" not in server.output
        (tmp_path / "go").touch()
        await server.wait_output("worker 1 (process")
        assert await server.stop() == 0


async def test_each_worker_tells() -> None:
    """The supervisor passes the question on."""
    async with run_server("trivet", APP, "--workers", "2") as server:
        await server.wait_output("worker 1 (process")
        workers = re.findall(r"worker \d \(process (\d+)\)", server.output)
        await asked_until(server, *(f"--- process {worker}\n<init>" for worker in workers))
        assert f"--- process {server.process.pid}\n" not in server.output
        assert await server.stop() == 0
