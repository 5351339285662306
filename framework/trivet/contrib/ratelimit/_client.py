"""Which client a request comes from, as text to count by.

This file owns what one client is: an address, or a network of them. Whom to believe about it, where proxies are in
front, is the application's option `trusted`.
"""

from __future__ import annotations

import ipaddress

from trivet import Request
from trivet.errors import RegistrationError


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
