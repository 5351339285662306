"""What the tour shows beside the apps: it runs, does what the page says of it, and is what stands in the files."""

from __future__ import annotations

import httpx
import pytest
import trio

from apps.hello import main as hello
from apps.tour import shown
from tests.harness import free_port, run_server
from tests.harness.tools import require


@pytest.mark.live
@pytest.mark.slow
async def test_the_other_halves_do_what_the_page_says() -> None:
    """Those that are written with care notice who leaves; the others go on, and tell of success before they have it."""
    require("module:fastapi")
    async with run_server("hypercorn", "apps.tour.without:app", "--worker-class", "asyncio") as server:
        host, port = server.address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
            assert (await client.get("/hello/Ada", params={"excited": "true"})).text == "Hello, Ada!"
            assert (await client.get("/sleep", params={"seconds": "0.01"})).status_code == 200
            with trio.move_on_after(0.5):
                await client.get("/sleep", params={"seconds": "60"})
            # It goes through twice: this server is its own backend.
            sleep = f"http://{host}:{port}/sleep?seconds="
            answer = await client.get("/gateway", params={"url": f"{sleep}0.01"})
            assert answer.text == "slept for 0.01 seconds\n"
            with trio.move_on_after(0.5):
                await client.get("/gateway", params={"url": f"{sleep}60"})
            # gather: the first has failed, and the second goes on for nobody.
            assert (await client.get("/page", params={"section": ["0.01!", "0.2"]})).status_code == 500
            assert (await client.post("/uploads", content=b"x" * 1000)).text == "1000"
            port = free_port()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_served, client, port)
                await _echoed(port)
            # The commit fails, and the client has been told that all is well.
            assert (await client.put("/notes", params={"title": ""})).status_code == 200
            with trio.fail_after(10):
                while len(found := (await client.get("/log")).json()) < 6:  # noqa: ASYNC110 - it tells nobody
                    await trio.sleep(0.02)
        await server.wait_output("a title is missing")
    assert sorted(found) == ["finished", "finished", "section 0.01!", "section 0.2", "stopped", "stopped"]


async def _served(client: httpx.AsyncClient, port: int) -> None:
    """It ends its clients, of whom there is one, and who has nothing to say."""
    assert (await client.get("/serve", params={"port": port, "seconds": "0.5"})).text == "1"


async def _echoed(port: int) -> None:
    with trio.fail_after(5):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                break
            except OSError:
                await trio.sleep(0.02)
        async with stream:
            await stream.send_all(b"hello\n")
            assert await stream.receive_some() == b"hello\n"
            assert await stream.receive_some() == b""


def test_lines_of_a_function() -> None:
    """From the one that begins with some text to the next that has another."""
    assert shown.excerpt(hello.hello, "async def", "return").startswith("async def hello(name: str")
    assert shown.excerpt(hello.hello, "return", "return") == "return f\"Hello, {name}{'!' if excited else '.'}\""


@pytest.mark.parametrize(("first", "last"), [("no such", "return"), ("return", "async def")])
def test_lines_that_are_not_there(first: str, last: str) -> None:
    """Whoever changes them changes what the tour shows."""
    with pytest.raises(LookupError, match="hello has no lines"):
        shown.excerpt(hello.hello, first, last)


def test_each_comparison_has_two_halves() -> None:
    """And what one of them is called stands in the other, so that nobody compares what is different."""
    assert set(shown.FEW) == set(shown.WITHOUT)
    page = {name: text.replace("<wbr>", "") for name, text in shown.shown().items()}
    assert "asyncio.create_task(asyncio.sleep(seconds))" in page["sleepers_beside"]
    assert "await trio.sleep(seconds)" in page["sleepers_beside"]
