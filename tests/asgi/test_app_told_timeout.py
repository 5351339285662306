"""`X-Request-Timeout-Ms` of a trusted peer: it can only shorten the deadline."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from tests.harness import Serve
from trivet import App, HTTPError, Request, Text, WebSocket
from trivet._forwarded import Proxies
from trivet._forwarded_timeout import told_timeout
from trivet.testing import TestClient

FIELD = "x-request-timeout-ms"


def telling(log: list[str], **options: Any) -> App:
    """Two routes that say how much time they have: one that runs in one step, and one that could wait."""
    app = App(timeout=20, **options)

    @app.get("/instant")
    async def instant(request: Request) -> str:
        log.append("instant")
        return f"{request.deadline - request._began:g}"

    @app.get("/waiting")
    async def waiting(request: Request) -> str:
        log.append("waiting")
        await trio.lowlevel.checkpoint()
        return f"{request.deadline - request._began:g}"

    @app.get("/path/{name}")
    async def path_only(name: str) -> str:
        log.append("path")
        return name

    @app.post("/body")
    async def body(body: dict[str, int]) -> str:
        log.append("body")
        return "read"

    return app


@pytest.mark.parametrize("path", ["/instant", "/waiting"])
@pytest.mark.parametrize(
    ("trusted", "value", "seconds"),
    [
        (["127.0.0.1"], "1500", "1.5"),
        (["127.0.0.1"], "20001", "20"),
        (["127.0.0.1"], "1.5", "20"),
        (["127.0.0.1"], None, "20"),
        (["10.0.0.0/8"], "1500", "20"),
        (["10.0.0.0/8"], "0", "20"),
        ([], "0", "20"),
    ],
)
async def test_a_trusted_peer_can_shorten_the_deadline(
    serve: Serve, path: str, trusted: list[str], value: str | None, seconds: str
) -> None:
    """Never lengthen it; others are not believed, and what is no number is ignored."""
    async with serve(telling([], trusted=trusted)) as client:
        response = await client.get(path, headers={} if value is None else {FIELD: value})
        assert (response.status_code, response.text) == (200, seconds)


@pytest.mark.parametrize("value", ["0", "-20"])
async def test_where_no_time_is_left_the_handler_never_runs(serve: Serve, value: str) -> None:
    """The answer is 504, whatever kind of handler it is, and the connection serves the next request."""
    log: list[str] = []
    async with serve(telling(log, trusted=["127.0.0.1"])) as client:
        for path in ("/instant", "/waiting", "/path/a"):
            response = await client.get(path, headers={FIELD: value})
            assert (response.status_code, response.json()["status"]) == (504, 504)
        assert (await client.post("/body", json={"a": 1}, headers={FIELD: value})).status_code == 504
        assert not log
        assert (await client.post("/body", json={"a": 1}, headers={FIELD: "9"})).status_code == 200
        assert (await client.get("/missing", headers={FIELD: value})).status_code == 404


async def test_a_request_that_came_too_late_is_one_that_its_deadline_ended(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, and so in what is counted: a service that asks too late is no failure of ours."""
    caplog.set_level(logging.INFO, "trivet.access")
    async with serve(telling([], trusted=["127.0.0.1"])) as client:
        for path in ("/instant", "/waiting"):
            assert (await client.get(path, headers={FIELD: "0"})).status_code == 504
    outcomes = [
        (each.__dict__["status"], each.__dict__["outcome"]) for each in caplog.records if each.name == "trivet.access"
    ]
    assert outcomes == [(504, "deadline")] * 2


async def test_the_handler_is_stopped_when_the_peer_waits_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    """As at any deadline: 503; and a client call of its own takes what is left from Trio."""
    app = App(trusted=["127.0.0.1"])
    left: list[float] = []

    @app.get("/")
    async def wait() -> None:
        left.append(trio.current_effective_deadline() - trio.current_time())
        await trio.sleep_forever()

    async with TestClient(app) as client:
        began = trio.current_time()
        assert (await client.get("/", headers={FIELD: "250"})).status_code == 503
        assert trio.current_time() - began == pytest.approx(0.25)
    assert left == [pytest.approx(0.25)]


async def test_a_catcher_may_answer_in_its_place() -> None:
    """It is an `HTTPError(504)` like any other."""
    app = telling([], trusted=["127.0.0.1"])

    @app.catch(504)
    async def late(request: Request, error: HTTPError) -> Text:
        return Text("too late", status=504)

    async with TestClient(app) as client:
        assert (await client.get("/instant", headers={FIELD: "0"})).text == "too late"


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["1500"], 1.5),
        ([" 1500\t"], 1.5),
        (["1"], 0.001),
        (["0"], 0),
        (["-5"], -0.005),
        (["1500", "200"], 0.2),
        (["1500, 200"], 0.2),
        (["1500, soon"], 1.5),
        ([], None),
        ([""], None),
        (["soon"], None),
        (["1.5"], None),
        (["1e3"], None),
        (["+5"], None),
        (["--5"], None),
        (["1_000"], None),
        (["\xb2"], None),
        (["9" * 13], None),
    ],
)
def test_the_field_is_a_whole_number_of_milliseconds(values: list[str], seconds: float | None) -> None:
    """Of several the least counts; all else is as if it were not there."""
    headers = [(FIELD.encode(), value.encode("latin-1")) for value in values]
    assert told_timeout(Proxies(["unix"]), {"headers": headers, "client": None}) == seconds
    assert told_timeout(Proxies(["10.0.0.1"]), {"headers": headers, "client": None}) is None
    assert told_timeout(Proxies(["10.0.0.1"]), {"headers": headers, "client": ("10.0.0.1", 1)}) == seconds


@pytest.mark.parametrize("value", ["0", "1500"])
async def test_the_handshake_of_a_websocket_takes_no_notice_of_it(value: str) -> None:
    """What it says is how long somebody waits for an answer, and a WebSocket is none."""
    app = App(timeout=20, trusted=["127.0.0.1"])

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        left = ws.time_left()
        await ws.send_json(left)

    async with TestClient(app) as client, client.websocket("/", headers={FIELD: value}) as ws:
        assert 10 < await ws.receive_json() <= 20
