"""The page in four ways, on Trio's clock and over sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from apps.fanout import main, timeline, upstreams, ways
from tests.harness import Serve, run_server, serving
from trivet.testing import TestClient

URL = "http://upstreams.test"


@pytest.fixture(autouse=True)
def tally(monkeypatch: pytest.MonkeyPatch) -> upstreams.Tally:
    """A tally of this test's own."""
    fresh = upstreams.Tally()
    monkeypatch.setattr(upstreams, "tally", fresh)
    return fresh


@asynccontextmanager
async def site() -> AsyncGenerator[TestClient]:
    """The application beside its services, in memory."""
    async with (
        TestClient(upstreams.app, base_url=URL) as services,
        TestClient(main.create_app(URL, transport=services.transport)) as client,
    ):
        yield client


async def made(client: Any, way: str) -> dict[str, Any]:
    response = await client.get(f"/pages/{way}")
    assert response.status_code == 200
    report: dict[str, Any] = response.json()
    return report


ALL = {"product": "A kettle, 1.7 litres", "price": "39.90", "stock": "7 left", "similar": "A teapot"}


@pytest.mark.parametrize(
    ("way", "took", "there", "calls"),
    [
        ("sequential", 0.1 + 2 + 0.1 + 0.05 + 1, ALL, 5),
        ("parallel", 2, ALL, 5),
        ("hedged", 1, ALL, 7),
        ("partial", ways.IN_TIME, {name: text for name, text in ALL.items() if name != "similar"}, 7),
    ],
)
async def test_what_each_way_takes_and_gives(
    way: str, took: float, there: dict[str, str], calls: int, tally: upstreams.Tally, autojump_clock: MockClock
) -> None:
    """And when the visitor has the page, no call is left."""
    async with site() as client:
        report = await made(client, way)
        assert trio.current_time() == pytest.approx(took)
        assert report["took"] == pytest.approx(took)
        assert {part["name"]: part["text"] for part in report["parts"] if part["text"]} == there
        why = {part["name"]: part["why"] for part in report["parts"] if part["why"]}
        assert why.pop("reviews") == "status 500"
        assert why == {part: "not there in time" for part in ALL if part not in there}
        await trio.lowlevel.checkpoint()  # the services see that their callers have left
        stopped = sum(call["how"] == "cancelled" for call in report["calls"])
        assert (tally.begun, tally.ended, tally.stopped) == (calls, calls, stopped)


async def test_the_calls_of_a_page(autojump_clock: MockClock) -> None:
    """Of the price there are two: the second is asked when the first is late, and the first ends when it answers."""
    async with site() as client:
        calls = (await made(client, "hedged"))["calls"]
    spans = {(each["part"], each["attempt"]): (each["began"], each["ended"], each["how"]) for each in calls}
    late = ways.AFTER
    assert spans == {
        ("product", 1): (0, 0.1, "answered"),
        ("price", 1): (0, late + 0.1, "cancelled"),
        ("price", 2): (late, late + 0.1, "answered"),
        ("stock", 1): (0, 0.1, "answered"),
        ("reviews", 1): (0, 0.05, "failed"),
        ("similar", 1): (0, 1, "answered"),
        ("similar", 2): (late, 1, "cancelled"),
    }
    assert list(spans) == sorted(spans, key=lambda span: (upstreams.PARTS.index(span[0]), span[1]))


@pytest.mark.parametrize("way", ["sequential", "parallel", "hedged", "partial"])
async def test_a_visitor_who_leaves(way: str, tally: upstreams.Tally, autojump_clock: MockClock) -> None:
    """Whichever way it is, all calls end with the visit."""
    async with site() as client:
        async with client.open("GET", f"/pages/{way}") as exchange:
            await trio.sleep(0.45)
            exchange.leave()
            await exchange.wait_returned()
        await trio.lowlevel.checkpoint()
        assert trio.current_time() == 0.45
        assert tally.begun == tally.ended > 1
        assert tally.stopped >= 1


