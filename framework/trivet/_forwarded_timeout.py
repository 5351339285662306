"""How long a trusted peer waits for an answer: `X-Request-Timeout-Ms`.

This file owns what that field says and who is believed: the peers of the option `trusted`, for anybody else could make
our handlers start work that it does not wait for. It says how much time is left, not until when, so that clocks need
not agree (gRPC's `grpc-timeout`). What becomes of it is the application's: it can only shorten a deadline. It knows no
requests and no clock.
"""

from __future__ import annotations

import re
from typing import Final

from ._forwarded import Proxies
from .asgi import RawHeaders, Scope

FIELD: Final = b"x-request-timeout-ms"

# A proxy that subtracts what it has used up itself may arrive below zero. More digits than these are 30 years.
_MILLISECONDS: Final = re.compile(rb"[ \t]*(-?[0-9]{1,12})[ \t]*")


def told_timeout(proxies: Proxies, scope: Scope) -> float | None:
    """Seconds that are left for a request, 0 or less if none are; `None`: nobody who is believed says so.

    Of several values the least counts. What is no whole number is ignored: to refuse such a request would help nobody.
    """
    values = [value for name, value in scope["headers"] if name == FIELD]
    if not values:
        return None
    peer = scope.get("client")
    if not proxies.trusts(peer and (peer[0], peer[1])):
        return None
    found = [_MILLISECONDS.fullmatch(each) for each in b",".join(values).split(b",")]
    return min((int(match[1]) / 1000 for match in found if match is not None), default=None)


def tells_timeout(headers: RawHeaders) -> bool:
    """Whether there is such a field, believed or not."""
    return any(name == FIELD for name, _ in headers)
