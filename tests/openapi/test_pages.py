"""`/openapi.json` and `/docs`: where they are, what they answer, and to what they give way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from apps.tour.devtools import Page, browsing
from tests.harness import Serve, run_server
from tests.harness.tools import require
from trivet import App, Depends, HTTPError, Next, Request, Response
from trivet._docs import TYPES
from trivet.errors import RouteConflict
from trivet.testing import TestClient


async def anything() -> str:
    return "mine"


def application(**options: Any) -> App:
    app = App(**options)
    app.get("/mine")(anything)
    return app


async def test_the_document_is_served(serve: Serve) -> None:
    """As JSON, with an entity tag by which it is not sent again."""
    app = application()
    async with serve(app) as client:
        first = await client.get("/openapi.json")
        assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
        assert first.json() == app.openapi()
        head = await client.head("/openapi.json")
        assert (head.status_code, head.headers["etag"]) == (200, first.headers["etag"])
        for tags in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
            again = await client.get("/openapi.json", headers={"if-none-match": tags})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
            assert "content-type" not in again.headers
        other = await client.get("/openapi.json", headers={"if-none-match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)


async def test_the_page_and_its_files_are_served(serve: Serve) -> None:
    """From this server only, and the page may run no other script."""
    async with serve(application(title="<Mine & yours>")) as client:
        page = await client.get("/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<title>&lt;Mine &amp; yours&gt;</title>" in page.text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert not re.findall(r"https?:|\"//|<script>", page.text)
        for target in re.findall(r'(?:src|href|data-url|data-redirect)="([^"]+)"', page.text):
            if target.startswith("data:"):
                continue
            file = await client.get(f"/{target}")
            assert file.status_code == 200, target
            kind = TYPES.get(Path(target).suffix, "application/json")
            assert file.headers["content-type"].partition(";")[0] == kind
            assert (await client.get(f"/{target}", headers={"if-none-match": file.headers["etag"]})).status_code == 304
        assert (await client.get("/docs/other.js")).status_code == 404
        assert (await client.get("/docs/..%2F..%2F__init__.py")).status_code == 404


async def test_below_a_prefix_all_of_it_is_found() -> None:
    """What the page names is relative; the document says where its paths are."""
    inner, outer = application(), App()
    outer.mount("/in", inner)
    for app, prefix, root in ((inner, "/root", "/root"), (outer, "/in", ""), (outer, "/root/in", "/root")):
        async with TestClient(app, root_path=root) as client:
            document = (await client.get(f"{prefix}/openapi.json")).json()
            assert (document["servers"], list(document["paths"])) == ([{"url": prefix}], ["/mine"])
            page = (await client.get(f"{prefix}/docs")).text
            assert 'src="docs/start.js" data-url="openapi.json"' in page
    async with TestClient(outer) as client:
        document = (await client.get("/openapi.json")).json()
        assert "servers" not in document
        assert list(document["paths"]) == ["/in/mine"]


async def test_they_can_be_elsewhere() -> None:
    """And the page finds the document there."""
    async with TestClient(application(openapi_url="/v1/schema.json", docs_url="/help/api")) as client:
        assert (await client.get("/v1/schema.json")).status_code == 200
        page = await client.get("/help/api")
        assert 'src="api/start.js" data-url="../v1/schema.json"' in page.text
        assert (await client.get("/help/api/start.js")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 404
        assert (await client.get("/docs")).status_code == 404


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (200, 200)), ({"docs_url": None}, (200, 404)), ({"openapi_url": None}, (404, 404))],
)
async def test_they_can_be_off(options: dict[str, Any], expected: tuple[int, int]) -> None:
    """The page without the document would have nothing to show; the application can tell it still."""
    app = application(**options)
    async with TestClient(app) as client:
        found = ((await client.get("/openapi.json")).status_code, (await client.get("/docs")).status_code)
    assert found == expected
    assert list(app.openapi()["paths"]) == ["/mine"]


@pytest.mark.parametrize(
    ("path", "asked", "page"),
    [
        ("/docs", "/docs", "mine"),
        ("/{name}", "/docs", "mine"),
        ("/{rest:path}", "/docs", "mine"),
        ("/docs/{name}", "/docs/start.js", None),
    ],
)
async def test_they_give_way_to_routes(path: str, asked: str, page: str | None) -> None:
    """Where nobody said where they are to be, nothing that the application answers changes."""
    app = App()
    app.get(path)(_takes(path))
    async with TestClient(app) as client:
        assert (await client.get(asked)).text == "mine"
        found = await client.get("/docs")
        assert (found.text if page else found.status_code) == (page or 404)
        taken = path in ("/{name}", "/{rest:path}")
        assert ((await client.get("/openapi.json")).text == "mine") is taken


def _takes(path: str) -> Any:
    async def name_of(name: str) -> str:
        return "mine"

    async def rest_of(rest: str) -> str:
        return "mine"

    return rest_of if "rest" in path else name_of if "name" in path else anything


async def test_they_give_way_to_a_mounted_application() -> None:
    """What is mounted there has all below it, as before."""

    async def other(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"other"})

    app = App()
    app.mount("/docs", other)
    async with TestClient(app) as client:
        assert (await client.get("/docs")).text == (await client.get("/docs/start.js")).text == "other"
        assert (await client.get("/openapi.json")).status_code == 200


def test_a_path_that_was_asked_for_is_a_conflict() -> None:
    """Where it was said where they are to be, a route there is refused at its line."""
    app = App(docs_url="/docs")
    with pytest.raises(RouteConflict, match="docs_page"):
        app.get("/docs")(anything)


async def test_they_take_the_middleware_but_not_the_dependencies() -> None:
    """A browser that opens the page has no token yet."""

    async def refuse() -> None:
        raise HTTPError(401)

    app = application(dependencies=[Depends(refuse)])

    @app.middleware
    async def marked(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response

    async with TestClient(app) as client:
        assert (await client.get("/mine")).status_code == 401
        for path in ("/docs", "/openapi.json", "/docs/start.js"):
            response = await client.get(path)
            assert (response.status_code, response.headers["x-marked"]) == (200, "yes")


async def test_without_the_extra_the_page_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """501, and what to install; the document is there all the same."""
    monkeypatch.setattr("trivet._docs.PACKAGE", "not_installed_here")
    async with TestClient(application()) as client:
        for path in ("/docs", "/docs/swagger-ui.css"):
            response = await client.get(path)
            assert (response.status_code, "pip install 'trivet[docs]'" in response.json()["detail"]) == (501, True)
        assert (await client.get("/openapi.json")).status_code == 200


@pytest.mark.live
@pytest.mark.slow
async def test_in_a_browser(tmp_path: Path) -> None:
    """The page lists the operations and calls one, with the network off and nothing that its policy bars."""
    chromium = require("chromium")
    async with run_server("trivet", "tests.openapi.everything:app") as server:
        host, port = server.address
        base = f"http://{host}:{port}/"
        async with browsing(chromium, f"{base}docs") as page:
            await page.set_display(width=1100, height=900, scheme="light")
            await page.wait_for("document.querySelectorAll('.opblock').length === 28")
            summary = "document.querySelector('#operations-items-items .opblock-summary-description').textContent"
            assert await page.evaluate(summary) == "List items."
            answer = await _tried(page, "operations-items-items")
            assert '"name": "pen"' in answer
            # A phone: nothing is cut off.
            await page.set_display(width=390, height=740, scheme="light")
            assert await page.evaluate("document.scrollingElement.scrollWidth") <= 390
            await page.screenshot(tmp_path / "docs.png")
            await page.set_display(width=390, height=740, scheme="dark")
            await page.wait_for("getComputedStyle(document.documentElement).backgroundColor === 'rgb(28, 32, 34)'")
            assert page.problems == []
            assert [url for url in page.requested if not url.startswith((base, "data:"))] == []
            # The network is off in earnest: not even this server is found by its other name, or one beside it.
            for elsewhere in ("localhost", "127.0.0.2", "203.0.113.1"):
                lost = await page.call("Page.navigate", url=f"http://{elsewhere}:{port}/docs")
                assert lost["errorText"] == "net::ERR_NAME_NOT_RESOLVED", elsewhere


async def _tried(page: Page, operation: str) -> str:
    """Try an operation, and return what the page shows of the answer."""
    block = f"document.getElementById('{operation}')"
    for button in (".opblock-summary-control", ".try-out__btn", ".execute"):
        await page.wait_for(f"{block}.querySelector('{button}') !== null")
        await page.evaluate(f"{block}.querySelector('{button}').click()")
    status = f"{block}.querySelector('.live-responses-table .response .response-col_status')"
    await page.wait_for(f"{status} !== null")
    assert (await page.evaluate(f"{status}.innerText")).strip() == "200"
    text: str = await page.evaluate(f"{block}.querySelector('.live-responses-table').innerText")
    return text
