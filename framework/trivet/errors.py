"""The exception tree. This file owns which errors exist, whose fault each is, and what it carries.

    Exception
    ├── TrivetError                     base of all below
    │   ├── HTTPError                   raise it to answer with a status; 4xx: the client's fault, 5xx: ours
    │   │   └── InvalidInput            400, 413, 415, 422: what the client sent cannot be bound; carries each fault
    │   │       └── InvalidMessage      a WebSocket's message is not what was asked for; closes it with 1003 or 1007
    │   ├── RegistrationError           the application's fault, at import: shows what came, where, and the remedy
    │   │   ├── PatternError            a path that does not parse
    │   │   └── RouteConflict           two routes match the same request and neither is more specific
    │   ├── ResponseError               the application's fault, per request: a response that HTTP cannot carry (500)
    │   ├── NoResponse                  a dependency ended the handler without an error: nothing to send (500)
    │   └── RequestCancelled            what an entered dependency sees at its `yield` when the request was cancelled
    └── OSError
        └── ClientDisconnected          the client left while we read its body or wrote to it
            └── WebSocketClosed         the WebSocket is closed, by whichever side: nothing more to receive, nor to send

Nothing here formats a response: `_problem` maps exceptions to statuses. Nothing here imports Trio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from .asgi import Reason

__all__ = [
    "ClientDisconnected",
    "Fault",
    "HTTPError",
    "InvalidInput",
    "InvalidMessage",
    "Location",
    "NoResponse",
    "PatternError",
    "RegistrationError",
    "RequestCancelled",
    "ResponseError",
    "RouteConflict",
    "TrivetError",
    "WebSocketClosed",
]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a handler or provider was written: for messages only."""

    name: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})"


class TrivetError(Exception):
    """Base of the errors that trivet defines."""


class HTTPError(TrivetError):
    """Raise it anywhere in a request to answer with a status.

    Args:
        status: 400 to 599.
        detail: what went wrong, for the client; it goes out as `detail` of the problem (RFC 9457 section 3.1.4).
        headers: added to the response.
        members: extension members of the problem (RFC 9457 section 3.2), msgspec-encodable.

    Raises:
        ValueError: `status` is not an error status.
        TypeError: it is no number, or missing.
    """

    def __new__(cls, *args: Any, **members: Any) -> Self:
        """Refuse how Starlette's is raised: the name would pass for a member's, and Python miss the status only."""
        if "status_code" in members and not args and cls.__init__ is HTTPError.__init__:
            raise TypeError(
                "HTTPError has no argument 'status_code': the status comes first.\n"
                'Write  raise HTTPError(404, "no such item"), or status=404, detail="no such item"'
            )
        return super().__new__(cls, *args)

    def __init__(
        self, status: int, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        try:
            is_error = 400 <= status <= 599
        except TypeError:
            raise TypeError(
                f"HTTPError({status!r}) has no status: it comes first, and is a number.\n"
                f"Write  raise HTTPError(404, {detail or _text(status) or 'no such item'!r})"
            ) from None
        if not is_error:
            raise ValueError(
                f"HTTPError({status}) is not an error: its status is 400 to 599.\n"
                f"To answer with {status}, return it:  return {status}, value"
            )
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers: Mapping[str, str] = headers or {}
        self.members: Mapping[str, Any] = members

    def __str__(self) -> str:
        return f"{self.status} {self.detail}".rstrip()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with what the client sent.

    `name` is the parameter's name as the client spells it; in a body it is a JSON Pointer (RFC 6901), empty for the
    whole document. `reason` never echoes the input.
    """

    where: Literal["path", "query", "header", "cookie", "body", "form"]
    name: str
    reason: str


class InvalidInput(HTTPError):
    """What the client sent cannot be bound to the handler's parameters; `faults` names each one."""

    def __init__(self, status: int, detail: str, faults: Sequence[Fault] = ()) -> None:
        errors = [{"in": fault.where, "name": fault.name, "reason": fault.reason} for fault in faults]
        members: dict[str, Any] = {"errors": errors} if errors else {}
        super().__init__(status, detail, **members)
        self.faults = tuple(faults)


class InvalidMessage(InvalidInput):
    """A WebSocket's message is not what was asked for. The WebSocket goes on, unless this leaves the handler.

    Args:
        code: what the WebSocket is closed with then: 1003, a kind of message that was not asked for; 1007, one whose
            content does not fit (RFC 6455 section 7.4.1).
        status: as for any other input: 400 or 422.
        detail: what is wrong; the reason that goes with the code.
        faults: each place where the content does not fit.
    """

    def __init__(self, code: int, status: int, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(status, detail, faults)
        self.code = code


class RegistrationError(TrivetError):
    """The application registered something that cannot work.

    Raised at the line that registers it, so that `import` fails and nothing is served half-right.
    """


class PatternError(RegistrationError):
    """A path that does not parse; the message points at the character."""


class RouteConflict(RegistrationError):
    """Two routes can match the same request and neither is more specific.

    `first` and `second` are where their handlers are, `example` is a path that both match.
    """

    def __init__(self, message: str, *, first: Location, second: Location, example: str) -> None:
        super().__init__(message)
        self.first = first
        self.second = second
        self.example = example


class ResponseError(TrivetError):
    """A response that HTTP cannot carry; refused before a byte of it is sent, answered with 500."""


class NoResponse(TrivetError):
    """A dependency ended the handler without an error, so that there is no response: 500."""


class RequestCancelled(TrivetError):
    """What a dependency sees at its `yield` when the request was cancelled: an ordinary exception.

    It may clean up (roll back, say) for `cleanup_grace` seconds, in a scope that is not cancelled. It cannot swallow
    it: outer dependencies see how the request ended whatever an inner one does.

    Args:
        reason: why.
        retry_after: whole seconds after which the client may try again, if a limit has turned it away.
    """

    def __init__(self, reason: Reason, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.retry_after = retry_after


class ClientDisconnected(OSError):
    """The client left: raised from a body that is being read and from a stream's sink.

    An `OSError`, as the ASGI specification (2.4) has it for `send`.
    """


class WebSocketClosed(ClientDisconnected):
    """The WebSocket is closed: raised when it is received from or sent to all the same.

    Let out of a handler it is no error: the client has left, or the handler itself has closed.

    Args:
        code: what it was closed with (RFC 6455 section 7.4): 1000, all is done; 1001, the page or the server went away;
            1005, no code was given; 1006, the connection broke.
        reason: as it was given with the code; often empty.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()
