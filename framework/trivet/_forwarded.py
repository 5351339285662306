"""Behind proxies: who asked, and for what, as far as proxies are believed.

This file owns whom to believe. Anybody can send `Forwarded` (RFC 7239) or `X-Forwarded-For`: they count only if the
peer of the connection is trusted, and only as far as trusted proxies have written them. Each appends what it saw of the
one before, so they are read from the right; what stands further left than the first that is not trusted is the client's
own invention. It knows no requests: it is given a peer and header fields, when somebody asks.

A proxy that writes one of the two lets the other through as the client sent it, and we do not know which one it writes.
So where both are there they must not contradict each other, or neither is believed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from ._headers import Headers
from .errors import RegistrationError

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Peer: TypeAlias = tuple[str, int]

LONGEST: Final = 64
"""Hops that are looked at: no chain of proxies is longer."""

UNIX: Final = "unix"

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 7239 section 4. No comma within quotes: no address or host has one, and a client that opens a quote without
# closing it must not swallow what proxies append.
_PAIR: Final = re.compile(rf'\s*({_TOKEN})=(?:({_TOKEN})|"([^"\\]*)")\s*')
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Hop(NamedTuple):
    """What a proxy saw of whoever connected to it."""

    client: Peer | None
    """Host and port (0: not told); `None`: neither is told."""
    scheme: str | None = None
    """`http` or `https`."""
    host: str | None = None
    """What the client took us for, as in `Host`."""


NOTHING: Final = Hop(None)


class Proxies:
    """The peers that are believed: the option `trusted`.

    Args:
        trusted: addresses and networks, and `"unix"` for whoever connects to a Unix socket.

    Raises:
        RegistrationError: it is no list, or holds something else.
    """

    __slots__ = ("_networks", "_unix")

    def __init__(self, trusted: Sequence[str]) -> None:
        if isinstance(trusted, str) or not isinstance(trusted, Iterable):
            raise RegistrationError(f"trusted={trusted!r} is not a list.\nWrite trusted={_example(trusted)}.")
        self._unix = UNIX in trusted
        self._networks = tuple(_network(each) for each in cast("Iterable[object]", trusted) if each != UNIX)

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def seen(self, peer: Peer | None, headers: Headers) -> Hop:
        """What the first trusted proxy saw; nothing where nobody is believed.

        Args:
            peer: host and port of the connection's other end; `None`: it has none, as on a Unix socket.
            headers: of the request.
        """
        if not self.trusts(peer):
            return NOTHING
        return _agreed(self._first(_standard(headers)), self._first(_usual(headers)))

    def trusts(self, peer: Peer | None) -> bool:
        """Whether whoever is at the connection's other end is believed; `None`: it has no address."""
        return self._unix if peer is None else self._trusts(peer)

    def _first(self, hops: Sequence[Hop]) -> Hop:
        """From the right, the first that is no trusted proxy; else the leftmost."""
        found = NOTHING
        for hop in hops[: -LONGEST - 1 : -1]:
            if hop.client is None:  # a trusted proxy does not tell who it was, or it is no address
                return hop._replace(client=found.client)
            found = hop
            if not self._trusts(hop.client):
                break
        return found

    def _trusts(self, peer: Peer) -> bool:
        address = _address(peer[0])
        return address is not None and any(address in network for network in self._networks)


def _agreed(one: Hop, other: Hop) -> Hop:
    """What both say, and what one says and the other does not contradict; if they differ in anything, nothing."""
    client, scheme, host = one.client or other.client, one.scheme or other.scheme, one.host or other.host
    if other.client is not None and client is not None and client[0] != other.client[0]:
        return NOTHING
    if other.scheme not in (None, scheme) or other.host not in (None, host):
        return NOTHING
    return Hop(client, scheme, host)


def _standard(headers: Headers) -> list[Hop]:
    """`Forwarded`, hop by hop; one that is malformed tells nothing."""
    elements = ",".join(headers.getlist("forwarded")).split(",")
    return [_hop(element) for element in elements[-LONGEST:] if element.strip(" \t")]


def _hop(element: str) -> Hop:
    told: dict[str, str] = {}
    for text in element.split(";"):
        pair = _PAIR.fullmatch(text)
        if pair is None or pair[1].lower() in told:
            return NOTHING
        told[pair[1].lower()] = pair[2] or pair[3] or ""
    return Hop(_node(told.get("for", "")), _scheme(told.get("proto", "")), _host(told.get("host", "")))


def _usual(headers: Headers) -> list[Hop]:
    """`X-Forwarded-For`, `-Proto` and `-Host`, hop by hop.

    The other two are of the same hop where all three have as many entries; else the last of each counts, which a
    trusted proxy has set, or left as the one before it has.
    """
    clients, schemes, hosts = (
        [text.strip(" \t") for text in ",".join(headers.getlist(f"x-forwarded-{name}")).split(",") if text.strip(" \t")]
        for name in ("for", "proto", "host")
    )
    if not (clients or schemes or hosts):
        return []
    count = len(clients) or 1
    return [
        Hop(
            _node(clients[n]) if clients else None,
            _scheme(_aligned(schemes, n, count)),
            _host(_aligned(hosts, n, count)),
        )
        for n in range(max(0, count - LONGEST), count)
    ]


def _aligned(values: Sequence[str], n: int, count: int) -> str:
    return "" if not values else values[n] if len(values) == count else values[-1]


def _node(text: str) -> Peer | None:
    """An address as proxies write it: bare, `192.0.2.1:8000`, `[2001:db8::1]` or `[2001:db8::1]:8000`."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address = _address(host)
    if address is None:
        return None
    return str(address), int(port) if len(port) <= 5 and port.isascii() and port.isdigit() else 0


def _address(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address


def _scheme(text: str) -> str | None:
    return _SCHEMES.get(text.lower())


def _host(text: str) -> str | None:
    return text if _HOST.fullmatch(text) else None


def _network(text: object) -> Network:
    if isinstance(text, str):
        try:
            return ipaddress.ip_network(text)
        except ValueError as error:
            reason = f": {error}"
    else:
        reason = ""
    raise RegistrationError(f"trusted holds {text!r}, which is no address or network{reason}.\n{_remedy(text)}")


def _remedy(text: object) -> str:
    if text == "*":
        return (
            "Then every client could say that it is another. Name the proxies, or the network that they are in:\n"
            '    trusted=["10.0.0.0/8"]'
        )
    try:
        meant = str(ipaddress.ip_network(str(text), strict=False))
    except ValueError:
        return f"Write trusted={_example('10.0.0.0/8')}; a name has no place here, for what it means may change."
    return f"Write trusted={_example(meant)} if you mean the whole network."


def _example(value: object) -> str:
    return f'["{value}"]' if isinstance(value, str) and value else '["10.0.0.0/8", "127.0.0.1"]'
