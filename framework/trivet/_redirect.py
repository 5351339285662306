"""Redirects: where a response may send the client.

This file owns how a `Location` is written and which ones are refused, since its target is often text from a
client: what a browser would read otherwise than it looks must not go out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from ._response import Response

_STATUSES = frozenset({301, 302, 303, 307, 308})

# All of RFC 3986's reserved and unreserved characters, and "%", which begins what is encoded already. A
# backslash and a blank are not among them: browsers read `\` as `/` and strip blanks, so `/\evil` and `
# //evil` would leave the site.
_SAFE = "%:/?#[]@!$&'()*+,;=~"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SCRIPT = frozenset({"javascript:", "data:", "vbscript:", "blob:", "file:", "about:"})


class Redirect(Response):
    """Send the client elsewhere.

    Args:
        to: a path (`/here`), another relative reference, or a whole URL. Blanks, backslashes and text outside
            ASCII are percent-encoded; what is encoded already stays as it is.
        status: 303 (get it there, whatever the method was), 302 and 301 (the same, by custom), 307 and 308
            (again with the same method and body); 301 and 308 are kept by browsers for good.
        headers: more header fields.

    Raises:
        ValueError: another status; or a target that has control characters, starts with `//`, or has a scheme
            that runs a script.
        TypeError: `to` is not `str`.
    """

    __slots__ = ()

    def __init__(self, to: str, *, status: int = 303, headers: Mapping[str, str] | None = None) -> None:
        if status not in _STATUSES:
            raise ValueError(
                f"{status!r} does not redirect: the status is 301, 302, 303, 307 or 308.\n"
                "The usual one after a form is the default:  return Redirect(to)"
            )
        super().__init__(status=status, headers=headers)
        self.headers["location"] = location(to)


def location(to: str) -> str:
    """The value of `Location` for a target.

    Raises:
        ValueError: as `Redirect`.
        TypeError: `to` is not `str`.
    """
    if not isinstance(to, str):
        raise TypeError(f"a redirect goes to a str, not {type(to).__name__}.\nWrite:  return Redirect(str(url))")
    if not to:
        raise ValueError('a redirect to "" would lead back to itself.\nTo the front page:  return Redirect("/")')
    control = _CONTROL.search(to)
    if control is not None:
        raise ValueError(
            f"the target of a redirect has {control[0]!r} at position {control.start()}; it cannot be sent, "
            "and in text from a client it forges headers.\n"
            'Encode such text:  Redirect("/search?q=" + urllib.parse.quote(text))'
        )
    if to.startswith("//"):
        raise ValueError(
            f"{to[:80]!r} leads to another host: what follows `//` is the host (RFC 3986 section 4.2).\n"
            'If that is meant, write the scheme:  return Redirect("https://example.com/path")'
        )
    scheme = _SCHEME.match(to)
    if scheme is not None:
        _check_scheme(to, scheme[0].lower())
    return quote(to, safe=_SAFE)


def _check_scheme(to: str, scheme: str) -> None:
    if scheme in _SCRIPT:
        raise ValueError(
            f"a redirect to {scheme} is refused: it runs a script in a page, or browsers block it.\n"
            "Redirect to a path or to an https URL."
        )
    # Browsers read `https:evil` and `https:/evil` as `https://evil`.
    rest = to[len(scheme) :]
    without_host = not rest.startswith("//") or rest[2:3] in ("", "/", "\\", "?", "#")
    if scheme in ("http:", "https:") and without_host:
        raise ValueError(
            f"{to[:80]!r} has no host where one belongs.\n"
            'Write it whole, or as a path:  return Redirect("https://example.com/path")'
        )
