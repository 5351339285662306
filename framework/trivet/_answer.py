"""From an error to a response, with the application's catchers on the way.

This file owns DESIGN's rule for exception groups: single leaves unwrap, cancellation is dropped, each leaf meets its
catcher once, and what no catcher took is ranked so that a bug is never masked. Which exception has which status is
`_problem`'s; a catcher's time is the scope's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import trio

from . import _problem
from ._damping import Damper
from ._groups import choose, fatal, leaves
from ._ported import explain_loop
from ._problem import ErrorMap
from ._repeats import with_its_root
from ._request import Request
from ._response import Response, with_status
from ._results import to_response
from ._scope import TooLate
from .errors import ClientDisconnected, HTTPError, RequestCancelled, TrivetError

log = logging.getLogger("trivet")

Catcher: TypeAlias = Callable[[Request, Any], Awaitable[object]]
Catchers: TypeAlias = Sequence[Mapping[type[BaseException] | int, Catcher]]

# Classes that say no more than "an error": a catcher for one status is more specific than one for these.
_GENERAL: tuple[type, ...] = (HTTPError, TrivetError, Exception, BaseException, object)


def report(message: str, error: BaseException | None) -> None:
    """Log what can be told to nobody else."""
    log.error("%s", message, exc_info=error)


def error_map() -> ErrorMap:
    """The map from exceptions to statuses, with what only exists above the Trio line."""
    errors = ErrorMap()
    errors.register(trio.TooSlowError, 504, "Something this server waited for took too long.")
    return errors


class Answerer:
    """Turns what ended a request into its response."""

    def __init__(self, errors: ErrorMap, *, debug: bool) -> None:
        self._errors = errors
        self.debug = debug
        self._told = Damper()

    async def answer(self, error: BaseException, request: Request, catchers: Catchers) -> Response:
        """The response to `error`; every leaf is logged.

        Raises:
            BaseException: `error` itself, if it is a group that holds KeyboardInterrupt or SystemExit, or nothing
                but a cancellation: a scope that a middleware holds over `call_next` must get its own back, and
                what comes from further out is for the outermost layer.

        Cancellation: a catcher has `cleanup_grace` seconds and is not cancelled otherwise.
        """
        if fatal(error):
            raise error
        found = leaves(error, (trio.Cancelled,))
        if not found:
            raise error
        outcomes = [await self._meet(leaf, request, catchers) for leaf in found]
        gone = request._left and all(isinstance(leaf, ClientDisconnected) for leaf in found)
        request._failed = "disconnected" if gone else "failed"  # it was to go on without its client, and could not
        return choose([(is_bug, response.status, response) for is_bug, response in outcomes])

    async def _meet(self, leaf: BaseException, request: Request, catchers: Catchers) -> tuple[bool, Response]:
        """One leaf and its catcher; whether it stays a bug that nobody caught."""
        known = self._http_error(leaf, request)
        catcher, shown, foreseen = find(leaf, known, catchers)
        if catcher is None:
            self._note(leaf, known, request)
            return self._default(leaf, known, request)
        try:
            response = to_response(await request._scope.in_grace(catcher, request, shown), None)
        except TooLate:  # logged; the error is answered as if there were no catcher: a bug stays one
            self._note(leaf, known, request)
            return self._default(leaf, known, request)
        except BaseException as error:  # a catcher that fails falls to the default, as Rocket's do
            # `raise HTTPError(409) from exc` translates; no catcher sees it again, or two could go in circles.
            translated = None if fatal(error) else self._errors.http_error(error)
            # A TooSlowError of the catcher's own was not foreseen by whoever wrote it.
            meant = translated is not None and (isinstance(error, HTTPError) or translated.status < 500)
            status = translated.status if translated is not None and meant and foreseen else None
            self._note(leaf, known, request, status)
            if fatal(error):
                raise
            if translated is None:
                return True, self._failed_catcher(error, request)
            return self._default(error, _problem.translated(translated, known), request)
        self._note(leaf, known, request, response.status if foreseen else None)
        return False, response if known is None else _with_demanded(response, known)

    def _default(self, leaf: BaseException, known: HTTPError | None, request: Request) -> tuple[bool, Response]:
        """What a leaf is answered with when no catcher has an answer; it is logged already."""
        try:
            if known is not None:
                return False, _problem.answer(known, instance=_urn(request))
        except Exception as error:  # noqa: BLE001 - a member or header of HTTPError that cannot be sent
            leaf = error
            self._note(leaf, None, request)
        return True, _problem.bug(leaf, debug=self.debug, instance=_urn(request))

    def plain(self, error: BaseException, request: Request) -> Response:
        """The response to `error` without its catchers, which have had their say; it is logged already."""
        known = self._http_error(error, request)
        request._failed = "failed"
        if known is None:
            return _problem.bug(error, debug=self.debug, instance=_urn(request))
        return _problem.answer(known, instance=_urn(request))

    def refused(self, error: Exception, request: Request) -> Response:
        """The response in place of one that HTTP cannot carry."""
        self._note(error, None, request)
        request._failed = "failed"
        return _problem.bug(error, debug=self.debug, instance=_urn(request))

    def _failed_catcher(self, error: BaseException, request: Request) -> Response:
        log.error("a catcher failed, request %s", request.id, exc_info=error)
        return _problem.bug(error, debug=self.debug, instance=_urn(request))

    def _note(self, leaf: BaseException, known: HTTPError | None, request: Request, status: int | None = None) -> None:
        """Log a leaf: a bug with its traceback, a 5xx as a warning, the client's own faults for those who look.

        Args:
            leaf: what was raised.
            known: what it is to the client without a catcher; `None`: a bug.
            request: which failed.
            status: what a catcher that foresaw it made of it: what is answered with 409, or 507, is no bug.
        """
        # A WebSocket's handshake is a GET, and a page may have the same path.
        line = request.method if request.scope["type"] == "http" else "WEBSOCKET", ascii(request.path)
        if known is None:
            if status is None:
                explain_loop(leaf)
                log.error("%s %s failed, request %s", *line, request.id, exc_info=leaf)
            elif status >= 500:
                # Without the traceback: it was expected.
                self._warn(f"{leaf!a}, answered with {status}", line, request)
            else:
                log.debug("%s %s: %s, answered with %d", *line, type(leaf).__qualname__, status, exc_info=leaf)
        elif isinstance(leaf, RequestCancelled) and leaf.reason == "shed":
            log.debug("%s %s: turned away", *line)  # the limit tells of all of them together, once in a while
        elif (known.status if status is None else status) >= 500:
            cause = "" if known is leaf or isinstance(leaf, RequestCancelled) else f", from {with_its_root(leaf)!a}"
            self._warn(ascii(str(known)), line, request, cause)
        elif log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s: %s", *line, ascii(str(known)))

    def _warn(self, text: str, line: tuple[str, str], request: Request, cause: str = "") -> None:
        """Warn of what was expected: once in a while of the same, for what is down or late fails at each request.

        Args:
            text: what it is, which makes it the same.
            line: the method and the path.
            request: that has met it.
            cause: of this time.
        """
        route = None if request.route is None else request.route.path
        again = self._told.passes((route, line[0], text), trio.current_time())
        level = logging.DEBUG if again is None else logging.WARNING
        log.log(level, "%s %s: %s%s, request %s%s", *line, text, cause, request.id, again or "")

    def _http_error(self, leaf: BaseException, request: Request) -> HTTPError | None:
        if isinstance(leaf, RequestCancelled) and leaf.reason == "deadline" and request._waited_for_body:
            # RFC 9110 section 15.5.9: it was the client that was slow.
            return HTTPError(408, "The request's body took too long.", headers={"connection": "close"})
        scope = request._scope
        stopped = scope.reason is not None or trio.current_time() >= scope.deadline
        if stopped and isinstance(leaf, HTTPError) and _out_of_cancellation(leaf):
            return None
        return self._errors.http_error(leaf)


def _out_of_cancellation(error: HTTPError) -> bool:
    """Whether an error was raised in the place of `trio.Cancelled`: `except BaseException: raise HTTPError(404)`.

    To send it would be to say that there is nothing, or that the client is at fault, when we have run out of time.
    """
    before = error.__context__
    return before is not None and any(isinstance(leaf, trio.Cancelled) for leaf in leaves(before))


def find(
    leaf: BaseException, known: HTTPError | None, catchers: Catchers
) -> tuple[Catcher | None, BaseException, bool]:
    """The catcher of `leaf`, what it is called with, and whether somebody foresaw this error.

    Who catches `Exception` or 500 gives bugs a better answer, and has not foreseen any.

    The nearest level wins. Within one: the exception's own class, then its bases as far as they say something, then
    the status, then the general classes; `Exception` sees only what has no status of its own.
    """
    status = 500 if known is None else known.status
    for level in catchers:
        by_status = level.get(status)
        for base in type(leaf).__mro__:
            if base in _GENERAL:
                if by_status is not None:
                    return by_status, _with_status(leaf, known, status), known is not None
                if known is not None and base in (Exception, BaseException):
                    break
            catcher = level.get(base)
            if catcher is not None:
                return catcher, leaf, base not in _GENERAL
    return None, leaf, False


def _with_status(leaf: BaseException, known: HTTPError | None, status: int) -> BaseException:
    """A catcher for a status is given an `HTTPError`, whatever was raised; that is its `__cause__`."""
    if known is leaf:
        return leaf
    shown = known or HTTPError(status)
    shown.__cause__ = leaf
    return shown


def _with_demanded(response: Response, known: HTTPError) -> Response:
    """What a catcher returned, with what RFC 9110 asks of that status, if the catcher has left the status as it was.

    Only the error knows it: which methods the path takes, which scheme the credentials have. What the RFC leaves open,
    as `Retry-After`, is the catcher's to take over.
    """
    if response.status != known.status:
        return response
    lacking = {name: value for name, value in _problem.demanded(known).items() if name not in response.headers}
    return with_status(response, response.status, lacking) if lacking else response


def _urn(request: Request) -> str:
    return f"urn:uuid:{request.id}"
