"""The HTTP face, beside clients over TCP, of one engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import trio
import trio.testing
from hypercorn.config import Config

from apps.conftest import Run
from apps.mini_redis import main
from apps.mini_redis.alone import open_server
from apps.mini_redis.conftest import Wire
from apps.mini_redis.server import Server
from apps.mini_redis.settings import Fsync, Settings
from apps.tour.devtools import browsing, contrast, palettes
from tests.harness import free_port
from tests.harness.tools import require
from trivet.server import serve
from trivet.testing import LifespanFailed, TestClient

pytestmark = pytest.mark.live
STATIC = Path(__file__).parent / "static"
LINES = """[...document.querySelectorAll('thead th')].map((each) => {
  const text = document.createRange();
  text.selectNodeContents(each);
  return [each.textContent, each.scrollWidth > each.clientWidth ? NaN : text.getClientRects().length];
})"""


@asynccontextmanager
async def site(log: Path | None = None) -> AsyncGenerator[tuple[TestClient, Server]]:
    servers: list[Server] = []

    @asynccontextmanager
    async def open_redis() -> AsyncGenerator[Server]:
        async with open_server(Settings(port=0, drain=0.5, log=log)) as server:
            servers.append(server)
            yield server

    with main.app.override(main.open_redis, open_redis):
        async with TestClient(main.app) as client:
            yield client, servers[0]


async def test_a_full_disk_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be changed, and who tries is told so; what there is can be read."""

    def fail(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    async with site(tmp_path / "log") as (client, _):
        assert (await client.put("/keys/a", content=b"1")).status_code == 204
        with monkeypatch.context() as patch:
            patch.setattr("os.write", fail)
            for _ in range(2):  # the first one finds out
                assert (await client.put("/keys/b", content=b"1")).status_code == 503
            response = await client.delete("/keys/a")
            assert (response.status_code, response.json()["detail"]) == (503, main.FULL)
            assert (await client.get("/keys/a")).content == b"1"


@pytest.mark.parametrize("fsync", get_args(Fsync))
async def test_a_change_during_the_drain_is_kept_like_any_other(tmp_path: Path, fsync: Fsync) -> None:
    """Clients over TCP are gone by then; the log is there for as long as anybody may change something."""
    path, stop, config = tmp_path / "log", trio.Event(), Config()
    config.bind = ["127.0.0.1:0"]
    listens = free_port()
    app = main.create_app(Settings(port=listens, log=path, fsync=fsync))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, app, config, shutdown_trigger=stop.wait))
            async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
                await stream.send_all(b"PUT /keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
                with Wire(listens) as wire:  # TCP is served
                    assert await trio.to_thread.run_sync(wire.ask, "PING") == b"PONG"
                    stop.set()
                    with pytest.raises((EOFError, OSError)):
                        await trio.to_thread.run_sync(wire.read)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await stream.send_all(b"2")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 204 ")
                assert b"a\r\n$2\r\n12\r\n" in path.read_bytes()
                await trio.aclose_forcefully(stream)


async def test_keys_over_http_are_those_over_tcp() -> None:
    """Set here, read there, and back; bytes are bytes, and a key may be any text."""
    async with site() as (client, server):
        assert (await client.get("/keys/a")).status_code == 404
        assert (await client.put("/keys/a?ttl=100", content=b"\x00\xff")).status_code == 204

        def there() -> list[Any]:
            with Wire(server.port) as wire:
                return [wire.ask("GET", "a"), wire.ask("TTL", "a"), wire.ask("SET", "caf\u00e9/x", "tcp")]

        value, ttl, done = await trio.to_thread.run_sync(there)
        assert (value, done) == (b"\x00\xff", b"OK")
        assert 98 <= ttl <= 100
        response = await client.get("/keys/caf%C3%A9%2Fx")
        assert (response.status_code, response.content) == (200, b"tcp")
        assert response.headers["content-type"] == "application/octet-stream"
        listed = (await client.get("/keys")).json()
        assert {each["key"]: each["size"] for each in listed["keys"]} == {"a": 2, "caf\u00e9/x": 3}
        assert (await client.delete("/keys/a")).status_code == 204
        assert (await client.delete("/keys/a")).status_code == 404
        assert (await client.put("/keys/a?ttl=0", content=b"")).status_code == 422


async def test_each_key_that_is_shown_says_how_a_path_names_it() -> None:
    """Or that none does: a key of bytes looks like another one's text, and may not be taken for it."""
    named = ["caf\u00e9/x?", "%2F", "bin\\xff", "..."]
    unnamed = [b"bin\xff", b"bin\\xff\xff", b"", b".", b"..", b"a\0b", b"x" * 1025]
    async with site() as (client, server):

        def put() -> None:
            with Wire(server.port) as wire:
                for key in [each.encode() for each in named] + unnamed:
                    assert wire.ask("SET", key, key or b"empty") == b"OK"

        await trio.to_thread.run_sync(put)
        listed = (await client.get("/keys")).json()["keys"]
        assert len({each["key"] for each in listed if each["path"] is None}) == len(unnamed)
        paths = [each["path"] for each in listed if each["path"] is not None]
        assert [(await client.get(f"/keys/{path}")).content.decode() for path in paths] == named


async def test_a_channel_is_heard_as_events() -> None:
    """What is published over either; and whoever leaves is no longer subscribed."""
    async with site() as (client, server):
        async with client.events("/channels/news/events") as events:
            assert (await anext(events)).event == "subscribed"
            assert (await client.post("/channels/news", content=b"one")).json() == {"heard": 1}
            assert (await anext(events)).json() == {"channel": "news", "data": "one"}

            def say() -> Any:
                with Wire(server.port) as wire:
                    return wire.ask("PUBLISH", "news", "two")

            assert await trio.to_thread.run_sync(say) == 1
            assert (await anext(events)).json()["data"] == "two"
        assert (await client.post("/channels/news", content=b"one")).json() == {"heard": 0}


@pytest.mark.parametrize(("method", "path"), [("POST", "/channels/news"), ("PUT", "/keys/a"), ("DELETE", "/keys/a")])
async def test_a_page_of_another_site_changes_nothing(method: str, path: str) -> None:
    """A browser may be had to POST by any page; our own may, and so may who is no browser."""
    async with site() as (client, server):
        await client.put("/keys/a", content=b"1")
        for fields in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
            assert (await client.request(method, path, content=b"2", headers=fields)).status_code == 403
        assert server.engine.stores[0].get(b"a") == b"1"
        assert server.engine.counted.published == 0
        response = await client.request(method, path, content=b"2", headers={"sec-fetch-site": "same-origin"})
        assert response.status_code in (200, 204)


async def test_the_page_is_told_of_changes() -> None:
    """Of what there is now, then whenever it differs."""
    async with site() as (client, _), client.events("/events") as events:
        assert (await anext(events)).json()["total"] == 0
        await client.put("/keys/a", content=b"x" * 500)
        (key,) = (await anext(events)).json()["keys"]
        assert (key["size"], len(key["value"]), key["until"]) == (500, 200, None)


async def test_what_is_long_is_told_in_short() -> None:
    """A key of a megabyte, set over TCP, is its beginning to a page; it is looked at four times a second."""
    async with site() as (client, server):

        def set_it() -> Any:
            with Wire(server.port) as wire:
                return wire.ask("SET", b"k" * 1_000_000, "x")

        assert await trio.to_thread.run_sync(set_it) == b"OK"
        response = await client.get("/keys")
        assert len(response.content) < 2000
        assert response.json()["total"] == 1


async def test_it_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second worker would fight for the port, or have keys of its own: it refuses to start, and says why."""
    monkeypatch.setenv("MINI_REDIS_BIND", "127.0.0.1:0")
    monkeypatch.setenv("TRIVET_WORKER_INDEX", "0")
    async with TestClient(main.create_app()) as client:
        assert (await client.get("/keys")).json()["total"] == 0
    monkeypatch.setenv("TRIVET_WORKER_INDEX", "1")
    with pytest.raises(LifespanFailed, match=r"mini_redis is one process.*\n.*--workers 1"):
        async with TestClient(main.create_app()):
            pass


def test_contrast() -> None:
    """Text can be read in both colour schemes: at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    for palette in palettes(STATIC / "page.css"):
        for ink, paper in [*product(("text", "quiet", "accent", "bad"), ("ground", "panel")), ("on-accent", "accent")]:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)


