"""One session in one request: what came, and what is written of it when.

This file owns that. It is written when the handler has returned and, for a whole response, its other dependencies that
came later have left; before the head of a stream. A request that fails writes nothing, nor does one whose client has
left: it will not see the answer, and what it would do with half of it nobody knows.

Who looks at a session makes the answer one for this visitor: `Vary: Cookie` and `Cache-Control: private` go along from
then on, with an error too; the response may have a `Cache-Control` of its own. With a `Set-Cookie` it may not be a
shared one: whoever got it from there would be this visitor. Who does not look uses nothing, and nothing is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from trivet import Request

from ._contents import Contents
from ._cookie import SessionCookie
from ._keeper import Found, Keeper
from ._record import Record, Span
from ._session import SessionError, TypedSession

log = logging.getLogger("trivet.contrib.sessions")

T = TypeVar("T")

HEAD_OUT: Final = (
    "the session was changed, and the cookie goes with the head of the response, which has gone out: that of a stream "
    "goes before its first chunk.\n"
    "Change the session in the handler, before it returns the stream."
)
SOCKET: Final = (
    "the session was changed by the handler of a WebSocket, whose handshake has the only head that could carry the "
    "cookie.\n"
    "Let the page send an ordinary request for what it has to remember."
)
OVER: Final = "the session was changed when the handler had returned, and it was written.\nChange it before."


@dataclass(frozen=True, slots=True)
class Rules(Generic[T]):
    """What all requests have in common."""

    contents: Contents[T]
    cookie: SessionCookie
    keeper: Keeper
    span: Span
    clock: Callable[[], float]


class Visit(Generic[T]):
    """One session in one request; what its session asks of it is `Hold`.

    Args:
        rules: what all requests have in common.
        request: this one.
    """

    def __init__(self, rules: Rules[T], request: Request) -> None:
        self._rules = rules
        self._request = request
        self._secure = rules.cookie.is_secure(request)
        self._found: Found | None = None
        self._kept = rules.contents.empty
        """The contents as they were before anybody could change them, or as they were written last."""
        self._touched = self._rotates = self._ends = self._private = False
        self._sent: str | None = None
        """Our `Set-Cookie`."""
        self._sealed = SOCKET if request.scope["type"] == "websocket" else ""
        """Why nothing can be changed any more."""
        self.session: TypedSession[T]

    async def begin(self) -> TypedSession[T]:
        """Find what came."""
        rules = self._rules
        value = rules.cookie.read(self._request)
        found = None if value is None else await rules.keeper.find(value)
        if found is not None and rules.span.left(found.record, rules.clock()) <= 0:
            found = None
        data: T | None = None
        if found is not None:
            try:
                data = rules.contents.decode(found.record.contents)
            except ValueError as error:
                log.warning("a session does not fit the type of its contents any more: %s", error)
            else:
                self._found, self._kept = found, found.record.contents
        self.session = rules.contents.session(rules.contents.fresh() if data is None else data)
        self.session._hold = self
        if not self._sealed:
            self._request.before_stream(self._before_stream)
        return self.session

    async def finish(self) -> None:
        """Write what has changed, unless that was done before the head of a stream.

        Raises:
            SessionError: it has changed since then.
        """
        if not self._sealed:
            if self._request.ended != "disconnected":
                await self.write()
            self._sealed = OVER
        elif self._touched and self._rules.contents.encode(self.session._data) != self._kept:
            raise SessionError(self._sealed)

    async def _before_stream(self) -> None:
        if not self._sealed:
            self.touch()  # what the stream will look at, nobody knows
            await self.write()
            self._sealed = HEAD_OUT

    # ---- what the session asks

    @property
    def new(self) -> bool:
        """Whether there is none yet."""
        return self._found is None or self._ends

    def touch(self) -> None:
        """Somebody looks at it, and may change what is in it."""
        if not self._touched:
            self._touched = True
            # Not the bytes that came: a set has its own order in each process, and a type may have new fields.
            self._kept = self._rules.contents.encode(self.session._data)
            self._answer_is_private()

    def change(self) -> None:
        """Somebody is going to change it.

        Raises:
            SessionError: too late.
        """
        if self._sealed:
            raise SessionError(self._sealed)
        self.touch()

    def begin_anew(self) -> None:
        """It is to go on under another identifier."""
        self.change()
        self._rotates = True

    def end(self) -> T:
        """It is over; returns the contents of a new one."""
        self.change()
        self._ends = True
        return self._rules.contents.fresh()

    async def write(self) -> None:
        """Write what has changed."""
        rules, found = self._rules, self._found
        contents = rules.contents.encode(self.session._data) if self._touched else self._kept
        if found is not None and (self._ends or contents == rules.contents.empty):
            await self._end(found)
            found = None
        self._ends = False
        if contents == rules.contents.empty:
            self._rotates = False  # there is nothing to go on with
            return
        now = rules.clock()
        began = int(now) if found is None or self._rotates else found.record.began
        record = Record(began, int(now), contents)
        if contents != self._kept:
            rules.contents.check(contents)
        elif found is not None and not self._rotates:
            if not self._touched or not (found.stale or rules.span.is_due(found.record, now)):
                return
            await self._extend(found, now)
            return
        await self._keep(record, now, found)
        self._kept = contents

    async def _end(self, found: Found) -> None:
        await self._rules.keeper.forget(found.value)
        self._found, self._kept = None, self._rules.contents.empty
        self._send(self._rules.cookie.removal(secure=self._secure))

    async def _keep(self, record: Record, now: float, found: Found | None) -> None:
        rules = self._rules
        ttl = rules.span.left(record, now)
        if found is not None and ttl <= 0:
            await self._lapse(found)
            return
        value = await rules.keeper.keep(record, ttl, None if found is None or self._rotates else found.value)
        if found is not None and self._rotates and value is not None and not await rules.keeper.forget(found.value):
            # The other way round, a failure in between would leave the user with nothing. Of the new one nobody knows
            # the identifier yet.
            await rules.keeper.forget(value)
            value = None
        if value is None:
            # Ended by another request, that of a logout say, while this one was under way: it must stay so.
            log.debug("a session was ended by another request: changes are dropped")
            return
        self._rotates = False
        self._found = Found(value, record)
        self._send(rules.cookie.set(value, ttl, secure=self._secure))

    async def _extend(self, found: Found, now: float) -> None:
        record = replace(found.record, used=int(now))  # and the bytes that came, which it is told by
        ttl = self._rules.span.left(record, now)
        if ttl <= 0:
            await self._lapse(found)
            return
        value = await self._rules.keeper.extend(found, record, ttl)
        if value is not None:
            self._found = Found(value, record)
            self._send(self._rules.cookie.set(value, ttl, secure=self._secure))

    async def _lapse(self, found: Found) -> None:
        """Its lifetime has ended while the request was under way: to keep it for no time is nothing a store can do."""
        log.debug("a session's lifetime has ended while a request used it: changes are dropped")
        await self._rules.keeper.forget(found.value)
        self._send(self._rules.cookie.removal(secure=self._secure))

    def _answer_is_private(self) -> None:
        if not self._private:
            self._private = True
            headers = self._request.response_headers
            headers.add("vary", "Cookie")
            headers.setdefault("cache-control", "private")

    def _send(self, cookie: str) -> None:
        """Put our `Set-Cookie` into the response's head, in the place of one that we have put there before."""
        self._answer_is_private()
        self._request._unshared = True
        headers = self._request.response_headers
        if self._sent is not None:
            others = [each for each in headers.getlist("set-cookie") if each != self._sent]
            del headers["set-cookie"]
            for each in others:
                headers.add("set-cookie", each)
        headers.add("set-cookie", cookie)
        self._sent = cookie
