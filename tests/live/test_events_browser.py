"""Server-sent events as a browser reads them: Chromium's own `EventSource` is the judge of what we write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from apps.tour.devtools import browsing
from tests.harness import serving
from tests.harness.serving import SocketServer
from tests.harness.tools import require
from trivet import HTML, App, Event, EventSink, EventStream, HTTPError

pytestmark = [pytest.mark.live, pytest.mark.slow]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "events.md"

NASTY = [
    "", " ", "\n", "a\nb\rc\r\nd\n\n", " leading", "data: x", ": no comment", "a\0b", "a\x0b\x0c\x85\u2028b",
    "\ufeffbom", "größer 🜁", "id: 1\n\ndata: forged", {"a": "x\ny", "b": [1, None]}, "x" * 200_000,
]  # fmt: skip

SCRIPT = """
window.log = [];
const source = new EventSource('/events');
source.onopen = () => log.push(['open']);
for (const type of ['message', 'a b', 'größer']) {
  source.addEventListener(type, (event) => log.push([event.type, event.data, event.lastEventId]));
}
source.onerror = () => log.push(['error', source.readyState]);
"""


@pytest.mark.parametrize("server", ["hypercorn", "trivet"])
async def test_an_event_source_reads_what_was_sent_comes_back_and_is_sent_away(server: SocketServer) -> None:
    """Whatever is in an event; with the id of the last one, in the time it was told; and 204 ends it for good."""
    chromium, app, seen = require("chromium"), App(), list[str | None]()
    connected = trio.Event()

    @app.get("/")
    async def page() -> HTML:
        return HTML(f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><script>{SCRIPT}</script>")

    @app.post("/connected")
    async def told() -> None:
        connected.set()

    @app.get("/events")
    async def events() -> EventStream | None:
        async def feed(sink: EventSink) -> None:
            seen.append(sink.last_event_id)
            if len(seen) == 1:
                await connected.wait()  # it is told that it is connected before there is any event
                for number, data in enumerate(NASTY):
                    await sink.send(Event(data, id=number, retry=0.01, comment="c\r\nd"))
                await sink.send(Event("x", event="a b", id="größer 🜁"))
                await sink.send(Event("y", event="größer"))
            else:
                await sink.send(Event("again"))

        return EventStream(feed) if len(seen) < 2 else None

    async with serving(server, app) as client, browsing(chromium, str(client.base_url)) as tab:
        await tab.wait_for("log.length === 1")
        await tab.evaluate("fetch('/connected', {method: 'POST'})")
        await tab.wait_for("log.at(-1)[0] === 'error' && log.at(-1)[1] === EventSource.CLOSED")
        log: list[Any] = await tab.evaluate("log")
        count = len([url for url in tab.requested if url.endswith("/events")])
    assert seen == [None, "größer 🜁"]
    assert count == 3  # the last of them had 204
    read = [entry[1:] for entry in log if entry[0] == "message"]
    assert read == [[_unified(data), str(number)] for number, data in enumerate(NASTY)] + [["again", "größer 🜁"]]
    assert [entry for entry in log if entry[0] != "message"] == [
        ["open"],
        ["a b", "x", "größer 🜁"],
        ["größer", "y", "größer 🜁"],
        ["error", 0],
        ["open"],
        ["error", 0],
        ["error", 2],
    ]


async def test_the_page_of_the_documentation_outlives_answers_that_are_no_stream() -> None:
    """After a 503 its `EventSource` is closed for good; it opens another one, which goes on behind the last event."""
    chromium, app, asked = require("chromium"), App(), list[str]()
    (script,) = re.findall(r"^    let last = .*?^    listen\(\);$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = script.replace("2000 + 8000 * Math.random()", "10")

    @app.get("/")
    async def page() -> HTML:
        start = "window.shown = []; const show = (text) => shown.push(text);"
        return HTML(f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><script>{start}{script}</script>")

    @app.get("/news")
    async def news(after: str) -> EventStream:
        asked.append(after)
        if len(asked) in (1, 3):
            raise HTTPError(503)

        async def feed(sink: EventSink) -> None:
            await sink.send(Event(f"number {len(asked)}", id=len(asked), retry=0.01))

        return EventStream(feed)

    async with serving("trivet", app) as client, browsing(chromium, str(client.base_url)) as tab:
        await tab.wait_for("shown.length >= 2")
        assert (await tab.evaluate("shown"))[:2] == ["number 2", "number 4"]
    assert asked[:4] == ["", "", "", "2"]


def _unified(data: Any) -> str:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return text.replace("\r\n", "\n").replace("\r", "\n")
