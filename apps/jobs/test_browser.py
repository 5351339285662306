"""The page in a browser: jobs started here and cancelled there, a tab closed in mid-job, a server restarted."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from apps.conftest import Run
from apps.tour.devtools import Page, browsing, contrast, palettes
from tests.harness import run_server
from tests.harness.tools import require

STATIC = Path(__file__).parent / "static"
LONG = 10**9


def test_contrast() -> None:
    """Text can be read in both colour schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    for palette in palettes(STATIC / "page.css"):
        for ink, paper in [*product(("text", "quiet", "accent", "bad"), ("ground", "panel")), ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


@pytest.mark.slow
async def test_in_a_browser(run: Run, tmp_path: Path) -> None:
    """Two visitors: one starts jobs, the other sees them grow and cancels one; the first one's tab is closed."""
    chromium = require("chromium")
    async with run("apps.jobs:app", environment={"JOBS_WORKERS": "2"}) as server:
        host, port = server.address
        base = f"http://{host}:{port}/"
        async with browsing(chromium, base) as watcher:
            await watcher.set_display(width=360, height=740, scheme="dark")
            await watcher.wait_for("!document.querySelector('.empty').hidden")
            async with browsing(chromium, base) as page:
                await page.set_display(width=1000, height=800, scheme="light")
                short = await _start(page, 2_500_000)
                for each in (page, watcher):
                    await each.wait_for(f"{_line(short)}?.innerText.includes('There are 183,072.')")
                cancelled, closed = await _start(page, LONG), await _start(page, LONG)
                await watcher.wait_for(f"{_line(closed)}?.querySelector('progress').value > 0.001")
                detached = await _start(page, LONG, detached=True)  # the last of three, for two workers
                await page.screenshot(tmp_path / "light.png")
                await _fits(watcher)
                await watcher.screenshot(tmp_path / "dark.png")
                await watcher.evaluate(f"{_line(cancelled)}.querySelector('button').click()")
                for each in (page, watcher):
                    await each.wait_for(f"{_line(cancelled)}.innerText.includes('Stopped, cancelled')")
                assert "cancelled" in await page.evaluate("document.getElementById('news').textContent")
                await page.call("Page.close")
                await watcher.wait_for(f"{_line(closed)}.innerText.includes('its page was closed')")
                assert page.problems == []
                assert [url for url in page.requested if not url.startswith((base, "data:"))] == []
            await watcher.wait_for(f"{_line(detached)}.querySelector('progress').value > 0")
            assert await watcher.evaluate(f"{_line(detached)}.classList.contains('running')")
            await watcher.evaluate(f"{_line(detached)}.querySelector('button').click()")
            await watcher.wait_for("document.querySelectorAll('li button').length === 0")
            assert watcher.problems == []


@pytest.mark.slow
async def test_a_server_that_is_restarted(tmp_path: Path) -> None:
    """The page says what has become of its job, finds the new server by itself, and starts another one."""
    chromium = require("chromium")
    async with run_server("trivet", "apps.jobs:app") as server:
        host, port = server.address
        async with browsing(chromium, f"http://{host}:{port}/") as page:
            lost = await _start(page, LONG)
            await page.wait_for(f"{_line(lost)}.querySelector('progress').value > 0")
            assert await server.stop() == 0
            await page.wait_for("document.getElementById('news').textContent.startsWith('The server is away')")
            await _meets_the_successor(page, port, lost, tmp_path)


async def _meets_the_successor(page: Page, port: int, lost: str, directory: Path) -> None:
    async with run_server("trivet", "apps.jobs:app", port=port):
        await page.wait_for("document.getElementById('news').textContent === 'The server is back.'")
        await page.wait_for(f"{_line(lost)}.innerText.includes('the server was stopped')")
        again = await _start(page, 1000)
        await page.wait_for(f"{_line(again)}.innerText.includes('There are 168.')")
        await page.screenshot(directory / "restarted.png")
        assert page.problems == []


def _line(job: str) -> str:
    return f"document.querySelector('li[data-id=\"{job}\"]')"


async def _start(page: Page, below: int, *, detached: bool = False) -> str:
    """Fill in the form and press its button; return the job's id."""
    before = await page.evaluate("document.querySelectorAll('li').length")
    await page.evaluate(
        f"form.elements.below.value = {below}; form.elements.detached.checked = {str(detached).lower()};"
        "form.querySelector('button').click()"
    )
    await page.wait_for(f"document.querySelectorAll('li').length === {before} + 1")
    job: str = await page.evaluate("document.querySelector('li').dataset.id")
    return job


async def _fits(page: Page) -> None:
    """On a small screen nothing sticks out; every control has a name and is large enough for a finger."""
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    assert await page.evaluate("[...document.querySelectorAll('input')].filter(e => !e.labels.length).length") == 0
    unnamed = "[...document.querySelectorAll('button, progress')].filter(e => !(e.ariaLabel ?? e.textContent)).length"
    assert await page.evaluate(unnamed) == 0
    low = "[...document.querySelectorAll('button, input')].filter(e => e.offsetHeight < 44).length"
    assert await page.evaluate(low) == 0
