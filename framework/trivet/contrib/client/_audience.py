"""Who may be told the time and the trace: whom the caller asked, and nobody else that a redirect leads to.

This file owns that decision, which is httpx's for `Authorization`. What there is to be told, and when, it does not
know.
"""

from __future__ import annotations

from typing import Final

import httpx

from ._deadline import FIELD

_FIRST: Final = "trivet.first"
"""The extension that says whom the caller asked: httpx hands extensions on to the request that follows a redirect."""


def is_told(request: httpx.Request) -> bool:
    """Whether it goes to whom the caller asked; if not, what was said to them is taken out of it.

    What the caller has put in by itself is, too: it was for them.
    """
    first = request.extensions.get(_FIRST)
    if first is None:
        # Not set in place: the dictionary may be the caller's, for many requests.
        request.extensions = {**request.extensions, _FIRST: request.url}
        return True
    if origin_of(request.url) == origin_of(first) or _is_upgrade(first, request.url):
        return True
    for name in ("traceparent", "tracestate", FIELD):
        request.headers.pop(name, None)
    return False


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Who answers for it; httpx leaves out the port that a scheme implies."""
    return url.scheme, url.host, url.port


def _is_upgrade(before: httpx.URL, now: httpx.URL) -> bool:
    """From HTTP to HTTPS, at the same host."""
    return origin_of(before) == ("http", now.host, None) and origin_of(now) == ("https", now.host, None)
