"""Which client a request comes from, as text to count by.

This file owns what one client is: an address, or a network of them. Whom to believe about it, where proxies are in
front, is the application's option `trusted`. Who forgets that has one client, and the first who asks too often shuts
out everybody; nothing else shows it before, so that this is where it is told.
"""

from __future__ import annotations

import ipaddress
import logging
from weakref import WeakSet

from trivet import App, Request
from trivet.errors import RegistrationError

log = logging.getLogger("trivet.contrib.ratelimit")

_told: WeakSet[App] = WeakSet()
"""Applications of which the log has said that they believe nobody."""


class ClientAddress:
    """A provider that gives the client's address, as text to count by.

    Of an IPv6 address the network is given, since one subscriber has all addresses in it. Behind proxies, name them
    with `App(trusted=[...])`: else all clients are the proxy.

    Args:
        ipv6_prefix: bits of an IPv6 address that make up one client.

    Raises:
        RegistrationError: the prefix is no number of bits.
    """

    def __init__(self, *, ipv6_prefix: int = 64) -> None:
        if isinstance(ipv6_prefix, bool) or not isinstance(ipv6_prefix, int) or not 0 <= ipv6_prefix <= 128:
            raise RegistrationError(
                f"ipv6_prefix={ipv6_prefix!r} is not a number of bits from 0 to 128.\n"
                "Write  ClientAddress(ipv6_prefix=64)"
            )
        self._prefix = ipv6_prefix

    async def __call__(self, request: Request) -> str:
        """The client's address; `"unix"` where there is none to tell."""
        client = request.client
        if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
            _look_at_proxy(request)
        if client is None:
            return "unix"
        try:
            address = ipaddress.ip_address(client.host.partition("%")[0])
        except ValueError:
            return client.host
        if address.version == 4:
            return str(address)
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), self._prefix), strict=False))


def _look_at_proxy(request: Request) -> None:
    """Tell the log, once, of what looks like a proxy that nobody has named.

    It does if it is on a Unix socket or in a network of one's own. Anybody can send the field from elsewhere, and must
    not be recommended as one to be believed.
    """
    client, peer = request.client, request.scope.get("client")
    if request.app in _told or (client is not None and (peer is None or tuple(client) != tuple(peer))):
        return  # somebody is believed
    try:
        near = client is None or ipaddress.ip_address(client.host.partition("%")[0]).is_private
    except ValueError:
        return
    if near:
        _told.add(request.app)
        whose = "unix" if client is None else client.host
        log.warning(
            "requests that come by %s say for whom, and are not believed: all clients behind it are counted as one. "
            'If it is your proxy, write  App(trusted=["%s"])',
            "a Unix socket" if client is None else client.host,
            whose,
        )
