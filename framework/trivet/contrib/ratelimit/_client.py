"""Which client a request comes from, behind proxies too.

This file owns whom to believe. `X-Forwarded-For` is written by whoever sends it, so it counts only as far as trusted
proxies have written it: from the right, each has appended the peer that it saw.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from trivet import Request
from trivet.errors import RegistrationError

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST = 64
"""Addresses in `X-Forwarded-For` that are looked at: no chain of proxies is longer."""


class ClientAddress:
    """A provider that gives the client's address, as text to count by.

    Of an IPv6 address the network is given, since one subscriber has all addresses in it.

    Args:
        trusted: addresses and networks of the proxies in front: `("10.0.0.0/8", "::1")`; `"unix"`: whoever connects to
            a unix socket. Without any, the peer of the connection is the client.
        ipv6_prefix: bits of an IPv6 address that make up one client.

    Raises:
        RegistrationError: what is trusted is no network, or the prefix no number of bits.
    """

    def __init__(self, *, trusted: Sequence[str] = (), ipv6_prefix: int = 64) -> None:
        if isinstance(trusted, str):
            raise RegistrationError(f"trusted={trusted!r} is one text.\nWrite  ClientAddress(trusted=({trusted!r},))")
        if isinstance(ipv6_prefix, bool) or not isinstance(ipv6_prefix, int) or not 0 <= ipv6_prefix <= 128:
            raise RegistrationError(
                f"ipv6_prefix={ipv6_prefix!r} is not a number of bits from 0 to 128.\n"
                "Write  ClientAddress(ipv6_prefix=64)"
            )
        self._unix = "unix" in trusted
        self._trusted = tuple(_network(each) for each in trusted if each != "unix")
        self._prefix = ipv6_prefix

    async def __call__(self, request: Request) -> str:
        """The client's address; `"unix"` where there is none to tell."""
        peer = request.client
        address = None if peer is None else _parse(peer.host)
        if peer is not None and (address is None or not self._trusts(address)):
            return peer.host if address is None else self._spell(address)
        if peer is None and not self._unix:
            return "unix"
        found = self._forwarded(request.headers.getlist("x-forwarded-for")) or address
        return "unix" if found is None else self._spell(found)

    def _forwarded(self, fields: list[str]) -> _Address | None:
        """The rightmost address that is not a trusted proxy's; else the leftmost that can be read."""
        found: _Address | None = None
        for text in ",".join(fields).rsplit(",", _LONGEST)[: -_LONGEST - 1 : -1]:
            address = _parse(text.strip(" \t"))
            if address is None:
                break  # whoever wrote this is not believed, nor what stands before it
            found = address
            if not self._trusts(address):
                break
        return found

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)

    def _spell(self, address: _Address) -> str:
        if address.version == 4:
            return str(address)
        return str(ipaddress.ip_network((int(address), self._prefix), strict=False))


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise RegistrationError(
            f'trusted={text!r} is not a network: {error}.\nWrite  ClientAddress(trusted=("10.0.0.0/8", "192.0.2.7"))'
        ) from None


def _parse(text: str) -> _Address | None:
    """An address as proxies write it: bare, `192.0.2.1:8000`, `[2001:db8::1]` or `[2001:db8::1]:8000`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address
