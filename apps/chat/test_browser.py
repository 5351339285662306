"""The page in browsers: two people in one room, a large screen and a small one, a server that is restarted."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import pytest
import trio

from apps.chat import main
from apps.chat.limits import Limits
from apps.chat.rooms import Rooms, open_rooms
from apps.tour.devtools import Page, browsing, contrast, palettes
from tests.harness import run_server, serving
from tests.harness.redis_server import redis_server
from tests.harness.tools import require

STATIC = Path(__file__).parent / "static"

TEXTS = "[...document.querySelectorAll('#log .text')].map((each) => each.textContent)"
"""What was said, as the page shows it."""

MISSING = "Something may be missing here."


def test_contrast() -> None:
    """Text can be read in both colour schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    pairs = [*product(("text", "quiet", "accent", "bad"), ("ground", "panel")), ("text", "mine"), ("quiet", "mine")]
    for palette in palettes(STATIC / "page.css"):
        for ink, paper in [*pairs, ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


@pytest.mark.live
@pytest.mark.slow
async def test_two_browsers_in_one_room(tmp_path: Path) -> None:
    """They talk, lose their connection, lose their server and have another, and one of them is closed."""
    chromium = require("chromium")
    async with run_server("trivet", "apps.chat:app", "--graceful-timeout", "1") as server:
        port = server.address[1]
        base = f"http://127.0.0.1:{port}/"
        async with browsing(chromium, base) as ada:
            await ada.set_display(width=1000, height=800, scheme="light")
            async with browsing(chromium, base + "#tea") as bob:
                await bob.set_display(width=360, height=740, scheme="dark")
                await bob.screenshot(tmp_path / "door-dark.png")
                await _fits(bob)
                await _enter(ada, "Ada", "tea")
                await _enter(bob, "<i>Bob</i>")
                await _talk(ada, bob, tmp_path)
                await _lose_the_connection(ada, bob)
                server.send_signal(signal.SIGTERM)
                await server.wait()
                await _write_meanwhile(ada, tmp_path)
                async with run_server("trivet", "apps.chat:app", port=port):
                    await _come_back(ada, bob)
                    asked = [*ada.requested, *bob.requested]
                    assert ada.problems == bob.problems == []
                    assert [url for url in asked if not url.startswith((base, "data:"))] == []
                    await bob.call("Page.close")
                    await ada.wait_for("document.querySelector('#people summary').textContent === 'Only you'")
                    await ada.evaluate("document.getElementById('leave').click()")
                    assert await ada.evaluate("document.activeElement.id") == "room"


@pytest.mark.live
@pytest.mark.slow
async def test_a_crowd_comes_and_goes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that cannot be told of each have one message for all, and show who is there: also one that was away."""
    opened = list[Rooms]()

    @asynccontextmanager
    async def open_known(limits: Limits, redis_url: str | None) -> AsyncGenerator[Rooms]:
        async with open_rooms(limits, redis_url) as rooms:
            opened.append(rooms)
            yield rooms

    monkeypatch.setattr(main, "open_rooms", open_known)
    chromium = require("chromium")
    async with serving("trivet", main.create_app(Limits())) as client, browsing(chromium, f"{client.base_url}") as ada:
        await ada.set_display(width=1000, height=800, scheme="light")
        async with browsing(chromium, f"{client.base_url}#tea") as bob:
            await bob.set_display(width=360, height=740, scheme="dark")
            await _enter(ada, "Ada", "tea")
            await _enter(bob, "Bob")
            await _sees(ada, ["Ada", "Bob"])
            await _press(bob, "I a")
            await ada.wait_for("document.getElementById('typing').textContent.includes('Bob')")
            async with _crowd(opened[0]) as names:
                for page in (ada, bob):
                    await _sees(page, [*names, "Ada", "Bob"])
                await ada.screenshot(tmp_path / "crowd-light.png")
                await bob.screenshot(tmp_path / "crowd-closed-dark.png")
                await bob.evaluate("document.getElementById('people').open = true")
                await bob.screenshot(tmp_path / "crowd-dark.png")
                await _fits(bob)
                await bob.evaluate("wire.pause()")
                await _sees(ada, [*names, "Ada"])
            await _sees(ada, ["Ada"])
            await bob.evaluate("wire.again()")
            for page in (ada, bob):
                await _sees(page, ["Ada", "Bob"])
            remarks = "[...document.querySelectorAll('#log .remark')].map((each) => each.textContent)"
            assert len(await ada.evaluate(remarks)) == 3  # Bob has come, gone, and come
            assert await bob.evaluate(remarks) == []
            assert ada.problems == bob.problems == []


@pytest.mark.live
@pytest.mark.slow
async def test_two_windows_at_two_servers(tmp_path: Path) -> None:
    """They talk by way of a Redis; when it is started again they are still connected, and see that it has forgotten."""
    chromium = require("chromium")
    async with (
        redis_server() as redis,
        serving("trivet", main.create_app(Limits(), redis.url)) as one,
        serving("trivet", main.create_app(Limits(), redis.url)) as other,
        browsing(chromium, f"{one.base_url}#tea") as ada,
        browsing(chromium, f"{other.base_url}#tea") as bob,
    ):
        assert one.base_url != other.base_url
        await ada.set_display(width=1000, height=800, scheme="light")
        await bob.set_display(width=360, height=740, scheme="dark")
        await _enter(ada, "Ada")
        await _enter(bob, "Bob")
        for page in (ada, bob):
            await _sees(page, ["Ada", "Bob"])
        await _say(ada, "one")
        await bob.wait_for(f"{TEXTS}.join() === 'one'")
        redis.kill()
        await _say(bob, "two")
        await bob.wait_for("document.getElementById('news').textContent.includes('The rooms are away')")
        await bob.screenshot(tmp_path / "away-dark.png")
        await redis.start()
        for _ in range(20):  # what was refused is in the field again
            await _say(bob, "")
            with trio.move_on_after(1):
                await ada.wait_for(f"{TEXTS}.join() === 'one,two'")
                break
        for page in (ada, bob):
            await page.wait_for(f"{TEXTS}.join() === 'one,two'")  # where it was said it may still wait for the answer
            await page.wait_for(f"document.body.innerText.includes('{MISSING}')")
            await _sees(page, ["Ada", "Bob"])
        await ada.screenshot(tmp_path / "back-light.png")
        assert ada.problems == bob.problems == []


@asynccontextmanager
async def _crowd(rooms: Rooms) -> AsyncGenerator[list[str]]:
    """So many are in a room, from one turn of the loop to another, that nobody can be told of each."""
    names = [f"Guest {number}" for number in range(rooms.limits.waiting + 50)]

    async def be_there(name: str) -> None:
        async with rooms.enter("tea", name, None):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(be_there, name)
        yield names
        nursery.cancel_scope.cancel()


async def _sees(page: Page, names: list[str]) -> None:
    """The page has these people in its list, in some order, and their number above it."""
    listed = "[...document.querySelectorAll('#people li')].map((each) => each.textContent)"
    await page.wait_for(f"{listed}.length === {len(names)}")
    assert sorted(await page.evaluate(listed)) == sorted(names)
    number = "Only you" if len(names) == 1 else f"{len(names)} people"
    assert await page.evaluate("document.querySelector('#people summary').textContent") == number


async def _talk(ada: Page, bob: Page, directory: Path) -> None:
    """What one writes is text to the other, whatever it looks like; they see each other type."""
    await ada.wait_for("document.querySelectorAll('#people li').length === 2")
    await _say(bob, '<img src="x" onerror="document.title=1">')
    await ada.wait_for(f'{TEXTS}[0] === \'<img src="x" onerror="document.title=1">\'')
    await _say(ada, "Hello <b>")
    await bob.wait_for(f"{TEXTS}.length === 2")
    assert await bob.evaluate("document.querySelectorAll('#log :is(b, i, img)').length") == 0
    await _press(ada, "I a")
    await bob.wait_for("document.getElementById('typing').textContent.includes('Ada')")
    await bob.screenshot(directory / "inside-dark.png")
    await _fits(bob)
    # What the server refuses comes back to be changed.
    await ada.evaluate("document.getElementById('text').value = ''")
    await ada.evaluate("document.getElementById('text').removeAttribute('maxlength')")
    await _say(ada, 2001 * "x")
    await ada.wait_for("document.getElementById('news').textContent.startsWith('Not sent. It has 2001 characters')")
    assert await ada.evaluate("document.getElementById('text').value.length") == 2001
    assert await ada.evaluate(f"{TEXTS}.length") == 2
    await ada.screenshot(directory / "inside-light.png")
    await ada.evaluate("document.getElementById('text').value = ''")


async def _lose_the_connection(ada: Page, bob: Page) -> None:
    """What was said meanwhile is there when it is back; nothing is missing, nothing there twice."""
    await bob.evaluate("wire.pause()")
    await ada.wait_for("document.querySelectorAll('#people li').length === 1")
    await _say(ada, "one")
    await ada.wait_for(f"{TEXTS}[2] === 'one' && document.querySelectorAll('.waits').length === 0")
    await bob.evaluate("wire.again()")
    await bob.wait_for(f"{TEXTS}.length === 3 && {TEXTS}[2] === 'one'")
    assert MISSING not in await bob.evaluate("document.body.innerText")


async def _write_meanwhile(ada: Page, directory: Path) -> None:
    """While the server is away, a message waits on the page."""
    await ada.wait_for("document.getElementById('link').classList.contains('bad')")
    await _say(ada, "meanwhile")
    await ada.wait_for("document.querySelectorAll('.waits').length === 1")
    await ada.screenshot(directory / "away-light.png")


async def _come_back(ada: Page, bob: Page) -> None:
    """By themselves: what waited is said once, and both are told that this server knows nothing of the one before."""
    for page in (ada, bob):
        await page.wait_for("document.getElementById('link').textContent.startsWith('You are here')", 20)
        await page.wait_for(f"{TEXTS}.slice(2).join() === 'one,meanwhile'")
        assert MISSING in await page.evaluate("document.body.innerText")
        await page.wait_for("document.querySelectorAll('.waits').length === 0")
    await _say(bob, "after")
    await ada.wait_for(f"{TEXTS}.slice(2).join() === 'one,meanwhile,after'")


async def _enter(page: Page, name: str, room: str | None = None) -> None:
    """Fill in the form, if the address has not, and press its button."""
    if room is not None:
        await page.evaluate(f"document.getElementById('room').value = {room!r}")
    await page.evaluate(f"document.getElementById('name').value = {name!r}; document.forms[0].requestSubmit()")
    await page.wait_for("document.getElementById('link').textContent.startsWith('You are here')")
    assert await page.evaluate("document.activeElement.id") == "text"


async def _press(page: Page, text: str) -> None:
    """Press keys, as a person does: into whatever has the focus."""
    await page.call("Input.insertText", text=text)


async def _say(page: Page, text: str) -> None:
    await _press(page, text)
    for kind in ("keyDown", "keyUp"):
        await page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)


async def _fits(page: Page) -> None:
    """On a small screen nothing sticks out; every control has a name and is large enough for a finger."""
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    assert await page.evaluate("document.scrollingElement.scrollHeight") == 740
    seen = "[...document.querySelectorAll('input, textarea, button, summary')].filter((e) => e.checkVisibility())"
    assert await page.evaluate(f"{seen}.filter((e) => e.matches('input, textarea') && !e.labels.length).length") == 0
    assert await page.evaluate(f"{seen}.filter((e) => e.matches('button') && !e.textContent).length") == 0
    assert await page.evaluate(f"{seen}.filter((e) => e.offsetHeight < 44).map((e) => e.outerHTML).join()") == ""
