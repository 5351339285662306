"""What a framework costs without a server: `python -m benchmarks.inprocess`.

One coroutine awaits `app(scope, receive, send)` over and over, where `send` does nothing. Stock hypercorn spends some
hundred microseconds on a request, in which ten of a framework's drown; here they are all there is. `--profile` says
where trivet's go.

Batches of the peers alternate, and the *least* CPU time of any batch counts: noise only ever adds.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import trio

from .cases import STOCK, Case
from .peers import STOCK_BASE as BASE
from .peers import STOCK_PEERS as PEERS
from .peers import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from trivet.asgi import ASGIApp, Message, Scope

_HEADERS = [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"benchmarks")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or profile; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inprocess")
    parser.add_argument("--only", default=",".join(peer.name for peer in PEERS), metavar="PEER,...")
    parser.add_argument("--batches", type=int, default=40, help="of each peer and case (40)")
    parser.add_argument("--requests", type=int, default=500, help="in a batch (500)")
    parser.add_argument("--profile", metavar="CASE", help="profile trivet in this case instead")
    options = parser.parse_args(arguments)
    if options.profile is not None:
        trio.run(_profile, next(case for case in STOCK if case.name == options.profile), options.requests * 40)
    else:
        names = {BASE, *options.only.split(",")}
        trio.run(_compare, [peer for peer in PEERS if peer.name in names], options.batches, options.requests)
    return 0


async def _compare(peers: Sequence[Peer], batches: int, requests: int) -> None:
    async with AsyncExitStack() as stack:
        apps = {peer.name: await stack.enter_async_context(_started(peer)) for peer in peers}
        print(f"{'us CPU per request':20}" + "".join(f"{case.name:>10}" for case in STOCK))
        least = {
            case.name: {name: min(times) for name, times in (await _batches(apps, case, batches, requests)).items()}
            for case in STOCK
        }
    for name in apps:
        print(f"{name:20}" + "".join(f"{least[case.name][name]:10.2f}" for case in STOCK))


async def _batches(apps: dict[str, ASGIApp], case: Case, batches: int, requests: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(batches):
        for name, app in apps.items():
            scopes = _scopes(case, requests)
            await trio.lowlevel.checkpoint()
            began = time.thread_time()
            await _run(app, scopes)
            times[name].append((time.thread_time() - began) / requests * 1e6)
    return times


async def _run(app: ASGIApp, scopes: Iterable[Scope]) -> None:
    for scope in scopes:
        await app(scope, _receive, _send)


async def _profile(case: Case, requests: int) -> None:
    async with _started(next(peer for peer in PEERS if peer.name == "trivet")) as app:
        await _run(app, _scopes(case, 1000))
        scopes = _scopes(case, requests)
        profile = cProfile.Profile()
        profile.enable()
        await _run(app, scopes)
        profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)


async def _receive() -> Message:
    # A GET without a body: nobody should ask twice, and who asks waits for the disconnect.
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def _send(message: Message) -> None:
    pass


def _scopes(case: Case, count: int) -> list[Scope]:
    """Scopes as hypercorn makes them, one for each request: an application may write to its own."""
    return [
        {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": "GET",
            "scheme": "http",
            "path": case.paths[number % len(case.paths)],
            "raw_path": case.paths[number % len(case.paths)].encode(),
            "query_string": b"",
            "root_path": "",
            "headers": list(_HEADERS),
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8000),
            "state": {},
            "extensions": {},
        }
        for number in range(count)
    ]


@asynccontextmanager
async def _started(peer: Peer) -> AsyncGenerator[ASGIApp]:
    """The application between its startup and its shutdown."""
    module, _, name = peer.target.partition(":")
    app: ASGIApp = getattr(import_module(module), name)
    started, stopping = trio.Event(), trio.Event()
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        if asked == 1:
            return {"type": "lifespan.startup"}
        await stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            started.set()

    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, receive, send)
        with trio.fail_after(10):
            await started.wait()
        yield app
        stopping.set()


if __name__ == "__main__":
    sys.exit(main())
