"""The smallest app greets, and the code that its README shows is its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.conftest import Run
from apps.hello import app
from trivet.testing import TestClient

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/hello/World", 200, "Hello, World."),
        ("/hello/World?excited=true", 200, "Hello, World!"),
        ("/hello/World?excited=false", 200, "Hello, World."),
        ("/hello/Zo%C3%AB", 200, "Hello, Zoë."),
        ("/hello/a%2Fb", 200, "Hello, a/b."),
        ("/hello/World?excited=yes", 422, None),
        ("/hello/", 404, None),
        ("/hello/a/b", 404, None),
        ("/hello/%ff", 400, None),
    ],
)
async def test_greeting(target: str, status: int, text: str | None) -> None:
    """A name is greeted as it was meant; what is no name, or no truth value, is refused."""
    async with TestClient(app) as client:
        response = await client.get(target)
    assert response.status_code == status
    if text is not None:
        assert response.text == text
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
    else:
        assert response.headers["content-type"] == "application/problem+json"


async def test_over_a_socket(run: Run) -> None:
    """The same over HTTP."""
    async with run("apps.hello:app") as server, server.client() as client:
        assert (await client.get("/hello/World?excited=true")).text == "Hello, World!"
        assert (await client.post("/hello/World")).headers["allow"] == "GET, HEAD, OPTIONS"


def test_readme_shows_this_code() -> None:
    """What the README shows is the whole of main.py, so that a reader who types it in gets this app."""
    assert f"```python\n{(HERE / 'main.py').read_text()}```" in (HERE / "README.md").read_text()
