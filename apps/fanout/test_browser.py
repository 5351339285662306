"""The page in a browser: all four ways drawn on one scale, and a tree of calls that is left in the middle."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from apps.conftest import Run
from apps.tour.devtools import Page, browsing, contrast, palettes
from tests.harness.tools import require

STATIC = Path(__file__).parent / "static"


def test_contrast() -> None:
    """Text can be read in both colour schemes, at least 4.5 to 1 (WCAG 2.2, 1.4.3), which is enough for bars."""
    for palette in palettes(STATIC / "page.css"):
        for ink, paper in [*product(("text", "quiet", "accent", "bad"), ("ground", "panel")), ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


@pytest.mark.slow
async def test_in_a_browser(run: Run, tmp_path: Path) -> None:
    """One press makes the page in four ways; each later way is the faster, and the last one has not all parts."""
    chromium = require("chromium")
    async with run("apps.fanout:app") as server:
        host, port = server.address
        base = f"http://{host}:{port}/"
        async with browsing(chromium, base) as page:
            await page.set_display(width=1100, height=900, scheme="light")
            await page.evaluate("document.getElementById('all').click()")
            await page.wait_for("reports.size === 4")
            took = await page.evaluate("WAYS.map((way) => reports.get(way).took)")
            assert took == sorted(took, reverse=True)
            # The longest bar of each reaches to its end, on the scale of the slowest.
            longest = await page.evaluate(
                "WAYS.map((way) => Math.max(...[...sectionOf(way).querySelectorAll('.bar')].map("
                "(bar) => parseFloat(bar.style.left) + parseFloat(bar.style.width))))"
            )
            assert longest == [pytest.approx(100 * seconds / took[0], abs=3) for seconds in took]
            assert "not there in time" in await _text(page, "partial")
            assert "price, 2nd try: answered" in await _text(page, "hedged")
            assert "price: cancelled" in await _text(page, "hedged")
            assert "reviews: failed" in await _text(page, "parallel")
            await _leaves(page)
            await page.screenshot(tmp_path / "light.png")
            await _fits(page)
            await page.screenshot(tmp_path / "dark.png")
            assert page.problems == []
            assert [url for url in page.requested if not url.startswith((base, "data:"))] == []


async def _leaves(page: Page) -> None:
    await page.evaluate("form.elements.pause.value = 1; form.querySelector('button').click()")
    await page.wait_for("fetch('tally').then((answer) => answer.json()).then((tally) => tally.running > 10)")
    await page.evaluate("leave.click()")
    await page.wait_for("answer.textContent.startsWith('You left.')")
    assert "Under way: 0;" in await page.evaluate("answer.textContent")
    await page.evaluate("form.elements.pause.value = 0; form.querySelector('button').click()")
    await page.wait_for(f"answer.textContent.startsWith('{'z' * 40} ')")


async def _text(page: Page, way: str) -> str:
    text: str = await page.evaluate(f"sectionOf('{way}').innerText")
    return text


async def _fits(page: Page) -> None:
    """On a small screen nothing sticks out; every control has a name and is large enough for a finger."""
    await page.set_display(width=360, height=740, scheme="dark")
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    assert (
        await page.evaluate("[...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length") == 0
    )
    assert await page.evaluate("[...document.querySelectorAll('button')].filter(e => !e.textContent).length") == 0
    low = "[...document.querySelectorAll('button, input, select')].filter(e => !e.hidden && e.offsetHeight < 44).length"
    assert await page.evaluate(low) == 0
