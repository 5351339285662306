"""The page, as a browser shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from apps.conftest import Run
from apps.notes import main
from apps.notes.settings import Settings
from apps.tour.devtools import Page, browsing
from tests.harness.tools import require
from trivet.testing import TestClient

PALETTE = re.compile(r"--([\w-]+): (#\w+)")


async def test_page_and_its_files() -> None:
    """The page may run its own script and load its own files, and nothing from anywhere else."""
    async with TestClient(main.create_app(Settings("sqlite:"))) as client:
        page = await client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert not re.findall(r"(?:src|href|action)=\"(?:https?:|/)", page.text)
        for name in set(re.findall(r'"(static/[^"]+)"', page.text)):
            assert (await client.get(name)).status_code == 200
        assert (await client.get("/static/index.html")).status_code == 404


def test_colours() -> None:
    """They are the tour's, whose contrast is measured there."""
    ours, theirs = (
        [dict(PALETTE.findall(block)) for block in re.findall(r":root \{(.*?)\}", path.read_text("utf-8"), re.DOTALL)]
        for path in (main.STATIC / "notes.css", main.STATIC.parent.parent / "tour" / "static" / "tour.css")
    )
    assert [theirs[0] | ours[0], theirs[1] | ours[1]] == theirs


@pytest.mark.slow
async def test_in_a_browser(run: Run, tmp_path: Path) -> None:
    """Somebody registers, keeps notes, finds them again, is told of a conflict, and leaves; without the internet."""
    chromium = require("chromium")
    environment = {"NOTES_DATABASE_URL": f"sqlite:{tmp_path / 'notes.db'}"}
    async with run("apps.notes:app", environment=environment) as server:
        host, port = server.address
        base = f"http://{host}:{port}/"
        async with browsing(chromium, base) as page:
            await page.set_display(width=1000, height=900, scheme="light")
            await _signs_in(page)
            await _keeps_notes(page)
            await _finds_them(page)
            await page.screenshot(tmp_path / "light.png")
            await _is_told_of_a_conflict(page)
            await _fits_a_phone(page, tmp_path)
            await _turns_pages(page)
            await _leaves(page)
            assert page.problems == []
            assert [url for url in page.requested if not url.startswith(base)] == []


async def _fill(page: Page, form: str, **fields: str) -> None:
    for name, value in fields.items():
        await page.evaluate(f"document.querySelector({form!r}).elements[{name!r}].value = {value!r}")


async def _click(page: Page, selector: str) -> None:
    await page.evaluate(f"document.querySelector({selector!r}).click()")


async def _said(page: Page, text: str) -> None:
    await page.wait_for(f"document.querySelector('#message').innerText.includes({text!r})")


async def _titles(page: Page, *titles: str) -> None:
    await page.wait_for(
        f"[...document.querySelectorAll('#notes h3')].map(e => e.textContent).join() === {','.join(titles)!r}"
    )


async def _signs_in(page: Page) -> None:
    assert await page.evaluate("document.querySelector('#desk').checkVisibility()") is False
    await _fill(page, "#sign-in", name="ada", password="short")
    await _click(page, "#sign-in [value=register]")
    await _said(page, "password: ")
    await _fill(page, "#sign-in", name="ada", password="correct horse")
    await _click(page, "#sign-in [value=sign-in]")
    await _said(page, "do not belong together")
    await _click(page, "#sign-in [value=register]")
    await page.wait_for("document.querySelector('#desk').checkVisibility()")
    assert await page.evaluate("document.querySelector('#account').innerText.startsWith('Signed in as ada')")
    await _sees_none(page, "No notes yet.")


async def _sees_none(page: Page, because: str) -> None:
    await page.wait_for(f"document.querySelector('#empty').checkVisibility() && empty.textContent === {because!r}")


async def _keeps_notes(page: Page) -> None:
    for title, text, tags in [
        ("Groceries", "Bread, butter\nand a lemon", "todo shop"),
        ("<img src=x onerror=alert(1)>", "<b>bold</b>", ""),
        ("Structured concurrency", "A nursery owns its tasks.", "trio todo"),
    ]:
        await _fill(page, "#new", title=title, text=text, tags=tags)
        await _click(page, "#new button")
        await page.wait_for(f"document.querySelector('#notes h3')?.textContent === {title!r}")
    await _titles(page, "Structured concurrency", "<img src=x onerror=alert(1)>", "Groceries")
    assert await page.evaluate("document.querySelectorAll('#notes img, #notes b').length") == 0


