"""The tour: its page, the apps below it, and both together in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from apps.conftest import Run
from apps.tour import app
from apps.tour.devtools import Page, browsing, contrast, palettes
from apps.tour.main import on_the_tour
from tests.harness import run_server
from tests.harness.sockets import SocketClient
from tests.harness.tools import require
from trivet import App, Request
from trivet.contrib.observe._tasks_page import STATIC as TASKS
from trivet.testing import TestClient

STATIC = Path(__file__).parent / "static"

METHODS = {"orders": "POST", "news": "POST", "greeting?ttl=60": "PUT"}
"""Of what cannot be called by GET, by the end of its path."""

BROKEN = """(() => {
  const found = [];
  const range = document.createRange();
  for (const line of document.querySelectorAll(".beside pre span")) {
    const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/\\w+/g)) {
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      if (range.getClientRects().length > 1) found.push(word[0]);
    }
  }
  return found;
})()"""
"""The words of the code pairs that do not stand in one line."""

_numbers = count()


async def test_page_and_its_files() -> None:
    """The page may run its own script and load its own files, and nothing from anywhere else."""
    async with TestClient(app) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert "async def loop(seconds: Seconds) -&gt; Stream:" in page.text.replace("<wbr>", "")
        assert "$" not in re.sub(r"<pre.*?</pre>", "", page.text, flags=re.DOTALL)
        for name, kind in [("css", "text/css"), ("js", "text/javascript"), ("svg", "image/svg+xml")]:
            file = await client.get(f"/static/tour.{name}")
            assert (file.status_code, file.headers["content-type"].partition(";")[0]) == (200, kind)
        assert (await client.get("/static/index.html")).status_code == 404
        assert not re.findall(r"(?:src|href|action)=\"(?:https?:)?//", page.text)


async def test_each_form_leads_somewhere(autojump_clock: MockClock) -> None:
    """What the page calls is there, below whatever prefix the tour itself is served."""
    page = (STATIC / "index.html").read_text("utf-8")
    targets = set(re.findall(r'action="([^"]+)"', page)) | set(re.findall(r'data-after="([^"]+)"', page))
    assert len(targets) > 12
    for root in ("", "/somewhere"):
        async with TestClient(app, root_path=root) as client:
            for target in targets:
                if target.startswith(("counter", "gateway")) and "service" not in target:
                    continue  # it calls others over a real network, which is not there in memory
                if target.endswith("/events"):  # which have no end
                    async with client.events(f"{root}/{target}"):
                        continue
                method = METHODS.get(target.rpartition("/")[2], "GET")
                response = await client.request(method, f"{root}/{target}", params={"seconds": "1", "ttl": "60"})
                expected = (401,) if target == "notes/notes" else (200, 201, 204)
                assert response.status_code in expected, (root, target)
            for page in ("notes/", "jobs/", "chat/", "fanout/", "mini_redis/", "upload/page", "observe/tasks"):
                assert (await client.get(f"{root}/{page}")).status_code == 200


@pytest.mark.parametrize(
    ("base", "root", "expected"),
    [
        ("http://10.0.0.1:8000", "", "http://10.0.0.1:8000/counter_service/visits"),
        ("https://10.0.0.1:8443", "/deep", "https://10.0.0.1:8443/deep/counter_service/visits"),
        ("http://[::1]:8000", "/counter", "http://[::1]:8000/counter/counter_service/visits"),
    ],
)
async def test_address_of_the_counter(base: str, root: str, expected: str) -> None:
    """A mounted app finds what is mounted beside it, on the socket's address and below the tour's own prefix."""
    below, tour = App(), App()
    address = on_the_tour("/counter_service/visits", mounted_at="/counter")

    @below.get("/")
    async def show(request: Request) -> str:
        return address(request)

    tour.mount("/counter", below)
    async with TestClient(tour, base_url=base, root_path=root) as client:
        response = await client.get(f"{root}/counter/", headers={"host": "elsewhere.test"})
    assert response.text == expected


async def test_host_header_does_not_choose_the_counter(run: Run) -> None:
    """The counter is called over HTTP on this server, whatever host the client says that this is."""
    async with run("apps.tour:app") as server, server.client() as client:
        response = await client.get("/counter/", headers={"host": "elsewhere.test"})
        assert response.text == "Welcome to my site!"
        assert (await client.get("/counter_service/visits")).json() == {"visits": 1}


def test_contrast() -> None:
    """Text can be read in both colour schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    pairs = [*product(("text", "quiet", "accent"), ("ground", "panel")), *product(("good", "bad"), ("panel",))]
    for palette in palettes(STATIC / "tour.css"):
        for ink, paper in [*pairs, ("text", "code"), ("quiet", "code"), ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


def test_frame_has_the_colours_of_the_page() -> None:
    """The tree of tasks is a page of its own, and looks like a part of this one."""
    for palette, framed in zip(palettes(STATIC / "tour.css"), palettes(TASKS / "page.css"), strict=True):
        names = palette.keys() & framed.keys()
        assert len(names) > 6
        assert {name: palette[name] for name in names} == {name: framed[name] for name in names}


async def test_backends_of_the_gateway(run: Run) -> None:
    """Each has its turn but for one that is ill, and whoever leaves the gateway leaves the backend, which notes why."""
    async with run("apps.tour:app") as server, server.client() as client:
        assert {(await client.get("/gateway/who")).text for _ in range(6)} == {"one", "two", "three"}
        assert "is here. It has who," in (await client.get("/gateway/")).text
        await client.put("/gateway_backends/one/ill")
        assert {(await client.get("/gateway/who")).text for _ in range(6)} == {"two", "three"}
        async with client.open("GET", "/gateway/slow?seconds=60") as exchange:
            await _until(client, lambda each: each["waiting"] == 1)
            exchange.leave()
        await _until(client, lambda each: each["stopped"] == ["disconnected"])
        assert (await client.put("/gateway_backends/four/ill")).status_code == 404


async def _until(client: SocketClient, found: Callable[[dict[str, Any]], bool]) -> None:
    with trio.fail_after(10):
        while not any(found(each) for each in (await client.get("/gateway_backends/")).json().values()):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.02)


