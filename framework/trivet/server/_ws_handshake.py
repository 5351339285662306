"""The opening handshake of a WebSocket (RFC 6455 section 4) on HTTP/1.1. This file owns what makes it valid.

Sans-I/O: a request's head in, the bytes of the answer out. What it offers and what the application may choose from it
are checked here; whether the application wants it at all is the exchange's.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final

from trivet.asgi import ACCEPTANCE_FIELDS

from ._http1_head import Refused, RequestHead
from ._http1_response import lines_of
from ._ws_deflate import agree
from ._ws_frames import WebSocketFault

VERSION: Final = b"sec-websocket-version: 13\r\n"
"""Goes with a refusal of another version (RFC 6455 section 4.4)."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""Sixteen bytes in base64."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SWITCHING: Final = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client asks for.

    Attributes:
        key: proves that we understand it.
        subprotocols: in the order of its preference.
        extensions: Sec-WebSocket-Extensions, as sent.
    """

    key: bytes
    subprotocols: list[str]
    extensions: str


def offer_of(head: RequestHead) -> Offer:
    """Read the handshake.

    Raises:
        Refused: it is none; 426 if it is for another version of the protocol.
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in head.headers:
        if name.startswith(b"sec-websocket-") or name == b"connection":
            found.setdefault(name, []).append(value)
    if any(not value.isascii() for values in found.values() for value in values):
        raise Refused(400, "The handshake of a WebSocket is ASCII.")
    if found.get(b"sec-websocket-version") != [b"13"]:
        raise Refused(426, "This server speaks version 13 of the WebSocket protocol.")
    keys = found.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise Refused(400, "The handshake takes one Sec-WebSocket-Key, sixteen bytes in base64.")
    protocols = b",".join(found.get(b"sec-websocket-protocol", [])).decode()
    offered = [name for name in (part.strip() for part in protocols.split(",")) if name]
    if not all(map(_TOKEN.fullmatch, offered)):
        raise Refused(400, "Sec-WebSocket-Protocol is a list of tokens.")
    return Offer(keys[0], offered, b",".join(found.get(b"sec-websocket-extensions", [])).decode())


def acceptance(
    offer: Offer, subprotocol: object, headers: Iterable[Any], tail: bytes, *, deflate: bool
) -> tuple[bytes, int | None]:
    """The answer that opens a WebSocket, and the bits of the window if messages may be compressed.

    Args:
        offer: what the client asked for.
        subprotocol: chosen by the application from it; None: none.
        headers: the application's.
        tail: the fields that the server adds, and the empty line.
        deflate: whether we compress, if the client can.

    Raises:
        WebSocketFault, ResponseFault: the application has asked for what cannot be sent.
    """
    accept = b64encode(sha1(offer.key + _GUID, usedforsecurity=False).digest())
    parts = [_SWITCHING, b"sec-websocket-accept: ", accept, b"\r\n"]
    if subprotocol is not None:
        if subprotocol not in offer.subprotocols:
            raise WebSocketFault(
                f"the application accepted with the subprotocol {subprotocol!r}, but the client offered "
                f"{', '.join(map(repr, offer.subprotocols)) or 'none'}; choose one of scope['subprotocols'], or none"
            )
        parts.append(b"sec-websocket-protocol: %b\r\n" % str(subprotocol).encode())
    agreed = agree(offer.extensions) if deflate and offer.extensions else None
    if agreed is not None:
        parts.append(b"sec-websocket-extensions: %b\r\n" % agreed[0].encode())
    for name, line in lines_of(headers):
        if name in ACCEPTANCE_FIELDS:
            raise WebSocketFault(f"the application accepted with a field {name.decode()!r}, which the server sets")
        parts.append(line)
    parts.append(tail)
    return b"".join(parts), None if agreed is None else agreed[1]
