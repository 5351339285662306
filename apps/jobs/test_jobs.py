"""The jobs: how they are started, watched and stopped, in memory; and that counting happens in other processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apps.conftest import Run
from apps.jobs import main
from apps.jobs.board import Board, Job
from apps.jobs.counting import PROGRAM, Counting, Tell
from apps.jobs.settings import Settings
from apps.jobs.work import PIECE, primes_between, progress
from tests.harness import run_server
from trivet.contrib.broadcast import Broadcast
from trivet.testing import TestClient

SECONDS = 1.0
"""That a piece takes here."""


class FakeCounting:
    """What counts in the place of processes; it can be looked at, and made to fail."""

    def __init__(self) -> None:
        self.busy = 0
        self.fails = False

    async def __call__(self, below: int, tell: Tell) -> None:
        self.busy += 1
        try:
            for reached in range(PIECE, below + 1, PIECE):
                await trio.sleep(SECONDS)
                if self.fails:
                    raise ExceptionGroup("", [subprocess.CalledProcessError(-9, "work.py")])
                await tell(reached, reached // 100_000)
        finally:
            self.busy -= 1


class Site:
    """The app, with a clock that jumps and nothing to compute."""

    def __init__(self, client: TestClient, board: Board, counting: FakeCounting) -> None:
        self.client = client
        self.board = board
        self.counting = counting

    async def start(self, pieces: int = 10, **order: Any) -> str:
        """Start a job; return where it is."""
        response = await self.client.post("/jobs", json={"below": pieces * PIECE, **order})
        assert response.status_code == 202
        location = response.headers["location"]
        assert location == f"/jobs/{response.json()['id']}"
        return str(location)

    async def state(self, location: str) -> tuple[str, str | None, float]:
        job = (await self.client.get(location)).json()
        return job["state"], job["why"], job["progress"]


@asynccontextmanager
async def site(**settings: Any) -> AsyncGenerator[Site]:
    counting = FakeCounting()
    boards: list[Board] = []

    @asynccontextmanager
    async def open_board() -> AsyncGenerator[Board]:
        async with Broadcast(slow="drop_oldest", buffer=64) as news:
            boards.append(Board(Settings(**settings), news, counting))
            yield boards[0]

    with main.app.override(main.open_board, open_board):
        async with TestClient(main.app) as client:
            yield Site(client, boards[0], counting)
    assert counting.busy == 0


def seen(event: Any) -> tuple[str, float]:
    job = event.json(Job)
    return job.state, job.progress


# ---- who runs a job, and who stops it


async def test_a_job_runs_while_it_is_watched(autojump_clock: MockClock) -> None:
    """Its progress is told as it goes on, and the stream ends with it; who comes back is sent away."""
    async with site() as s:
        location = await s.start(pieces=2)
        await trio.sleep(5)
        assert await s.state(location) == ("waiting", None, 0)
        async with s.client.events(f"{location}/events") as events:
            assert [seen(event) async for event in events] == [
                ("running", 0.0),
                ("running", 0.5),
                ("done", 1.0),
            ]
            last = events.last_event_id
        assert (await s.client.get(location)).json()["found"] == 20
        again = await s.client.get(f"{location}/events", headers={"last-event-id": last})
        assert again.status_code == 204
        async with s.client.events(f"{location}/events") as events:
            assert [seen(event) async for event in events] == [("done", 1.0)]


async def test_who_leaves_stops_it(autojump_clock: MockClock) -> None:
    """At once, with what was counting for it; the others are told why."""
    async with site() as s:
        location = await s.start()
        async with s.client.events(f"{location}/events") as runner, s.client.events(f"{location}/events") as other:
            for _ in range(3):
                await anext(runner)
            assert s.counting.busy == 1
            runner.exchange.leave()
            await wait_all_tasks_blocked()
            assert s.counting.busy == 0
            told = [seen(event) async for event in other]
            assert told[-1][0] == "stopped"
        assert await s.state(location) == ("stopped", "left", 0.2)


async def test_another_one_who_watches_and_leaves_stops_nothing(autojump_clock: MockClock) -> None:
    """It runs in the request of the first."""
    async with site() as s:
        location = await s.start(pieces=3)
        async with s.client.events(f"{location}/events") as runner:
            async with s.client.events(f"{location}/events") as other:
                await anext(other)
            assert [seen(event) async for event in runner][-1] == ("done", 1.0)


async def test_it_is_cancelled_from_elsewhere(autojump_clock: MockClock) -> None:
    """Whether it is watched, detached, or waits; the answer says how it has ended. Twice is 409."""
    async with site() as s:
        watched, detached, waiting = await s.start(), await s.start(detached=True), await s.start()
        async with s.client.events(f"{watched}/events") as events:
            await anext(events)
            await trio.sleep(2.5)
            for location in (watched, detached, waiting):
                response = await s.client.delete(location)
                assert response.status_code == 200
                assert (response.json()["state"], response.json()["why"]) == ("stopped", "cancelled")
                assert (await s.client.delete(location)).status_code == 409
            assert s.counting.busy == 0
            assert [seen(event)[0] async for event in events][-1] == "stopped"
        async with s.client.events(f"{waiting}/events") as events:
            assert [seen(event)[0] async for event in events] == ["stopped"]


async def test_a_detached_job_goes_on_alone(autojump_clock: MockClock) -> None:
    """Who watches it may leave."""
    async with site() as s:
        location = await s.start(pieces=4, detached=True)
        async with s.client.events(f"{location}/events") as events:
            await anext(events)
        await trio.sleep(4.5)
        assert await s.state(location) == ("done", None, 1)


async def test_a_detached_job_has_a_deadline(autojump_clock: MockClock) -> None:
    """Of its own; a watched one has none but its watcher."""
    async with site() as s:
        detached, watched = await s.start(detached=True, deadline=3.5), await s.start(pieces=100)
        async with s.client.events(f"{watched}/events") as events:
            while seen(await anext(events))[1] < 0.5:
                pass
            assert (await s.state(watched))[0] == "running"
            assert [seen(event) async for event in events][-1] == ("done", 1.0)
        assert await s.state(detached) == ("stopped", "deadline", 0.3)


async def test_one_that_fails_says_so(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """To who watches it; the stream ends well."""
    async with site() as s:
        location = await s.start()
        s.counting.fails = True
        async with s.client.events(f"{location}/events") as events:
            assert [seen(event)[0] async for event in events][-1] == "failed"
        assert [record.name for record in caplog.records] == ["apps.jobs"]


async def test_the_end_of_the_server_stops_all(autojump_clock: MockClock) -> None:
    """What is watched ends at once; detached ones have the drain time to end by themselves."""
    async with site() as s:
        location = await s.start()
        async with s.client.events(f"{location}/events") as events:
            await anext(events)
            s.client.drain()
            async for _ in events:  # it ends
                pass
        assert (await s.state(location))[:2] == ("stopped", "shutdown")
        short, long = await s.start(pieces=3, detached=True), await s.start(pieces=100, detached=True)
        jobs = [s.board.find(each.rpartition("/")[2]) for each in (short, long)]
    assert [(job.state, job.why) for job in jobs if job] == [("done", None), ("stopped", "shutdown")]


# ---- what is known of jobs, and for how long


async def test_all_jobs_are_told_to_who_wants_to_know(autojump_clock: MockClock) -> None:
    """Those that are there, then each that changes."""
    async with site() as s:
        first = await s.start(pieces=2, detached=True)
        async with s.client.events("/events") as events:
            everything = await anext(events)
            assert everything.event == "all"
            assert [f"/jobs/{job.id}" for job in everything.json(list[Job])] == [first]
            second = await s.start(pieces=1, detached=True)
            ended = set[str]()
            while ended != {first, second}:
                told = await anext(events)
                assert told.event == "job"
                if told.json(Job).over:
                    ended.add(f"/jobs/{told.json(Job).id}")


async def test_who_reads_too_slowly_is_told_everything_again(autojump_clock: MockClock) -> None:
    """What it missed may have been the end of a job."""
    async with site() as s, s.client.events("/events") as events:
        assert (await anext(events)).event == "all"
        await s.start(detached=True, pieces=1)
        subscription = next(iter(s.board.news._hub.rooms["all"]))
        await trio.sleep(5)
        subscription.dropped += 1
        before = [await anext(events) for _ in range(2)]
        await s.start(detached=True, pieces=1)
        assert [(await anext(events)).event for _ in range(2)] == ["all", "job"]
        assert [event.event for event in before] == ["job"] * 2


async def test_results_are_kept_for_a_while(autojump_clock: MockClock) -> None:
    """Not for ever, and not more than so many; what waits for too long was given up."""
    async with site(keep=60.0, kept=2) as s:
        locations = [await s.start(pieces=number, detached=True) for number in (1, 2, 3)]
        forgotten = await s.start()
        await trio.sleep(20)
        assert await s.state(forgotten) == ("stopped", "unwatched", 0)
        statuses = [(await s.client.get(location)).status_code for location in [*locations, forgotten]]
        assert statuses == [404, 404, 200, 200]
        assert len((await s.client.get("/jobs")).json()) == 2
        async with s.client.events(f"{forgotten}/events") as events:
            assert [seen(event)[0] async for event in events] == ["stopped"]
        await trio.sleep(60)
        assert (await s.client.get("/jobs")).json() == []
        for request in (s.client.get, s.client.delete):
            assert (await request(locations[2])).status_code == 404
        assert (await s.client.get(f"{locations[2]}/events")).status_code == 404


async def test_there_are_only_so_many(autojump_clock: MockClock) -> None:
    """503, and when to ask again; one that has ended makes room."""
    async with site(open_jobs=2) as s:
        await s.start(pieces=1, detached=True)
        await s.start()
        refused = await s.client.post("/jobs", json={"below": 10})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        await trio.sleep(2)
        await s.start()


@pytest.mark.parametrize(
    "order", [{}, {"below": 0}, {"below": 10**9 + 1}, {"below": 1.5}, {"below": 9, "deadline": 0}, {"below": 9, "x": 1}]
)
async def test_an_order_that_makes_no_sense_is_refused(order: dict[str, Any], autojump_clock: MockClock) -> None:
    """And nothing is noted down."""
    async with site() as s:
        assert (await s.client.post("/jobs", json=order)).status_code == 422
        assert (await s.client.get("/jobs")).json() == []


async def test_page_and_its_files(autojump_clock: MockClock) -> None:
    """The page may run its own script and load its own files, and nothing from anywhere else."""
    async with site() as s:
        page = await s.client.get("/")
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert not re.findall(r"(?:src|href|action)=\"(?:https?:|/)", page.text)
        for name in set(re.findall(r'"(static/[^"]+)"', page.text)):
            assert (await s.client.get(f"/{name}")).status_code == 200


# ---- counting


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 0, 0), (0, 2, 0), (0, 3, 1), (2, 3, 1), (3, 3, 0), (0, 100, 25), (90, 97, 0), (0, 1000, 168), (4, 6, 1)],
)
def test_primes(low: int, high: int, expected: int) -> None:
    """The upper end is not counted."""
    assert primes_between(low, high) == expected


def test_pieces_make_up_the_whole() -> None:
    """However it is cut."""
    assert list(progress(10_000, 3000)) == [(3000, 430), (6000, 783), (9000, 1117), (10_000, 1229)]
    for piece in (70, 10_000, 10_001):
        assert list(progress(10_000, piece))[-1] == (10_000, 1229)


async def test_it_counts_in_a_process() -> None:
    """Which tells of each piece, and ends."""
    told: list[tuple[int, int]] = []

    async def tell(reached: int, found: int) -> None:
        told.append((reached, found))

    await Counting(1)(2_500_000, tell)
    assert told[-1] == (2_500_000, 183_072)
    assert set(told) <= {(1_000_000, 78_498), (2_000_000, 148_933), (2_500_000, 183_072)}
    assert children() == []


async def test_a_process_ends_with_who_waits_for_it() -> None:
    """Also when the server is killed: nobody reads what it writes. One that waits for its turn has none."""
    counting = Counting(1)
    begun = trio.Event()

    async def tell(reached: int, found: int) -> None:
        begun.set()

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(counting, 10**9, tell)
        await begun.wait()
        assert len(children()) == 1
        nursery.cancel_scope.cancel()
    assert children() == []


async def test_a_process_that_dies_is_an_error() -> None:
    """And not a result."""

    async def tell(reached: int, found: int) -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ExceptionGroup) as caught:
        await Counting(1)(10**9, tell)
    assert caught.group_contains(subprocess.CalledProcessError)


def children() -> list[int]:
    """Processes of ours that count."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            command = (each / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid() and PROGRAM in command:
            found.append(int(each.name))
    return found


