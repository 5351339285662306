"""The page of the task tree in a browser: a request seen to come, to wait, and to go with its reason."""

from __future__ import annotations

import signal
from itertools import product
from pathlib import Path

import pytest

from apps.tour.devtools import Page, browsing, contrast, palettes
from tests.harness import run_server
from tests.harness.tools import require
from trivet.contrib.observe._tasks_page import STATIC

pytestmark = [pytest.mark.live]

SLEEP = "[...document.querySelectorAll('li.request')].find(e => e.innerText.includes('GET /sleep/{seconds}'))"


def test_contrast() -> None:
    """Text can be read in both colour schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    for palette in palettes(STATIC / "page.css"):
        papers = ("ground", "panel", "fresh")
        for ink, paper in [*product(("text", "quiet", "accent", "bad"), papers), ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


@pytest.mark.slow
async def test_in_a_browser(tmp_path: Path) -> None:
    """A request that sleeps is there, with its deadline; its client leaves, and it goes, with its reason."""
    chromium = require("chromium")
    async with (
        run_server("trivet", "tests.live._tasks_app:app") as server,
        server.client() as client,
        browsing(chromium, f"http://127.0.0.1:{server.address[1]}/ops/tasks") as page,
        client.open("GET", "/together"),
    ):
        await page.set_display(width=1000, height=800, scheme="light")
        await page.wait_for("document.getElementById('summary').textContent.includes('task')")
        await client.post("/later")
        async with client.open("GET", "/sleep/10?token=s3cret") as exchange:
            await page.wait_for(f"!!{SLEEP}")
            await page.wait_for("document.body.innerText.includes('water the plants')")
            await page.wait_for("document.body.innerText.includes('write the report')")
            summary = await page.evaluate("document.getElementById('summary').textContent")
            shown = "document.querySelectorAll('#tree li.task, #tree li.request').length"
            assert summary.startswith(f"{await page.evaluate(shown)} tasks of the application, ")
            text = await page.evaluate(f"{SLEEP}.innerText")
            assert "waits for trio.sleep" in text
            assert "at tests.live._tasks_app.sleep:" in text
            assert " old, " in text
            assert " left" in text
            await page.evaluate(f"{SLEEP}.querySelector('.where').click()")
            await page.wait_for(f"{SLEEP}.querySelector('pre').textContent.includes('await trio.sleep(seconds)')")
            assert "s3cret" not in await page.evaluate("document.documentElement.outerHTML")
            await page.screenshot(tmp_path / "light.png")
            await page.evaluate(f"{SLEEP}.querySelector('.where').click()")
            await _fits(page, tmp_path)
            exchange.leave()
        await page.wait_for("document.querySelector('li.request.gone')?.innerText.includes('its client left')")
        await page.screenshot(tmp_path / "gone.png")
        await page.wait_for("document.querySelector('#ended li').innerText.includes('its client left')")
        await _pauses(page)
        assert page.problems == []
        base = f"http://127.0.0.1:{server.address[1]}"
        assert [url for url in page.requested if not url.startswith(f"{base}/ops/tasks")] == [f"{base}/later"]


@pytest.mark.slow
async def test_two_who_look() -> None:
    """Both see who is turned away from a queue, and what a drain stops while it waits for others, but not for them."""
    chromium = require("chromium")

    def ended(name: str, how: str) -> str:
        has = f"['{name}', '{how}'].every(text => line.innerText.includes(text))"
        return f"[...document.querySelectorAll('#ended li')].some(line => {has})"

    async with run_server("trivet", "tests.live._tasks_app:app", "--drain-timeout", "50") as server:
        url = f"http://127.0.0.1:{server.address[1]}/ops/tasks"
        async with server.client() as client, browsing(chromium, url) as one, browsing(chromium, url) as other:
            for page in (one, other):
                await page.wait_for("document.getElementById('summary').textContent.includes('task')")
            async with client.open("GET", "/queue") as first, client.open("GET", "/queue"):
                for page in (one, other):
                    await page.wait_for("document.body.innerText.includes('waits for a place of its limit')")
                for page in (one, other):
                    await page.wait_for(ended("GET /queue", "turned away"))
                async with client.websocket("/chat/room") as ws:
                    await ws.send("hello")
                    for page in (one, other):
                        await page.wait_for("document.body.innerText.includes('WebSocket /chat/{room}')")
                    server.send_signal(signal.SIGTERM)
                    for page in (one, other):
                        await page.wait_for(ended("WebSocket /chat/{room}", "the server is stopping"))
                        assert await page.evaluate("document.querySelectorAll('li.request:not(.gone)').length") == 1
                first.leave()
            for page in (one, other):
                await page.wait_for("document.body.innerText.includes('The server is away')")
        assert await server.wait() == 0


async def _fits(page: Page, directory: Path) -> None:
    """On a small screen nothing sticks out; every control has a name and is large enough for a finger."""
    await page.set_display(width=360, height=740, scheme="dark")
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    unnamed = "[...document.querySelectorAll('button')].filter(e => !(e.ariaLabel ?? e.textContent)).length"
    assert await page.evaluate(unnamed) == 0
    assert await page.evaluate("[...document.querySelectorAll('input')].filter(e => !e.labels.length).length") == 0
    low = "[...document.querySelectorAll('button, label')].filter(e => e.offsetHeight && e.offsetHeight < 44).length"
    assert await page.evaluate(low) == 0
    await page.evaluate("document.getElementById('own').click()")
    assert await page.evaluate("document.body.innerText.includes('trivet.server')")
    await page.screenshot(directory / "dark.png")
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    await page.evaluate("document.getElementById('own').click()")
    assert not await page.evaluate("document.body.innerText.includes('trivet.server')")


async def _pauses(page: Page) -> None:
    """While it is paused the page stands still; then it shows how things are."""
    await page.evaluate("document.getElementById('pause').click()")
    assert await page.evaluate("document.getElementById('pause').ariaPressed") == "true"
    await page.evaluate("fetch('../later', {method: 'POST'})")
    await page.wait_for("latest && JSON.stringify(latest).split('write the report').length === 3")
    shown = "document.body.innerText.split('write the report').length - 1"
    assert await page.evaluate(shown) == 1
    await page.evaluate("document.getElementById('pause').click()")
    assert await page.evaluate(shown) == 2