async def test_it_says_where_it_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the log has but warnings of others, as that of `trivet run`."""
    assert logging.getLogger().level == logging.WARNING
    async with site() as (_, server):
        assert f"RESP is spoken on 127.0.0.1:{server.port}" in caplog.messages


@pytest.mark.slow
async def test_in_a_browser(run: Run) -> None:
    """Keys come and go on the page, as they do over TCP."""
    chromium = require("chromium")
    port = free_port()
    async with run("apps.mini_redis:app", environment={"MINI_REDIS_BIND": f"127.0.0.1:{port}"}) as server:
        base = "http://{}:{}/".format(*server.address)
        async with browsing(chromium, base) as page:
            await page.set_display(width=360, height=740, scheme="dark")
            with Wire(port) as wire:
                assert wire.ask("SET", "from tcp", "1", "EX", "100") == b"OK"
                await page.wait_for("document.getElementById('keys').innerText.includes('from tcp')")
                await page.evaluate(
                    "get('key').value = 'from page'; get('value').value = 'x'; get('set').requestSubmit(); 1"
                )
                await page.wait_for("document.querySelectorAll('#keys tr').length === 2")
                assert wire.ask("GET", "from page") == b"x"
                await page.evaluate("get('channel').value = 'news'; get('hear').requestSubmit(); 1")
                await page.wait_for("document.getElementById('channels').innerText.includes('news: 1')")
                wire.ask("PUBLISH", "news", "hello")
                await page.wait_for("document.getElementById('messages').innerText.includes('hello')")
                await page.evaluate("document.querySelector('#keys button').click()")
                await page.wait_for("document.querySelectorAll('#keys tr').length === 1")
                for key in (b"bin\\xff", b"bin\xff"):
                    assert wire.ask("SET", key, "1") == b"OK"
                await page.wait_for("document.querySelectorAll('#keys tr').length === 3")
                assert await page.evaluate("document.querySelectorAll('#keys button').length") == 2
                await page.evaluate("document.querySelector('[aria-label^=\\'Delete bin\\']').click()")
                await page.wait_for("document.querySelectorAll('#keys tr').length === 2")
                assert wire.ask("GET", b"bin\xff") == b"1"
            for width in (1280, 360):
                await page.set_display(width=width, height=740, scheme="dark")
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert await page.evaluate(LINES) == [["Key", 1], ["Value", 1], ["Expires", 1]], width
            assert page.problems == []
