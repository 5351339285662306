"""Conditional requests: whether a request still applies to what is there now (RFC 9110 section 13).

This file owns the order of the preconditions (section 13.2.2) and what their outcome is answered with. It compares
validators that others make, and does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol

from ._headers import Headers
from ._response import Response
from ._validators import (
    Validators,
    checked_date,
    checked_tag,
    format_date,
    parse_date,
    parse_tag,
    parse_tags,
    strong_match,
    weak_match,
)
from .errors import Fault, HTTPError, InvalidInput

SELECTING = frozenset({"GET", "HEAD"})
"""The methods whose answer is the representation itself: only to them can it be said that it has not changed."""

Outcome = Literal["perform", "unchanged", "failed"]

FAILED = "What is there now is not what the request's preconditions ask for."


def evaluate(method: str, headers: Mapping[str, str], current: Validators) -> Outcome:
    """What becomes of a request with these header fields, in the order of RFC 9110 section 13.2.2.

    Args:
        method: of the request.
        headers: of the request.
        current: the validators of what is there now; with none of them, there is nothing.

    Raises:
        InvalidInput: 400, a list of tags is malformed, and the request would change something or asks for a match. To
            guess would be to overwrite; most clients that send such a list have forgotten the quotes.
    """
    exists = current.etag is not None or current.modified is not None
    match = headers.get("if-match")
    if match is not None:
        tags = () if match.strip() == "*" else parse_tags(match)
        if tags is None:
            raise _malformed("if-match")
        if not (strong_match(tags, current.etag) if tags else exists):
            return "failed"
    elif current.modified is not None:
        since = parse_date(headers.get("if-unmodified-since", ""))
        if since is not None and current.modified > since:
            return "failed"
    none_match = headers.get("if-none-match")
    if none_match is not None:
        return _none_match(method, none_match, current, exists)
    if method in SELECTING and current.modified is not None:
        since = parse_date(headers.get("if-modified-since", ""))
        if since is not None and current.modified <= since:
            return "unchanged"
    return "perform"


def _none_match(method: str, value: str, current: Validators, exists: bool) -> Outcome:
    tags = () if value.strip() == "*" else parse_tags(value)
    if tags is None:
        if method in SELECTING:
            return "perform"  # the whole answer is always right
        raise _malformed("if-none-match")
    if not (weak_match(tags, current.etag) if tags else exists):
        return "perform"
    return "unchanged" if method in SELECTING else "failed"


def range_applies(value: str | None, current: Validators, now: int) -> bool:
    """Whether `Range` is to be looked at, given `If-Range`: only if what the client has a part of is still there.

    A date must be the very one that was sent, and no match before its second is over, nor where the tag is weak: what
    is there now may be changed once more, and have the same date, so that two halves of two versions would be joined
    (RFC 9110 sections 8.8.2.2 and 13.1.5).

    Args:
        value: of `If-Range`.
        current: the validators of what is there now.
        now: seconds since 1970.
    """
    if value is None:
        return True
    tag = parse_tag(value)
    if tag is not None:
        return not tag.weak and strong_match((tag,), current.etag)
    since = parse_date(value)
    weak = current.etag is not None and current.etag.weak
    return since is not None and since == current.modified and since < now and not weak


class Head(Protocol):
    """What is asked of a request."""

    method: str

    @property
    def headers(self) -> Headers:
        """Its header fields."""
        ...


def check(request: Head, *, etag: str | None = None, modified: datetime | None = None) -> Response | None:
    """Answer the preconditions of a request: `If-Match`, `If-None-Match` and those with dates.

    To be called when the version that there is now is known, and before it is changed. Whoever changes it must see to
    it that nobody else does in between: by a transaction, say.

    Args:
        etag: of what is there now, as it goes out: `'"v7"'`. Send the same one in the response.
        modified: when it was last changed, with a time zone; less than a second does not count.
            With neither, there is nothing yet: `If-None-Match: *` holds, `If-Match` does not.

    Returns:
        For GET and HEAD, if the client has this version: a 304, to be returned; it has `etag` and `modified`, and
        should have what the full response has of `Cache-Control` and `Vary`. `None`: go on.

    Raises:
        HTTPError: 412, the client wants to change another version than this, or create what exists.
        InvalidInput: 400, a list of tags is malformed.
        ValueError: `etag` is not in quotes, or `modified` has no time zone.
        TypeError: they are of another type.
    """
    headers, method = request.headers, request.method
    current = Validators(
        None if etag is None else checked_tag(etag), None if modified is None else checked_date(modified)
    )
    outcome = evaluate(method, headers, current)
    if outcome == "failed":
        raise HTTPError(412, FAILED)
    if outcome == "perform":
        return None
    fields: dict[str, str] = {}
    if etag is not None:
        fields["etag"] = etag
    if current.modified is not None:
        fields["last-modified"] = format_date(current.modified)
    return Response(status=304, headers=fields)


def _malformed(name: str) -> InvalidInput:
    reason = 'must be * or a list of entity tags, each in double quotes: "v7"'
    return InvalidInput(400, f"{name} is malformed", [Fault("header", name, reason)])