async def _finds_them(page: Page) -> None:
    await _fill(page, "#search", q="nurs")
    await _click(page, "#search button")
    await _titles(page, "Structured concurrency")
    await _fill(page, "#search", q="")
    await page.evaluate("[...document.querySelectorAll('.tags button')].find(e => e.textContent === 'todo').click()")
    await _titles(page, "Structured concurrency", "Groceries")
    await _fill(page, "#search", q="nothing like it")
    await _click(page, "#search button")
    await _sees_none(page, "There is no such note.")
    await _fill(page, "#search", q="", tag="")
    await _click(page, "#search button")
    await _titles(page, "Structured concurrency", "<img src=x onerror=alert(1)>", "Groceries")


async def _is_told_of_a_conflict(page: Page) -> None:
    await _click(page, "#notes li:last-child .edit")
    editor = "#notes li:last-child form"
    await _fill(page, editor, title="Groceries for Sunday")
    await page.evaluate(
        "fetch('notes/1', {method: 'PATCH', body: '{\"text\": \"Bread only\"}', headers: {'if-match': '\"1\"',"
        " 'content-type': 'application/merge-patch+json', authorization: 'Bearer ' + sessionStorage['notes.token']}})"
        ".then(answer => answer.status)"
    )
    await _click(page, f"{editor} button")
    await _said(page, "Somebody has changed this note meanwhile. It now says")
    # What was written is still there, and the next attempt is about the version that was shown.
    assert await page.evaluate(f"document.querySelector({editor!r}).elements.title.value") == "Groceries for Sunday"
    await _click(page, f"{editor} button")
    await _said(page, "Saved.")
    await _titles(page, "Structured concurrency", "<img src=x onerror=alert(1)>", "Groceries for Sunday")
    assert await page.evaluate("document.activeElement.textContent") == "Edit"


async def _fits_a_phone(page: Page, directory: Path) -> None:
    """On a small dark screen nothing sticks out, an open editor included; and every control has a name and a size."""
    await page.set_display(width=360, height=740, scheme="dark")
    await _click(page, "#notes li:nth-child(2) .edit")
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 22, 20)"
    assert (
        await page.evaluate("[...document.querySelectorAll('input, textarea')].filter(e => !e.labels.length).length")
        == 0
    )
    assert await page.evaluate("[...document.querySelectorAll('button')].filter(e => !e.textContent).length") == 0
    low = (
        "[...document.querySelectorAll('button, input')].filter(e => e.checkVisibility() && e.offsetHeight < 44).length"
    )
    assert await page.evaluate(low) == 0
    await page.screenshot(directory / "dark.png")
    await _click(page, "#notes li:nth-child(2) .cancel")


async def _turns_pages(page: Page) -> None:
    await page.evaluate(
        "Promise.all([...Array(20).keys()].map(n => fetch('notes', {method: 'POST',"
        " body: JSON.stringify({title: `${n}`}), headers: {'content-type': 'application/json',"
        " authorization: 'Bearer ' + sessionStorage['notes.token']}})))"
        ".then(() => 0)"
    )
    await _click(page, "#search button")
    await page.wait_for("document.querySelectorAll('#notes li').length === 20")
    await _click(page, "#more")
    await page.wait_for("document.querySelectorAll('#notes li').length === 23")
    assert not await page.evaluate("document.querySelector('#more').checkVisibility()")
    remove = "#notes li:last-child .delete"
    await _click(page, remove)
    await page.wait_for(f"document.querySelector({remove!r}).textContent === 'Really delete?'")
    await trio.sleep(0.1)
    await _click(page, remove)
    await _said(page, "Deleted.")
    assert await page.evaluate("document.querySelectorAll('#notes li').length") == 22


async def _leaves(page: Page) -> None:
    token = await page.evaluate("sessionStorage['notes.token']")
    await _click(page, "#sign-out")
    await _said(page, "Signed out.")
    assert await page.evaluate("document.querySelectorAll('#notes li').length + sessionStorage.length") == 0
    again = f"fetch('notes', {{headers: {{authorization: 'Bearer {token}'}}}}).then(answer => answer.status)"
    assert await page.evaluate(again) == 401