async def test_stock_comes_and_goes(autojump_clock: MockClock) -> None:
    """It is there for four seconds, and away for four; the page is made all the same."""
    async with site() as client:
        seen: list[str | None] = []
        for moment in (0, 2, 4, 6, 8):
            await trio.sleep(moment - trio.current_time())
            report = await made(client, "partial")
            seen.append(next(part["text"] for part in report["parts"] if part["name"] == "stock"))
    assert seen == ["7 left", "7 left", None, None, "7 left"]


@pytest.mark.parametrize("way", ["sequential", "parallel", "hedged", "partial"])
async def test_services_that_are_not_there(way: str, autojump_clock: MockClock) -> None:
    """A page without any part is a page, too, and it says why."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    async with TestClient(main.create_app(URL, transport=httpx.MockTransport(refuse))) as client:
        report = await made(client, way)
    assert [(part["text"], part["why"]) for part in report["parts"]] == [(None, "no answer")] * 5
    assert {call["how"] for call in report["calls"]} == {"failed"}


@pytest.mark.parametrize("way", ["sequential", "parallel", "hedged", "partial"])
async def test_a_bug_is_no_service_in_trouble(way: str, autojump_clock: MockClock) -> None:
    """It is an error, 500, and not a part that happens to be missing."""

    async def wrong(request: httpx.Request) -> httpx.Response:
        raise LookupError("of ours")

    async with TestClient(main.create_app(URL, transport=httpx.MockTransport(wrong))) as client:
        assert (await client.get(f"/pages/{way}")).status_code == 500


async def test_there_is_no_fifth_way() -> None:
    """404: the path does not match."""
    async with site() as client:
        assert (await client.get("/pages/random")).status_code == 404


async def test_budgets_belong_to_services(autojump_clock: MockClock) -> None:
    """Second tries of one do not use up those of another."""
    second_tries = ways.SecondTries(["a", "b"])

    async def fetch(part: str) -> str:
        await trio.sleep(1 if part == "a" else 0)
        return part

    page = await second_tries.hedged(fetch, ["a", "b"])
    assert page.results == {"a": "a", "b": "b"}
    assert [(budget.calls, budget.hedges) for budget in second_tries.budgets.values()] == [(1, 1), (1, 0)]


async def test_a_call_that_is_cancelled_is_written_down(autojump_clock: MockClock) -> None:
    """As one that fails is; attempts are counted for each part."""
    calls = timeline.Timeline()
    with trio.move_on_after(1), calls.call("a") as before:
        assert before == 0
        await trio.sleep_forever()
    with pytest.raises(ValueError, match="no"), calls.call("a") as before:
        raise ValueError("no")
    with calls.call("b"):
        pass
    assert calls.spans == [
        timeline.Span("a", 1, 0, 1, "cancelled"),
        timeline.Span("a", 2, 1, 1, "failed"),
        timeline.Span("b", 1, 1, 1, "answered"),
    ]


@pytest.mark.slow
async def test_over_sockets(serve: Serve, tally: upstreams.Tally) -> None:
    """It runs its services beside it, on a port of their own; who is cancelled there has its connection closed."""
    async with serve(main.create_app()) as client:
        response = await client.get("/pages/partial")
        assert {part["name"]: part["text"] for part in response.json()["parts"]}["product"] is not None
        with trio.fail_after(5):
            while tally.begun != tally.ended:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert tally.stopped >= 2
        page = await client.get("/")
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert (await client.get("/static/page.js")).status_code == 200


@pytest.mark.slow
@pytest.mark.live
async def test_services_that_run_elsewhere(tally: upstreams.Tally) -> None:
    """Their address is a setting."""
    async with serving("trivet", upstreams.app) as services:
        environment = {"FANOUT_UPSTREAMS": str(services.base_url)}
        async with run_server("trivet", "apps.fanout:app", environment=environment) as server, server.client() as site:
            assert (await site.get("/pages/partial")).status_code == 200
    assert tally.begun >= 5
