"""Errors on their way to the client: the one map from exceptions to statuses, and their form (RFC 9457).

This file owns both. It does not know catchers, nor which leaf of a group counts (`_groups`); exceptions from
above the Trio line are registered from there. What it sends about an error that nobody foresaw is nothing,
unless `debug` is on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from ._encode import encode
from ._response import Response
from ._response_head import checked_status
from .errors import ClientDisconnected, HTTPError, RequestCancelled, ResponseError

E = TypeVar("E", bound=BaseException)

PROBLEM = "application/problem+json"

# RFC 9110's names where Python before 3.13 has older ones, and those that it does not have.
_TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    499: "Client Closed Request",  # nginx; it reaches logs only, since nobody is there to read it
}

# What RFC 9110 asks of an error (sections 11.6.1, 10.2.1; 15.5.9), when whoever raised it did not say.
# `Bearer`, because a browser opens no dialog for it; an empty `Allow` means that no method is allowed just
# now.
_REQUIRED = {
    401: ("www-authenticate", "Bearer"),
    405: ("allow", ""),
    408: ("connection", "close"),
}

_CANCELLED = {
    "deadline": (503, "The request took too long."),
    "drained": (503, "The server is stopping."),
    "shed": (503, "The server is busy."),
    "disconnected": (499, ""),
}

# httpx is an extra, so its errors are known by name; the name of the package that follows it is the same with
# a 2.
_BY_NAME = {
    (module, name): answer
    for module in ("httpx", "httpx2")
    for name, answer in (
        ("TimeoutException", (504, "A server that this one asked did not answer in time.")),
        ("RequestError", (502, "A server that this one asked could not be reached.")),
    )
}


def problem(
    status: int,
    detail: str = "",
    *,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
    instance: str | None = None,
) -> Response:
    """An error as `application/problem+json`.

    401 always has a `WWW-Authenticate`, 405 an `Allow`, and 408 `Connection: close`, whether or not they are
    given.

    Args:
        status: 400 to 599.
        detail: what went wrong this time; left out when empty.
        title: what went wrong in general; `None`: the name of the status, as RFC 9457 section 4.2.1 has it
            for the type `about:blank`.
        headers: added to the response.
        members: extension members, as `JSON` takes them; one with the name of a standard member is left out.
        instance: a URI for this occurrence; left out when `None`.

    Raises:
        ResponseError: a member cannot be encoded, or `status` cannot be sent.
        ValueError: a header cannot be sent.
    """
    status = checked_status(status)
    body: dict[str, Any] = {"type": "about:blank", "title": title or reason_phrase(status), "status": status}
    if detail:
        body["detail"] = detail
    if instance is not None:
        body["instance"] = instance
    if members:
        standard = ("type", "title", "status", "detail", "instance")
        body.update((name, value) for name, value in members.items() if name not in standard)
    try:
        content = encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ResponseError(
            f"a member of HTTPError({status}) cannot be sent as JSON: {error}.\n"
            'Pass what msgspec encodes:  raise HTTPError(409, "in use", users=[str(user) for user in users])'
        ) from error
    response = Response(content, status=status, media_type=PROBLEM)
    # A browser must not take text that came from a client for a page.
    response.headers.raw.append((b"x-content-type-options", b"nosniff"))
    for name, value in (headers or {}).items():
        response.headers[name] = value
    if status in _REQUIRED:
        response.headers.setdefault(*_REQUIRED[status])
    return response


def answer(error: HTTPError, *, instance: str | None = None) -> Response:
    """The problem that an `HTTPError` stands for.

    Raises:
        ResponseError, ValueError: as `problem`; such an error is a bug in turn.
    """
    return problem(error.status, error.detail, headers=error.headers, members=error.members, instance=instance)


def demanded(error: HTTPError) -> dict[str, str]:
    """The field that RFC 9110 asks of whatever is answered with the status of `error`, as `error` has it."""
    if error.status not in _REQUIRED:
        return {}
    name, otherwise = _REQUIRED[error.status]
    return {name: {own.lower(): value for own, value in error.headers.items()}.get(name, otherwise)}


def translated(error: HTTPError, original: HTTPError | None) -> HTTPError:
    """An error that was raised in the place of another: of one with the same status it has what that asks of it."""
    lacking = demanded(original) if original is not None and original.status == error.status else {}
    if not lacking:
        return error
    return HTTPError(error.status, error.detail, headers=lacking | dict(error.headers), **error.members)


def bug(error: BaseException, *, debug: bool = False, instance: str | None = None) -> Response:
    """The answer to an error that nobody foresaw: 500, and nothing else.

    Args:
        error: what was raised.
        debug: show it: `detail` is the error, and the member `traceback` its traceback, line by line.
        instance: a URI for this occurrence, by which it is found in the log.
    """
    if not debug:
        return problem(500, instance=instance)
    lines = [line for text in traceback.format_exception(error) for line in text.splitlines()]
    summary = traceback.format_exception_only(error)[0].rstrip("\n")
    return problem(
        500,
        _encodable(summary),
        members={"traceback": [_encodable(line) for line in lines]},
        instance=instance,
    )


def reason_phrase(status: int) -> str:
    """The name of a status; of one that nobody has named, the name of its class."""
    named = _TITLES.get(status)
    if named is not None:
        return named
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return {4: "Client Error", 5: "Server Error"}.get(status // 100, "Unknown Status")


class ErrorMap:
    """Which exception answers with which status.

    An exception answers as the first class of its MRO that is registered. From the start these are:
    `HTTPError` (itself), `RequestCancelled` (503; 499 when the client left), `ClientDisconnected` (499), and,
    by name, httpx's `TimeoutException` (504) and `RequestError` (502).
    """

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: dict[type[BaseException], Callable[[Any], HTTPError | None]] = {}
        self.register(HTTPError, _itself)
        self.register(RequestCancelled, _cancelled)
        self.register(ClientDisconnected, 499)

    def register(self, error: type[E], response: int | Callable[[E], HTTPError | None], detail: str = "") -> None:
        """Answer to `error`, and to what is derived from it, in this way; it replaces an earlier one.

        Args:
            error: the class.
            response: a status from 400 to 599, or a function from the exception to the `HTTPError` that
                stands for it (`None`: it is a bug).
            detail: what to tell the client, with a status.

        Raises:
            TypeError: `error` is not an exception class.
            ValueError: the status is not one of an error.
        """
        if not isinstance(error, type) or not issubclass(error, BaseException):
            raise TypeError(
                f"{error!r} is not an exception class.\nPass the class, not an instance:  register(KeyError, 404)"
            )
        if isinstance(response, int):
            status = HTTPError(response).status
            self._answers[error] = lambda _: HTTPError(status, detail)
        else:
            self._answers[error] = response

    def http_error(self, error: BaseException) -> HTTPError | None:
        """The `HTTPError` that stands for `error`; `None`: nobody foresaw it, it is a bug."""
        answers = self._answers
        for base in type(error).__mro__:
            known = answers.get(base)
            if known is not None:
                return known(error)
            named = _BY_NAME.get((base.__module__.partition(".")[0], base.__name__))
            if named is not None:
                return HTTPError(*named)
        return None


def _itself(error: HTTPError) -> HTTPError:
    return error


def _cancelled(error: RequestCancelled) -> HTTPError | None:
    known = _CANCELLED.get(error.reason)
    if known is None:
        return None
    # Who is told that the server stops may ask its successor, or another one, at once: no less can be said here.
    after = 1 if error.reason == "drained" and error.retry_after is None else error.retry_after
    return HTTPError(*known, headers=None if after is None else {"retry-after": str(after)})


def _encodable(text: str) -> str:
    # A lone surrogate (from a file name, say) is not UTF-8, and the message about an error must not be one
    # more.
    return text.encode("utf-8", "backslashreplace").decode()
