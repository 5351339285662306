"""What of a message's head goes on, and what is the business of one connection only (RFC 9110 section 7.6).

This file owns the fields: functions from heads to heads, which know no server and no client.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

Fields: TypeAlias = list[tuple[bytes, bytes]]

# Section 7.6.1 and, of what older recipients take for the connection's own, RFC 2616 section 13.5.1.
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
    | {b"proxy-authenticate", b"proxy-authorization"}
)

_FRAMING: Final = frozenset({b"host", b"content-length"})
"""Nobody can have these taken out by naming them in `Connection`: then the next server would read another message."""

# What a backend believes because a proxy says it; a client's own words for it must not pass for ours. CGI and WSGI make
# the environment's `HTTP_PROXY` of `Proxy` (httpoxy, CVE-2016-5385).
_OURS: Final = frozenset({b"forwarded", b"x-real-ip", b"proxy", b"x-request-timeout-ms"})
_OUR_PREFIX: Final = b"x-forwarded-"
_ANSWERED: Final = frozenset({b"expect"})
"""By our server."""

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The fields that are for the other end, in their order."""
    fields = [(name.lower(), value) for name, value in fields]
    named = {
        token.strip(b" \t").lower() for name, value in fields if name == b"connection" for token in value.split(b",")
    }
    left_out = _OF_A_CONNECTION | (named - _FRAMING)
    # Where both are, the length is wrong (RFC 9112 section 6.3), and would be believed without the other.
    if any(name == b"transfer-encoding" for name, _ in fields):
        left_out |= {b"content-length"}
    return [(name, value) for name, value in fields if name not in left_out]


def request_fields(
    fields: Iterable[tuple[bytes, bytes]], *, version: str, name: str, client: str | None, scheme: str, host: str | None
) -> Fields:
    """What a backend is sent.

    Args:
        fields: as they came.
        version: the client's HTTP version.
        name: of this gateway, in `Via`.
        client: its address; `None`: it has none.
        scheme: `http` or `https`, as it asked.
        host: whom it asked, as it said.
    """
    kept = [field for field in end_to_end(fields) if not _ours(field[0]) and field[0] not in _ANSWERED]
    pairs = [f"for={_node(client)}", f"proto={scheme}"]
    others = [("x-forwarded-proto", scheme)]
    if client is not None:
        others.append(("x-forwarded-for", client))
    if host is not None and _HOST.fullmatch(host):
        pairs.insert(1, f'host="{host}"')
        others.append(("x-forwarded-host", host))
    for field, value in [("forwarded", ";".join(pairs)), *others, ("via", f"{version} {name}")]:
        kept.append((field.encode(), value.encode("ascii", "replace")))
    return kept


def response_fields(fields: Iterable[tuple[bytes, bytes]], *, status: int, version: str, name: str) -> Fields:
    """What the client is sent of a backend's answer."""
    # A 204 has no content, and a 304 says nothing of its own by repeating a length.
    without = {b"content-length"} if status in (204, 205, 304) else set[bytes]()
    kept = [field for field in end_to_end(fields) if field[0] not in without]
    return [*kept, (b"via", f"{version} {name}".encode())]


def one_hop_less(fields: Iterable[tuple[bytes, bytes]]) -> Fields | None:
    """The fields of OPTIONS, which may say how far it goes (RFC 9110 section 7.6.2); `None`: no further than here."""
    kept: Fields = []
    for name, value in fields:
        if name.lower() == b"max-forwards" and value.isdigit() and len(value) < 10:
            if int(value) == 0:
                return None
            value = b"%d" % (int(value) - 1)
        kept.append((name, value))
    return kept


def been_here(fields: Iterable[tuple[bytes, bytes]], name: str) -> bool:
    """Whether a request has come through the gateway of this name before (RFC 9110 section 7.6.3)."""
    hops = (hop.split() for field, value in fields if field.lower() == b"via" for hop in value.split(b","))
    return any(len(hop) > 1 and hop[1] == name.encode() for hop in hops)


def _ours(name: bytes) -> bool:
    """Whether a backend may take the field for one of ours: to CGI and WSGI, `_` is as good as `-`."""
    name = name.replace(b"_", b"-")
    return name in _OURS or name.startswith(_OUR_PREFIX)


def _node(client: str | None) -> str:
    """RFC 7239 section 6: an IPv6 address stands in brackets and quotes."""
    try:
        address = ipaddress.ip_address("" if client is None else client.partition("%")[0])
    except ValueError:
        return "unknown"
    return f'"[{address}]"' if address.version == 6 else str(address)
