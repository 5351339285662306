"""Sessions and forged requests in a real browser: whether it keeps our cookie, and what it says of others' pages."""

from __future__ import annotations

from typing import Annotated

import pytest

from apps.tour.devtools import browsing
from tests.harness import serving
from tests.harness.tools import require
from trivet import HTML, App, Depends, Form, Request
from trivet.contrib.csrf import CrossOriginProtection
from trivet.contrib.sessions import Session, Sessions

pytestmark = [pytest.mark.live, pytest.mark.slow]

PAGE = "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>page</title>"


def shop(sessions: Sessions, seen: list[tuple[str | None, bool]]) -> App:
    """A site with a login; `seen` is what came with each form: `Sec-Fetch-Site`, and whether there was a session."""
    app, protection = App(), CrossOriginProtection()
    current = Depends(sessions)

    @app.get("/")
    async def page(session: Annotated[Session, current]) -> HTML:
        return HTML(f"{PAGE}<p>{session.get('user', 'nobody')}</p>")

    @app.post("/login", dependencies=[Depends(protection)])
    async def login(session: Annotated[Session, current], user: Annotated[str, Form()]) -> HTML:
        session.rotate()
        session["user"] = user
        return HTML(PAGE)

    @app.post("/open")
    async def unprotected(request: Request, session: Annotated[Session, current]) -> HTML:
        seen.append((request.headers.get("sec-fetch-site"), "user" in session))
        return HTML(f"{PAGE}<p>taken</p>")

    @app.post("/logout", dependencies=[Depends(protection)])
    async def logout(session: Annotated[Session, current]) -> HTML:
        session.clear()
        return HTML(PAGE)

    return app


def elsewhere() -> App:
    """Another site, on another port of the same machine: another origin, but the same site to `SameSite`."""
    app = App()

    @app.get("/")
    async def page(to: str) -> HTML:
        return HTML(f'{PAGE}<form method=post action="{to}"></form><script>document.forms[0].submit()</script>')

    return app


async def test_a_browser_keeps_the_cookie_and_tells_on_the_other_site() -> None:
    """`HttpOnly` hides it from scripts; `Secure` and `__Host-` are good on this machine without TLS; and a form of
    another origin, with which `SameSite=Lax` lets the cookie go along, is refused."""
    seen: list[tuple[str | None, bool]] = []
    sessions = Sessions(secret="x" * 32, secure=True)
    user = "fetch('/').then((answer) => answer.text()).then((text) => text.includes('<p>ann</p>'))"
    async with (
        serving("trivet", shop(sessions, seen)) as client,
        serving("trivet", elsewhere()) as other,
        browsing(require("chromium"), str(client.base_url)) as tab,
    ):
        here, there = str(client.base_url).rstrip("/"), str(other.base_url).rstrip("/")
        await tab.evaluate("fetch('/login', {method: 'POST', body: new URLSearchParams({user: 'ann'})})")
        assert await tab.evaluate(user) is True
        assert await tab.evaluate("document.cookie") == ""
        for path, expected in [("/open", "taken"), ("/logout", "403")]:
            await tab.call("Page.navigate", url=f"{there}/?to={here}{path}")
            await tab.wait_for(f"location.pathname === '{path}' && document.body?.innerText.includes('{expected}')")
        assert seen == [("same-site", True)]
        await tab.call("Page.navigate", url=here)
        await tab.wait_for("document.body?.innerText === 'ann'")
        await tab.evaluate("fetch('/logout', {method: 'POST'})")
        assert await tab.evaluate(user) is False