@pytest.mark.slow
async def test_in_a_browser(run: Run, tmp_path: Path) -> None:
    """A visitor calls the apps from the page and sees what happened, without the internet."""
    chromium = require("chromium")
    async with run("apps.tour:app") as server:
        host, port = server.address
        base = f"http://{host}:{port}/"
        async with browsing(chromium, base) as page:
            await page.set_display(width=1300, height=900, scheme="light")
            await _tree(page)
            await _redis(page)  # by itself: it has a stream open, and a browser has six connections to a server
            async with trio.open_nursery() as nursery:
                for check in (_streams, _leaves, _is_refused, _counts, _beside_quart, _gateway):
                    nursery.start_soon(check, page)
            await page.screenshot(tmp_path / "light.png")
            assert await page.evaluate(BROKEN) == []
            await _fits_a_phone(page, tmp_path)
            assert page.problems == []
            assert [url for url in page.requested if not url.startswith((base, "data:"))] == []


@pytest.mark.slow
async def test_a_page_that_is_left_lets_go_of_its_streams() -> None:
    """A browser keeps a page for the way back, which would keep its requests: they end, and begin anew on that way."""
    chromium = require("chromium")
    hears = "(form => form && (form.channel.value = 'news', form.requestSubmit()))(document.forms.hear)"
    open_ = "typeof stream !== 'undefined' && stream.readyState === EventSource.OPEN"
    async with run_server("trivet", "apps.tour:app") as server, server.client() as client:
        base = f"http://127.0.0.1:{server.address[1]}"
        async with browsing(chromium, f"{base}/static/tour.svg") as page:
            for path, streams in (("jobs/", 1), ("mini_redis/", 2), ("observe/tasks", 1)):
                await page.call("Page.navigate", url=f"{base}/{path}")
                await page.wait_for(open_)
                await page.evaluate("globalThis.left = true")
                await page.evaluate(hears)
                await _streaming(client, streams)
                await page.call("Page.navigate", url=f"{base}/static/tour.svg")
                await _streaming(client, 0)
                await page.evaluate("history.back()")
                await page.wait_for(f"globalThis.left && {open_}")
                await _streaming(client, streams)
            assert page.problems == []


