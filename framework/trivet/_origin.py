"""Which pages may open a WebSocket: those of its own origin, and those that the option `origins` names.

A browser lets any page open a WebSocket to any server, sends the cookies along, and leaves it to the server to look at
`Origin` (RFC 6455 section 10.2). Who does not look lets every page on the web act for its visitors. This file owns the
rule; it knows no scopes and no statuses.

The same origin is told by host and port, as gorilla/websocket and coder/websocket do: behind a proxy that ends TLS the
scheme that we see is not the one that the page has. A client that sends no `Origin` is no browser, and may lie anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast
from urllib.parse import urlsplit

from .errors import RegistrationError

_DEFAULT_PORTS = {"http": 80, "https": 443}


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
    origin = _canonical(value) if isinstance(value, str) else None
    if origin is None:
        remedy = (
            "To let pages of all origins in, which is safe only where no cookie says who asks, write origins=None."
            if value == "*"
            else 'Write scheme, host, and the port if it is not the usual one:  origins=["https://example.com"].'
        )
        raise RegistrationError(f"origins holds {value!r}, which is no origin (RFC 6454 section 6.2).\n{remedy}")
    return origin


def _canonical(text: str) -> str | None:
    """As browsers write it; `None`: it is no origin."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or text.lower() != f"{parts.scheme}://{parts.netloc}".lower() or "@" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def may_open(origin: str | None, host: str | None, allowed: frozenset[str] | None) -> bool:
    """Whether a page may open a WebSocket.

    Args:
        origin: the field `Origin` of the handshake; `None`: there is none.
        host: its field `Host`.
        allowed: the option; `None`: any.
    """
    if origin is None or allowed is None:
        return True
    origin = origin.lower()
    return origin in allowed or (host is not None and origin.partition("://")[2] == host.lower() != "")
