"""Who may see how the backends are, and where: whoever runs the gateway, and nobody else.

This file owns that decision. What there is to be seen, it does not know.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

from trivet import Depends, HTTPError, Request
from trivet.contrib.security import Bearer, same_secret

BEARER: Final = Bearer()

_FROM_ELSEWHERE: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""What a proxy says of whom it asks for. One on this machine is there for others, who are not."""


def only_insiders(token: str) -> Depends:
    """A dependency of routes that lets them through.

    Args:
        token: who has it is one. If it is empty, who asks from this machine is, and without a proxy in between.
    """

    async def knows_the_token(given: Annotated[str, Depends(BEARER)]) -> None:
        if not same_secret(given, token):
            raise BEARER.unauthorized()

    return Depends(knows_the_token if token else is_on_this_machine)


async def is_on_this_machine(request: Request) -> None:
    """Refuse who is not."""
    near = request.client is not None and _loopback(request.client.host)
    if not near or any(name in request.headers for name in _FROM_ELSEWHERE):
        raise HTTPError(403, "Only from the gateway's own machine, as long as GATEWAY_TOKEN is not set.")


def _loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # To a socket that listens on IPv6 an IPv4 client has such an address (RFC 4291 section 2.5.5.2).
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
