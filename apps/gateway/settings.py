"""Which servers are behind the gateway, and how long they have: from the environment. This file owns names and
defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_letters, digits
from typing import Final

import httpx

_TOKEN: Final = frozenset(ascii_letters + digits + "-._~+/=")
"""What a client can send of one (RFC 6750 section 2.1)."""


@dataclass(frozen=True)
class Settings:
    """The settings of the app.

    Attributes:
        backends: their URLs, without a path.
        health: the path that is asked of each; any 2xx means that it is well.
        interval: seconds between two such questions.
        timeout: seconds until the head of an answer.
        stall: seconds in which a body, in either direction, must make progress.
        trusted: addresses and networks of the proxies in front.
        token: of those who may see how the backends are; empty: whoever asks from this machine may.
    """

    backends: tuple[str, ...] = ()
    health: str = "/"
    interval: float = 1.0
    timeout: float = 30.0
    stall: float = 30.0
    trusted: tuple[str, ...] = ()
    token: str = field(default="", repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read GATEWAY_BACKENDS, _HEALTH, _INTERVAL, _TIMEOUT, _STALL, _TRUSTED and _TOKEN; lists are separated by
        blanks.

        Raises:
            ValueError: one is not what it should be; the message names it.
        """
        return cls(
            backends=_backends(environment.get("GATEWAY_BACKENDS", "")),
            health=_path(environment.get("GATEWAY_HEALTH") or cls.health),
            interval=_seconds(environment, "GATEWAY_INTERVAL", cls.interval),
            timeout=_seconds(environment, "GATEWAY_TIMEOUT", cls.timeout),
            stall=_seconds(environment, "GATEWAY_STALL", cls.stall),
            trusted=tuple(environment.get("GATEWAY_TRUSTED", "").split()),
            token=_token(environment.get("GATEWAY_TOKEN", "")),
        )


def _backends(text: str) -> tuple[str, ...]:
    backends = tuple(_backend(each) for each in text.split())
    for each in backends:
        if backends.count(each) > 1:
            raise ValueError(
                f"GATEWAY_BACKENDS holds {each} twice. Who is to have twice the requests has to be two servers.\n"
                "Say  GATEWAY_BACKENDS='http://127.0.0.1:8001 http://127.0.0.1:8002'"
            )
    return backends


def _backend(text: str) -> str:
    url = _parsed(text)
    if url.scheme not in ("http", "https") or not url.host or url.raw_path != b"/" or url.userinfo or url.fragment:
        raise ValueError(
            f"GATEWAY_BACKENDS holds {_without_password(text)!r}, which is no URL of a server.\n"
            "Say  GATEWAY_BACKENDS='http://127.0.0.1:8001 http://127.0.0.1:8002'"
        )
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _without_password(text: str) -> str:
    """A message goes to the log."""
    return f"...@{text.rpartition('@')[2]}" if "@" in text else text


def _path(text: str) -> str:
    # Behind a server's URL it is to be a path, and neither the rest of a host nor a host of its own.
    url = _parsed(f"http://backend{text}")
    if not text.startswith("/") or url.netloc != b"backend" or url.fragment:
        raise ValueError(f"GATEWAY_HEALTH={text!r} is no path, with a query or without.\nSay  GATEWAY_HEALTH=/health")
    return text


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return httpx.URL()
    return url if (url.port or 0) <= 65535 else httpx.URL()


def _token(text: str) -> str:
    if not _TOKEN.issuperset(text) or text.startswith("="):
        raise ValueError(
            "GATEWAY_TOKEN holds what nobody can send as a token: it has ASCII letters, digits and -._~+/ only.\n"
            "Say  GATEWAY_TOKEN=$(openssl rand -hex 32)"
        )
    return text


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    try:
        value = default if not text else float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={text!r} is not a positive number of seconds.\nSay  {name}={default:g}")
    return value
