"""A stand-in for `request.check(etag=...)`, until that is there: If-Match and If-None-Match (RFC 9110 section 13).

This file owns nothing that lasts.
"""

from __future__ import annotations

from trivet import HTTPError, Request, Response


def check(request: Request, *, etag: str) -> Response | None:
    """304 if the client of a GET has this version; `None`: go on.

    Raises:
        HTTPError: 412, the client wants to change another version.
    """
    match = request.headers.get("if-match")
    if match is not None and match.strip() != "*" and etag not in _tags(match):
        raise HTTPError(412, "What is there now is not what the request's preconditions ask for.")
    known = request.headers.get("if-none-match")
    if known is None or (known.strip() != "*" and etag not in {tag.removeprefix("W/") for tag in _tags(known)}):
        return None
    if request.method not in ("GET", "HEAD"):
        raise HTTPError(412, "What is there now is not what the request's preconditions ask for.")
    return Response(status=304, headers={"etag": etag})


def _tags(value: str) -> set[str]:
    return {tag.strip() for tag in value.split(",")}
