"""Which pages may open a WebSocket: those of its own origin, and those that the option `origins` names.

A browser lets any page open a WebSocket to any server, sends the cookies along, and leaves it to the server to look at
`Origin` (RFC 6455 section 10.2). Who does not look lets every page on the web act for its visitors. This file owns the
rule; it knows no scopes and no statuses.

The same origin is told by host and port, as gorilla/websocket and coder/websocket do: behind a proxy that ends TLS the
scheme that we see is not the one that the page has. That it is one of the web's is asked for all the same: what has
another, an extension of the browser say, chose what stands after it, and is let in by name only. A client that sends no
`Origin` is no browser, and may lie anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from string import ascii_lowercase, digits
from typing import Final, cast
from urllib.parse import urlsplit

from .errors import RegistrationError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PAGES: Final = {"ws": "http", "wss": "https"}
"""What a page is loaded by, whose WebSocket has such a URL."""

_NAME: Final = frozenset(f"{ascii_lowercase}{digits}-._")

_REMEDY: Final = 'Write scheme, host, and the port if it is not the usual one:  origins=["https://example.com"].'


def checked_origins(value: object) -> frozenset[str] | None:
    """The option `origins` as it is compared; `None`: any.

    Raises:
        RegistrationError: it is neither `None` nor a list of origins.
    """
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise RegistrationError(f'origins={value!r} is not a list.\nWrite origins=["https://example.com"].')
    return frozenset(_checked(each) for each in cast("Iterable[object]", value))


def _checked(value: object) -> str:
    origin, remedy = _read(value) if isinstance(value, str) else (None, _REMEDY)
    if origin is None:
        raise RegistrationError(
            f"origins holds {value!r}, which is nothing that browsers send as `Origin` (RFC 6454 section 6.2).\n"
            f"{remedy}"
        )
    return origin


def _read(text: str) -> tuple[str | None, str]:
    """The origin as browsers write it, or `None` and what to write instead.

    Case, the usual port, and how an IPv6 address is spelt make no difference to anybody. A path does to whoever has
    written it, and would be kept by nobody.
    """
    if text == "*":
        return None, (
            "To let pages of all origins in, which is safe only where no cookie says who asks, write origins=None."
        )
    try:
        parts = urlsplit(text)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        return None, _REMEDY
    if "*" in text:
        return None, f'There are no patterns. Name each:  origins=["{parts.scheme or "https"}://www.example.com", ...]'
    if not text.isascii():
        return None, 'Browsers send such a name in Punycode:  origins=["https://xn--bcher-kva.example"]'
    if host is None or not parts.scheme:
        return None, _REMEDY
    scheme = _PAGES.get(parts.scheme, parts.scheme)
    shown = "" if port is None or port == _DEFAULT_PORTS.get(scheme) else f":{port}"
    origin = f"{scheme}://{host}{shown}"
    if scheme != parts.scheme:
        return None, f'It is the page that has an origin, not the WebSocket:  origins=["{origin}"]'
    if "@" in parts.netloc or text.lower() != f"{scheme}://{parts.netloc}".lower():
        return None, f'Leave out what is not scheme, host and port:  origins=["{origin}"]'
    return origin, ""


def _host(name: str) -> str | None:
    """A host as browsers write it; `None`: it is none.

    Raises:
        ValueError: it is no address, but begins or ends like one.
    """
    if ":" in name:
        return f"[{IPv6Address(name)}]"
    if name.rpartition(".")[2].isdigit():  # a browser takes 127.1 for an address, and says it in full
        return str(IPv4Address(name))
    return name if name and _NAME.issuperset(name) else None


def may_open(origin: str | None, host: str | None, allowed: frozenset[str] | None) -> bool:
    """Whether a page may open a WebSocket.

    Args:
        origin: the field `Origin` of the handshake; `None`: there is none.
        host: its field `Host`, in which some write the usual port as well.
        allowed: the option; `None`: any.
    """
    if origin is None or allowed is None:
        return True
    origin = origin.lower()
    if origin in allowed:
        return True
    scheme, _, place = origin.partition("://")
    if host is None or scheme not in _DEFAULT_PORTS:
        return False
    host = host.lower()
    return place != "" and place in (host, host.removesuffix(f":{_DEFAULT_PORTS[scheme]}"))
