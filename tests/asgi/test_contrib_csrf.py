"""What other sites' pages have browsers ask for: `trivet.contrib.csrf`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness import Golden, Serve
from trivet import App, Depends, Request, Router, WebSocket
from trivet._describe import description_of
from trivet.contrib.csrf import CrossOriginProtection
from trivet.errors import RegistrationError
from trivet.testing import TestClient, WebSocketRefused

OTHER = "https://other.example"
TRUSTED = "https://admin.example.com"


def site(**options: object) -> App:
    app = App(dependencies=[Depends(CrossOriginProtection(origins=[TRUSTED, "http://localhost:3000"]))], **options)  # type: ignore[arg-type]

    @app.route("/", methods=["GET", "POST", "PUT", "DELETE", "PATCH", "PURGE"])
    async def handler(request: Request) -> str:
        return request.method

    @app.websocket("/socket", origins=None)
    async def socket(ws: WebSocket) -> None:
        await ws.send("x")

    return app


SENT: list[tuple[str, dict[str, str], bool]] = [
    # Go's own table (src/net/http/csrf_test.go), and what it leaves to `url.Parse`.
    ("POST", {"sec-fetch-site": "same-origin"}, True),
    ("POST", {"sec-fetch-site": "none"}, True),
    ("POST", {"sec-fetch-site": "cross-site"}, False),
    ("POST", {"sec-fetch-site": "same-site"}, False),
    ("POST", {}, True),
    ("POST", {"origin": "https://here.example"}, True),
    ("POST", {"origin": "http://here.example"}, True),
    ("POST", {"origin": "HTTPS://HERE.example"}, True),
    ("POST", {"origin": OTHER}, False),
    ("POST", {"origin": "null"}, False),
    ("POST", {"origin": ""}, False),
    ("POST", {"origin": "https://here.example:8443"}, False),
    ("POST", {"origin": "https://here.example.other.example"}, False),
    ("POST", {"origin": "https://here.example", "host": "here.example:443"}, True),
    ("POST", {"origin": "http://here.example", "host": "here.example:443"}, False),
    ("POST", {"origin": "https://here.example", "host": "here.example:8443"}, False),
    ("POST", {"origin": "evil://here.example"}, False),
    ("POST", {"origin": "https://here.example, https://other.example"}, False),
    ("GET", {"sec-fetch-site": "cross-site"}, True),
    ("HEAD", {"sec-fetch-site": "cross-site"}, True),
    ("OPTIONS", {"sec-fetch-site": "cross-site"}, True),
    ("PUT", {"sec-fetch-site": "cross-site"}, False),
    ("DELETE", {"sec-fetch-site": "cross-site"}, False),
    ("PATCH", {"sec-fetch-site": "cross-site"}, False),
    ("PURGE", {"sec-fetch-site": "cross-site"}, False),
    # What the browser says of the page counts more than what it says of its origin.
    ("POST", {"sec-fetch-site": "cross-site", "origin": "https://here.example"}, False),
    ("POST", {"sec-fetch-site": "same-origin", "origin": OTHER}, True),
    ("POST", {"sec-fetch-site": "SAME-ORIGIN"}, False),
    ("POST", {"sec-fetch-site": ""}, False),
    ("POST", {"sec-fetch-site": "same-origin, same-origin"}, False),
    # Who is trusted.
    ("POST", {"sec-fetch-site": "cross-site", "origin": TRUSTED}, True),
    ("POST", {"sec-fetch-site": "same-site", "origin": "https://ADMIN.example.com"}, True),
    ("POST", {"origin": TRUSTED}, True),
    ("POST", {"origin": "http://localhost:3000"}, True),
    ("POST", {"origin": "http://localhost"}, False),
    ("POST", {"sec-fetch-site": "cross-site", "origin": "http://admin.example.com"}, False),
    ("POST", {"sec-fetch-site": "cross-site", "origin": f"{TRUSTED}:8443"}, False),
]


@pytest.mark.parametrize(("method", "headers", "passes"), SENT)
async def test_a_page_of_another_origin_is_refused(method: str, headers: dict[str, str], passes: bool) -> None:
    """By what the browser says, whatever the method, unless that only looks; others pass."""
    async with TestClient(site(), base_url="https://here.example") as client:
        response = await client.request(method, "/", headers=headers)
        assert response.status_code == (403 if not passes else 204 if method == "OPTIONS" else 200)
        if not passes:
            assert response.json()["detail"] == "This request was made by a page of another site."


async def test_it_is_refused_before_the_body_is_read(serve: Serve) -> None:
    """403 beats 413, from each server."""
    app = site(max_body=10)

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    async with serve(app) as client:
        for headers, status in [({"sec-fetch-site": "cross-site"}, 403), ({"sec-fetch-site": "same-origin"}, 413)]:
            assert (await client.post("/body", content=b"x" * 20, headers=headers)).status_code == status


async def test_the_host_is_the_one_that_trusted_proxies_saw() -> None:
    """A proxy may ask us under another name than the page has."""
    headers = {"origin": "https://shop.example", "x-forwarded-host": "shop.example", "x-forwarded-for": "192.0.2.1"}
    for trusted, status in [(["127.0.0.1"], 200), ([], 403)]:
        async with TestClient(site(trusted=trusted), base_url="http://backend:8000") as client:
            assert (await client.post("/", headers=headers)).status_code == status


async def test_a_mounted_application_needs_its_own() -> None:
    """A router is part of the application that mounts it; another `App` is not, and has dependencies of its own."""
    app = site()
    mounted: list[App | Router] = [Router(), App(), App(dependencies=[Depends(CrossOriginProtection())])]
    for number, each in enumerate(mounted):

        @each.post("/")
        async def handler() -> str:
            return "done"

        app.mount(f"/{number}", each)
    async with TestClient(app) as client:
        answers = [await client.post(f"/{number}/", headers={"sec-fetch-site": "cross-site"}) for number in range(3)]
        assert [answer.status_code for answer in answers] == [403, 200, 403]


async def test_a_websocket_is_the_option_origins_business(serve: Serve) -> None:
    """A handshake is a GET, which passes; who is refused by `origins` is refused all the same."""
    app = site()

    @app.websocket("/ours")
    async def ours(ws: WebSocket) -> None:
        await ws.send("ours")

    async with serve(app) as client:
        here = f"http://{client.base_url.netloc.decode()}"
        other = {"origin": OTHER, "sec-fetch-site": "cross-site"}
        for path, headers, said in [
            ("/socket", other, "x"),
            ("/ours", {"origin": here, "sec-fetch-site": "same-origin"}, "ours"),
            ("/ours", {"origin": here}, "ours"),
            ("/ours", {}, "ours"),
        ]:
            async with client.websocket(path, headers=headers) as ws:
                assert await ws.receive() == said
        for headers in (other, {"origin": OTHER}):
            with pytest.raises(WebSocketRefused) as refused:
                async with client.websocket("/ours", headers=headers):
                    raise AssertionError("it was accepted")
            assert refused.value.status == 403


def test_it_describes_itself() -> None:
    """A 403."""
    found = description_of(CrossOriginProtection())
    assert found is not None
    assert set(found.responses) == {403}


WRONG: dict[str, Callable[[], object]] = {
    "any": lambda: CrossOriginProtection(origins=["*"]),
    "star": lambda: CrossOriginProtection(origins="*"),
    "none": lambda: CrossOriginProtection(origins=None),  # type: ignore[arg-type]
    "number": lambda: CrossOriginProtection(origins=7),  # type: ignore[arg-type]
    "text": lambda: CrossOriginProtection(origins="https://example.com"),
    "path": lambda: CrossOriginProtection(origins=["https://example.com/"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With what came, and the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/csrf_{name}", str(caught.value))
