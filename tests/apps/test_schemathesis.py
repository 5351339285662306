"""Each application does what its OpenAPI document says: every operation, with values that fit and that do not."""

from __future__ import annotations

import httpx
import pytest

from tests.harness import run_server
from tests.harness.contract import exercise
from tests.harness.tools import require

NOT_EXERCISED = (
    "trouble|sleepers|counter|beside_quart|notes|jobs|chat|gateway|mini_redis/.*events|fanout/(series|loop|parallel)"
)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "options"),
    [
        ("tests.openapi.everything:app", ["-H", "Authorization: Bearer admin"]),
        # Not those that sleep for a minute, nor what Quart answers, nor those that want a user first, nor the event
        # streams of jobs, chat and mini_redis, which have no end, nor fanout's calls of itself, one after the other,
        # nor a gateway, whose backends answer what is no route of its own.
        (
            "apps.tour:app",
            ["--exclude-path-regex", f"^/({NOT_EXERCISED})"],
        ),
    ],
)
async def test_an_application_does_what_its_document_says(app: str, options: list[str]) -> None:
    """No 500, no status, type or body that is not documented; what fits is taken, what does not is refused."""
    require("module:schemathesis")
    async with run_server("trivet", app) as server:
        await exercise(server, *options)


@pytest.mark.live
@pytest.mark.slow
async def test_notes_are_what_their_document_says() -> None:
    """The same for somebody who is signed in, whom no limit stops before the interesting part."""
    require("module:schemathesis")
    async with run_server("trivet", "tests.apps.notes_unlimited:app") as server:
        host, port = server.address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            ada = {"name": "ada", "password": "correct horse"}
            assert (await client.post("/users", json=ada)).status_code == 201
            form = {"grant_type": "password", "username": ada["name"], "password": ada["password"]}
            token = (await client.post("/token", data=form)).json()["access_token"]
            headers = {"authorization": f"Bearer {token}"}
            for title in ("one", "two"):
                added = await client.post("/notes", json={"title": title, "text": ""}, headers=headers)
                assert added.status_code == 201
        # It would sign out; and a made-up name and password rightly are no token.
        headers = ("-H", f"Authorization: Bearer {token}", "-H", "If-Match: *")
        await exercise(server, *headers, "--exclude-path", "/token")


@pytest.mark.live
@pytest.mark.slow
async def test_an_upload_that_is_there_is_what_its_document_says() -> None:
    """What the run over the tour, which knows no upload, sees only the 404 of."""
    require("module:schemathesis")
    async with run_server("trivet", "apps.upload:app") as server:
        async with server.client() as client:
            assert (await client.put("/uploads/one", content=b"content")).status_code == 201
        options = ("--include-path-regex", "upload_id", "--exclude-method", "PUT", "--exclude-method", "DELETE")
        said = await exercise(server, *options, known={"path.upload_id": "one"})
        assert "404 Not Found" not in said


@pytest.mark.live
@pytest.mark.slow
async def test_a_document_that_says_something_else_is_noticed() -> None:
    """The check can fail: an answer that is not documented is found, and shown with its request."""
    require("module:schemathesis")
    async with run_server("trivet", "tests.openapi.liar:app") as server:
        with pytest.raises(AssertionError, match=r"(?s)Undocumented status code.*curl -X GET"):
            await exercise(server)
