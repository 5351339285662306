"""The limits of the server as options: this file owns their names, their least values, and what is said of a wrong one.

Each field of `trivet.server._limits.Limits` is an option `--limit-FIELD`, and `limit_FIELD` in a configuration file.
Where hypercorn has a setting of the same meaning, the two are one: it may be given by either name, and holds for
hypercorn's protocols as well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hypercorn.config import Config

from trivet.server._limits import Limits

NO_BOUND: Final = math.inf
"""What `none` is while it is a setting: hypercorn compares with it, and None is what was not given."""

_DEFAULTS: Final[Mapping[str, float | None]] = dataclasses.asdict(Limits())


@dataclass(frozen=True)
class Limit:
    """One limit.

    `unit` is BYTES, N (both are whole numbers) or SECONDS; `above` says that `least` itself is not allowed;
    `hypercorn` is the setting of the same meaning, if there is one.
    """

    field: str
    unit: str
    least: int
    help: str
    above: bool = False
    optional: bool = False
    hypercorn: str | None = None

    @property
    def name(self) -> str:
        """In a configuration file."""
        return f"limit_{self.field}"

    @property
    def flag(self) -> str:
        """On the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def setting(self) -> str:
        """The attribute of the configuration that holds it."""
        return self.hypercorn or self.name

    @property
    def described(self) -> str:
        """The help, with default and unit."""
        default = _DEFAULTS[self.field]
        words = "none" if default is None else f"{default:g}" if self.unit == "SECONDS" else f"{default:.0f}"
        return f"{self.help} (default {words}{', or none' if self.optional and default is not None else ''})"

    def read(self, value: object) -> float:
        """The value of an option, as text, or of a setting.

        Raises:
            ValueError: it is none; the message says what would be.
        """
        if self.optional and value in ("none", NO_BOUND):
            return NO_BOUND
        number = _number(value, whole=self.unit != "SECONDS")
        if number is None or number < self.least or (self.above and number == self.least):
            kind = "seconds" if self.unit == "SECONDS" else "a whole number"
            bound = f"above {self.least}" if self.above else f"from {self.least} on"
            raise ValueError(f"it takes {kind} {bound}{', or none' if self.optional else ''}")
        return number

    @property
    def example(self) -> str:
        """A value that would do."""
        default = _DEFAULTS[self.field]
        return _EXAMPLES[self.field] if default is None else f"{default:g}"


def _number(value: object, *, whole: bool) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        if whole:
            return int(value) if isinstance(value, str | int) else None
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_EXAMPLES: Final = {"body_size": "10485760", "connections": "10000", "requests": "1000", "websocket_deflate": "1024"}

LIMITS: Final = (
    Limit("request_line", "BYTES", 64, "bytes of the request line; longer: 414"),
    Limit("head_size", "BYTES", 256, "bytes of the whole head; larger: 431", hypercorn="h11_max_incomplete_size"),
    Limit("head_fields", "N", 1, "field lines in a head; more: 431"),
    Limit("head_timeout", "SECONDS", 0, "seconds from a head's first byte to its last; longer: 408", above=True),
    Limit(
        "idle_timeout",
        "SECONDS",
        0,
        "seconds without a request before a connection is closed",
        above=True,
        hypercorn="keep_alive_timeout",
    ),
    Limit("body_size", "BYTES", 0, "bytes of a body, for any application; larger: 413", optional=True),
    Limit("body_rate", "BYTES", 1, "bytes a second that a body has to come at; slower: 408", optional=True),
    Limit("body_grace", "SECONDS", 0, "seconds before --limit-body-rate counts"),
    Limit("connections", "N", 1, "connections open at once; further ones wait in the backlog", optional=True),
    Limit(
        "requests",
        "N",
        1,
        "requests on one connection, which is then closed",
        optional=True,
        hypercorn="keep_alive_max_requests",
    ),
    Limit("read_ahead", "BYTES", 1024, "bytes read behind the request that is being answered"),
    Limit(
        "websocket_message",
        "BYTES",
        1,
        "bytes of a WebSocket's message; larger: closed with 1009",
        hypercorn="websocket_max_message_size",
    ),
    Limit("websocket_deflate", "BYTES", 0, "bytes from which messages are compressed; none: never", optional=True),
    Limit("websocket_pong", "SECONDS", 0, "seconds in which a pinged WebSocket has to be heard of", above=True),
    Limit("websocket_close", "SECONDS", 0, "seconds for a client to answer our close frame", above=True),
)
BY_NAME: Final[Mapping[str, Limit]] = {limit.name: limit for limit in LIMITS}


def chosen(config: Config) -> dict[str, Any]:
    """The limits that the command line or the file has chosen, as arguments of `Limits`.

    Raises:
        ValueError: hypercorn's setting of one has a value that cannot be; says which.
    """
    arguments: dict[str, Any] = {}
    for limit in LIMITS:
        if limit.setting in vars(config):
            given = getattr(config, limit.setting)
            try:
                value = limit.read(given)
            except ValueError as error:
                raise ValueError(
                    f"{limit.setting} is {given!r}: {error}, as in  {limit.setting} = {limit.example}"
                ) from None
            arguments[limit.field] = None if value == NO_BOUND else value
    return arguments
