"""The page in a browser: what a person sees of an upload, on a large screen and on a small one."""

from __future__ import annotations

import hashlib
import os
from itertools import product
from pathlib import Path

import pytest
import trio

from apps.conftest import Run
from apps.tour.devtools import Page, browsing, contrast, palettes
from apps.upload.test_store import files_below
from tests.harness.tools import require

STATIC = Path(__file__).parent / "static"
MIB = 1024 * 1024


def test_contrast() -> None:
    """Text can be read in both colour schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    for palette in palettes(STATIC / "page.css"):
        for ink, paper in [*product(("text", "quiet", "accent", "bad"), ("ground", "panel")), ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


@pytest.mark.slow
async def test_in_a_browser(run: Run, tmp_path: Path) -> None:
    """A visitor uploads two files, is told of one that is too large, stops one in the middle, and removes one."""
    chromium = require("chromium")
    uploads = tmp_path / "uploads"
    setting = {"UPLOAD_DIRECTORY": str(uploads), "UPLOAD_MAX_SIZE": str(8 * MIB)}
    async with run("apps.upload:app", environment=setting) as server:
        host, port = server.address
        base = f"http://{host}:{port}/"
        async with browsing(chromium, base + "page") as page:
            await page.set_display(width=1000, height=800, scheme="light")
            await page.wait_for("!document.querySelector('.empty').hidden")
            content = os.urandom(3 * MIB)
            await _upload(page, _file(tmp_path, "Zoë's film.bin", content), _file(tmp_path, "b.txt", b""))
            await page.wait_for("document.querySelectorAll('#complete li').length === 2")
            assert hashlib.sha256(content).hexdigest() in await page.evaluate(
                "document.getElementById('complete').textContent"
            )
            fetched = "fetch([...document.querySelectorAll('a.name')].find(e => e.textContent[0] === 'Z').href)"
            assert await page.evaluate(f"{fetched}.then(r => r.arrayBuffer()).then(b => b.byteLength)") == 3 * MIB
            await _upload(page, _file(tmp_path, "large.bin", bytes(8 * MIB + 1)))
            await page.wait_for("document.getElementById('news').textContent.startsWith('large.bin was refused: ')")
            await page.screenshot(tmp_path / "light.png")
            await page.set_display(width=360, height=740, scheme="dark")
            await _stop_one(
                page, _file(tmp_path, "a-name-that-is-much-too-long-for-a-phone" * 3, bytes(8 * MIB)), tmp_path
            )
            await page.evaluate("document.querySelector('#complete .remove').click()")
            await page.wait_for("document.querySelectorAll('#complete li').length === 1")
            assert page.problems == []
            assert [url for url in page.requested if not url.startswith((base, "data:"))] == []
    assert len(files_below(uploads)) == 2


def _file(directory: Path, name: str, content: bytes) -> str:
    path = directory / name
    path.write_bytes(content)
    return str(path)


async def _upload(page: Page, *files: str) -> None:
    """Choose files and press the button."""
    chosen = await page.call("Runtime.evaluate", expression="document.getElementById('files')")
    await page.call("DOM.setFileInputFiles", files=list(files), objectId=chosen["result"]["objectId"])
    await page.evaluate("document.querySelector('form button').click()")


async def _stop_one(page: Page, file: str, directory: Path) -> None:
    """On a slow line: watch one grow, look at all there is, and stop it."""
    await page.call(
        "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=MIB
    )
    await _upload(page, file)
    await page.wait_for("document.querySelector('progress')?.value > 0")
    await page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    await _fits(page)
    await page.screenshot(directory / "dark.png")
    await page.evaluate("document.querySelector('.leave').click()")
    await page.wait_for("document.getElementById('news').textContent.endsWith(' was stopped.')")
    with trio.fail_after(5):
        while await page.evaluate("fetch('uploads').then(r => r.json()).then(l => l.length)") != 2:  # noqa: ASYNC110
            await trio.sleep(0.05)


async def _fits(page: Page) -> None:
    """On a small screen nothing sticks out; every control has a name and is large enough for a finger."""
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    assert await page.evaluate("[...document.querySelectorAll('input')].filter(e => !e.labels.length).length") == 0
    unnamed = "[...document.querySelectorAll('button, progress')].filter(e => !(e.ariaLabel ?? e.textContent)).length"
    assert await page.evaluate(unnamed) == 0
    low = "[...document.querySelectorAll('button, input')].filter(e => e.offsetHeight < 44).length"
    assert await page.evaluate(low) == 0