async def _streaming(client: SocketClient, count: int) -> None:
    """Wait until so many event streams are open."""
    with trio.fail_after(10):
        while str((await client.get("/observe/tasks.json")).json()["tree"]).count("/events'") != count:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.05)


async def _call(page: Page, action: str, **fields: str) -> str:
    """Fill in a form and press its button; return an expression for the newest result."""
    form = f"document.querySelector('form[action=\"{action}\"]:not([data-method])')"
    for name, value in fields.items():
        field = f"{form}.elements[{name!r}]"
        await page.evaluate(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    await page.evaluate(f"{form}.querySelector('button').click()")
    # `call` puts the newest first; a later one pushes this down, so the element itself is kept.
    name = f"window.result_{next(_numbers)}"
    await page.evaluate(f"{name} = {form}.nextElementSibling.firstElementChild; 0")
    return name


async def _ended(page: Page, result: str, how: str) -> str:
    """Wait until a call is over, and return what stands in its result."""
    await page.wait_for(f"{result}.dataset.ended === '{how}'")
    assert await page.evaluate(f"{result}.querySelector('.leave').hidden")
    text: str = await page.evaluate(f"{result}.innerText")
    return text


async def _streams(page: Page) -> None:
    result = await _call(page, "sleepers/loop", seconds="3")
    assert "/sleepers/loop?seconds=3" in await page.evaluate(f"{result}.closest('section').innerText")
    await page.wait_for(f"{result}.querySelectorAll('.chunk').length === 1")
    # The first line is there while the rest is still to come.
    assert await page.evaluate(f"{result}.dataset.ended === undefined")
    text = await _ended(page, result, "returned")
    assert text.startswith("200")
    assert await page.evaluate(f"[...{result}.querySelectorAll('.chunk')].map(e => e.textContent)") == (
        ["slept for 1 seconds\n"] * 3
    )
    times = await page.evaluate(f"[...{result}.querySelectorAll('.at')].map(e => parseFloat(e.textContent))")
    assert times == [pytest.approx(n, abs=0.7) for n in (1, 2, 3)]
    assert "content-type: text/plain" in await page.evaluate(f"{result}.querySelector('.headers').textContent")


async def _leaves(page: Page) -> None:
    result = await _call(page, "sleepers/sleep", seconds="60")
    await trio.sleep(0.5)
    await page.evaluate(f"{result}.querySelector('.leave').click()")
    assert (await _ended(page, result, "left")).startswith("You left")
    await page.wait_for(f"{result}.querySelector('.after').textContent.includes('\"stopped\":2')")


async def _is_refused(page: Page) -> None:
    result = await _call(page, "hello/hello/World", name="Zoë", excited="true")
    assert "Hello, Zoë!" in await _ended(page, result, "returned")
    result = await _call(page, "hello/hello/World", excited="yes")
    text = await _ended(page, result, "returned")
    assert text.startswith("422")
    assert '"name":"excited"' in text


async def _counts(page: Page) -> None:
    for action, answer in [
        ("counter/", "Welcome to my site!"),
        ("counter_slow/", "Error registering your visit"),
        ("counter_failing/", "Error registering your visit"),
        ("counter_down/", "Error registering your visit"),
    ]:
        result = await _call(page, action)
        assert answer in await _ended(page, result, "returned"), action
    assert await page.evaluate("document.querySelector('form[action=\"counter/\"] + ol .after code').textContent") == (
        '{"visits":1}'
    )


async def _beside_quart(page: Page) -> None:
    for side, expected in [("quart", '["card charged"]'), ("trivet", '["card charged","order recorded"]')]:
        result = await _call(page, f"beside_quart/{side}/orders")
        await trio.sleep(0.3)
        await page.evaluate(f"{result}.querySelector('.leave').click()")
        await _ended(page, result, "left")
        ledger = f"JSON.parse({result}.querySelector('.after code')?.textContent ?? 'null')"
        await page.wait_for(f"JSON.stringify({ledger}) === {expected!r}")


async def _gateway(page: Page) -> None:
    result = await _call(page, "gateway/slow", seconds="60")
    await page.wait_for("fetch('gateway_backends/').then(e => e.text()).then(e => e.includes('\"waiting\":1'))")
    await page.evaluate(f"{result}.querySelector('.leave').click()")
    await page.wait_for(f"{result}.querySelector('.after').textContent.includes('\"stopped\":[\"disconnected\"]')")


async def _redis(page: Page) -> None:
    hears = await _call(page, "mini_redis/channels/news/events")
    await page.wait_for(f"{hears}.querySelector('.body').textContent.includes('subscribed')")
    says = await _call(page, "mini_redis/channels/news", message="it\u2019s one")
    assert '{"heard":1}' in await _ended(page, says, "returned")
    assert "curl -iN -X POST --data-raw 'it\u2019s one' 'http" in await page.evaluate("document.body.innerText")
    await page.wait_for(f"{hears}.querySelector('.body').textContent.includes('it\u2019s one')")
    await page.evaluate(f"{hears}.querySelector('.leave').click()")
    await page.wait_for(f"{hears}.querySelector('.after').textContent.includes('\"channels\":{{}}')")
    form = "document.querySelector('form[data-body=value]')"
    await page.evaluate(f"{form}.querySelector('button').click()")
    await page.wait_for(f'{form}.nextElementSibling.textContent.includes(\'"value":"hello"\')')
    assert await page.evaluate(f'/"until":[0-9]/.test({form}.nextElementSibling.textContent)')


async def _tree(page: Page) -> None:
    """Whoever sleeps is seen beside the apps, and whoever leaves is seen to go, with the reason."""
    frame = "document.querySelector('iframe').contentDocument"
    sleeper = f"[...{frame}.querySelectorAll('li.request')].find(e => e.innerText.includes('GET /sleepers/sleep'))"
    assert await page.evaluate("document.getElementById('tree').open")
    await page.wait_for(f"{frame}.getElementById('summary')?.textContent.includes('task')")
    result = await _call(page, "sleepers/sleep", seconds="10")
    await page.wait_for(f"{sleeper}?.innerText.includes('waits for trio.sleep')")
    assert await page.evaluate(f"{sleeper} === {frame}.querySelector('#tree > li')")  # before the services
    await page.evaluate(f"{result}.querySelector('.leave').click()")
    ended = f"[...{frame}.querySelectorAll('#ended li')].find(e => e.innerText.includes('GET /sleepers/sleep'))"
    await page.wait_for(f"{ended}?.innerText.includes('its client left')")
    await page.wait_for(f"!{sleeper}")


async def _fits_a_phone(page: Page, directory: Path) -> None:
    """On a small dark screen nothing sticks out, with all there is on show; and every control has a name."""
    await page.set_display(width=360, height=740, scheme="dark")
    await page.wait_for("!document.getElementById('tree').open")
    assert await page.evaluate("document.querySelector('aside').offsetHeight") <= 50
    await page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    wide = "[...document.querySelectorAll('.beside pre, .code pre')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert await page.evaluate(wide) == 0
    assert await page.evaluate(BROKEN) == []
    frame = "document.querySelector('iframe').contentDocument.scrollingElement"
    assert await page.evaluate(f"{frame}.scrollWidth <= {frame}.clientWidth")
    assert await page.evaluate("document.scrollingElement.scrollWidth") == 360
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 22, 20)"
    assert await page.evaluate("[...document.querySelectorAll('input')].filter(e => !e.labels.length).length") == 0
    assert await page.evaluate("[...document.querySelectorAll('button')].filter(e => !e.textContent).length") == 0
    low = "[...document.querySelectorAll('button')].filter(e => !e.hidden && e.offsetHeight < 44).length"
    assert await page.evaluate(low) == 0
    await page.screenshot(directory / "dark.png")
