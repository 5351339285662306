"""The same routes in both frameworks, and what each does when the client leaves."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from apps.beside_quart import app, quart_side, trivet_side
from apps.conftest import Run
from tests.harness.serving import SERVERS, serving
from tests.harness.tools import require
from trivet.testing import TestClient

SIDES = ("quart", "trivet")


@pytest.fixture(autouse=True)
def ledgers() -> dict[str, Any]:
    """Both ledgers, empty."""
    both = {"quart": quart_side.ledger, "trivet": trivet_side.ledger}
    for ledger in both.values():
        ledger.clear()
    return both


@pytest.mark.parametrize("side", SIDES)
async def test_same_routes(side: str, autojump_clock: MockClock) -> None:
    """A client that stays sees no difference."""
    async with TestClient(app) as client:
        report = await client.get(f"/{side}/report?seconds=3")
        assert (report.status_code, report.text) == (200, "the report\n")
        order = await client.post(f"/{side}/orders")
        assert (order.status_code, order.text) == (201, "thank you\n")
        assert (await client.get(f"/{side}/ledger")).json() == [
            "lease taken", "report begun", "report done", "lease given back", "card charged", "order recorded",
        ]  # fmt: skip
        assert (await client.delete(f"/{side}/ledger")).text == "cleared\n"
        assert (await client.get(f"/{side}/ledger")).json() == []
        assert (await client.get(f"/{side}/nothing")).status_code == 404


@pytest.mark.parametrize("link", [True, False], ids=["trivet's server", "any server"])
@pytest.mark.parametrize(
    ("side", "method", "path", "happened"),
    [
        # Cancelled, both; the clean-up that waits is cut in one and has its time in the other.
        ("quart", "GET", "report", ["lease taken", "report begun"]),
        ("trivet", "GET", "report", ["lease taken", "report begun", "lease given back"]),
        # Cancelled between two steps that belong together; finished.
        ("quart", "POST", "orders", ["card charged"]),
        ("trivet", "POST", "orders", ["card charged", "order recorded"]),
    ],
)
async def test_client_leaves(
    side: str, method: str, path: str, happened: list[str], link: bool, ledgers: Any, autojump_clock: MockClock
) -> None:
    """What each has done when a client that left in the middle is forgotten."""
    async with TestClient(app, link=link) as client, client.open(method, f"/{side}/{path}") as exchange:
        await trio.sleep(0.5)
        exchange.leave()
        await exchange.wait_returned()
        assert ledgers[side].entries == happened


@pytest.mark.parametrize("server", [pytest.param(each, marks=pytest.mark.live) for each in SERVERS[1:]])
async def test_client_leaves_over_a_socket(server: Any, ledgers: Any) -> None:
    """The same when a real connection is closed."""
    if server == "trivet":
        require("module:trivet.server")
    expected = {
        "quart": ["card charged", "lease taken", "report begun"],
        "trivet": ["card charged", "lease given back", "lease taken", "order recorded", "report begun"],
    }
    async with serving(server, app) as client:
        for side in SIDES:
            for method, path in (("GET", "report"), ("POST", "orders")):
                async with client.open(method, f"/{side}/{path}") as exchange:
                    await trio.sleep(0.3)
                    exchange.leave()
        await trio.sleep(1.5)  # long enough for everything that is still to come, so that its absence means something
        assert {side: sorted(ledgers[side].entries) for side in SIDES} == expected


async def test_way_over() -> None:
    """A trivet route wins over the mounted Quart application, at the same path."""
    async with TestClient(app) as client:
        assert (await client.get("/quart/moved")).text == "served by trivet\n"
        assert (await client.get("/quart/ledger")).json() == []


async def test_as_a_process(run: Run) -> None:
    """It runs alone."""
    async with run("apps.beside_quart:app") as server, server.client() as client:
        for side in SIDES:
            assert (await client.get(f"/{side}/report?seconds=0")).text == "the report\n"