@pytest.mark.parametrize("name", ["JOBS_WORKERS", "JOBS_KEEP"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf"])
def test_settings_that_make_no_sense_are_refused(name: str, value: str) -> None:
    """By name."""
    with pytest.raises(ValueError, match=name):
        Settings.read({name: value})


def test_settings() -> None:
    """From the environment; an empty one is none."""
    assert Settings.read({"JOBS_WORKERS": "3", "JOBS_KEEP": "1.5"}) == Settings(workers=3, keep=1.5)
    assert Settings.read({"JOBS_KEEP": ""}).keep == 600
    assert Settings.read({}).workers >= 1


@pytest.mark.slow
async def test_over_a_socket(run: Run) -> None:
    """Who leaves stops its job; a deadline ends another; and the server ends as it should."""
    async with run("apps.jobs:app", environment={"JOBS_WORKERS": "1"}) as server:
        async with server.client() as client:
            location = (await client.post("/jobs", json={"below": 10**9})).headers["location"]
            async with client.open("GET", f"{location}/events") as exchange:
                await read_until(exchange, b'"found":78498')  # so many are below a million
                exchange.leave()
            await stopped(client, location, "left")
            location = (await client.post("/jobs", json={"below": 10**9, "detached": True, "deadline": 0.3})).headers[
                "location"
            ]
            await stopped(client, location, "deadline")
        assert await server.stop() == 0
    assert "Traceback" not in server.output


@pytest.mark.slow
async def test_a_drain_stops_what_is_watched() -> None:
    """At once, and its watcher is told to come back; nothing is left when the server has ended."""
    async with run_server("trivet", "apps.jobs:app") as server, server.client() as client:
        location = (await client.post("/jobs", json={"below": 10**9})).headers["location"]
        async with client.open("GET", f"{location}/events") as exchange, client.open("GET", "/events") as all_of_them:
            await read_until(exchange, b'"found":78498')
            server.send_signal(signal.SIGTERM)
            await read_until(exchange, b"retry:")
            assert await exchange.receive() is None
            await read_until(all_of_them, b"retry:")
        assert await server.wait() == 0
    assert "Traceback" not in server.output


async def read_until(exchange: Any, text: bytes) -> None:
    read = b""
    with trio.fail_after(10):
        while text not in read:
            chunk = await exchange.receive()
            assert chunk is not None, read
            read += chunk


async def stopped(client: Any, location: str, why: str) -> None:
    """Wait until it is, for that reason."""
    with trio.fail_after(10):
        while (job := (await client.get(location)).json())["state"] == "running":  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert (job["state"], job["why"]) == ("stopped", why)
