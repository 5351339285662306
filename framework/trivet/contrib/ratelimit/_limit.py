"""The limit as a dependency: whose bucket a request takes from, and what its answer says of it.

This file owns the headers, which are those of draft-ietf-httpapi-ratelimit-headers-11 (May 2026): `RateLimit-Policy`
with the quota `q` and the window `w`, `RateLimit` with what remains, `r`, and the seconds `t` until there is more. The
three fields of earlier drafts (`RateLimit-Limit`, `-Remaining`, `-Reset`) are not sent. It knows neither how buckets
work nor where they are kept.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Annotated, Any, Literal

import trio

from trivet import Depends, Description, HTTPError, Request
from trivet.contrib._composed import Composed
from trivet.contrib._meant import is_redis, redis_named, shown
from trivet.contrib._outage import Outage
from trivet.errors import RegistrationError

from ._backend import Backend
from ._client import ClientAddress
from ._gcra import Decision, Quota
from ._memory import MemoryBackend

log = logging.getLogger("trivet.contrib.ratelimit")

_KEY_LENGTH = 64
"""Characters: a longer key is hashed, so that the memory for so many keys is bounded."""

_ROUNDING = 1e-6
"""Seconds: what a sum of floats is off by must not make a whole second."""


class RateLimit(Composed[Decision | None]):
    """A provider that admits so many requests of each client, and answers with 429 to the others.

    `limit = RateLimit(100, per=60)`, then `dependencies=[Depends(limit)]` for a route, a router or the application.
    Where it stands twice on the way to one handler it counts once; all that share the object share its buckets. As the
    value of a parameter it is the `Decision`, or `None` where nothing was counted.

    Args:
        requests: how many are admitted, in the long run,
        per: in so many seconds.
        burst: how many at once, after a pause; as many as `requests`, by default.
        key: a provider of the text by which clients are told apart; `None` from it: do not count this request. It may
            depend on others, on who was recognized for example. By default the client's address.
        name: what clients know the quota by. In one backend limits that have the same name and the same size share
            their buckets.
        backend: where buckets are kept; by default in this process's memory, up to 100 000 of them.
        timeout: seconds that the backend has.
        on_failure: what becomes of a request when the backend fails or takes too long. `"admit"`, because most limits
            protect against too much and not against an intruder; `"refuse"`, with 503, for one that guards a login.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    def __init__(
        self,
        requests: int,
        *,
        per: int,
        burst: int | None = None,
        key: Callable[..., Awaitable[str | None]] | Callable[..., str | None] | None = None,
        name: str = "default",
        backend: Backend | None = None,
        timeout: float = 1.0,
        on_failure: Literal["admit", "refuse"] = "admit",
    ) -> None:
        if on_failure not in ("admit", "refuse"):
            raise RegistrationError(
                f'on_failure={on_failure!r} is not a choice.\nWrite on_failure="admit" or on_failure="refuse".'
            )
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise RegistrationError(f"timeout={timeout!r} is not a number of seconds.\nWrite  timeout=1.0")
        if backend is not None:
            _check_backend(backend, requests, per)

        async def limited(request: Request, key: str | None) -> Decision | None:
            return await self._check(request, key)

        async def connected(request: Request, key: str | None, store: object) -> Decision | None:
            return await self._check(request, key)

        asked = {"request": Request, "key": Annotated[Any, Depends(ClientAddress() if key is None else key)]}
        store = getattr(backend, "connected", None)
        if store is None:
            super().__init__(limited, **asked)
        else:
            super().__init__(connected, **asked, store=Annotated[Any, Depends(store, scope="app")])
        self.quota = Quota(name, requests, per, requests if burst is None else burst)
        self.backend: Backend = MemoryBackend() if backend is None else backend
        self._timeout = timeout
        self._admits = on_failure == "admit"
        self._policy = f'"{name}";q={requests};w={per}'
        fate = "admitted" if self._admits else "refused"
        self._outage = Outage(log, f"the backend of the rate limit {name!r}", f"are {fate}", f"were {fate}")

    async def _check(self, request: Request, key: str | None) -> Decision | None:
        if key is None:
            return None
        if not isinstance(key, str):
            raise TypeError(
                f"the key of the limit {self.quota.name!r} is {key!r}, not a text.\n"
                "Return str(user.id), or None for a request that is not counted."
            )
        decision = await self._take(key if len(key) <= _KEY_LENGTH else _hash(key), request)
        if decision is None:
            return None
        seconds = max(1, math.ceil(decision.wait - _ROUNDING))
        headers = request.response_headers
        # Two limits are two items of one list (RFC 9651), in one field or in two.
        headers.add("ratelimit-policy", self._policy)
        headers.add("ratelimit", f'"{self.quota.name}";r={decision.remaining};t={seconds}')
        if not decision.admitted:
            # The draft's section 6: `Retry-After` is not earlier than the end of `t`. It names the member.
            members: dict[str, Any] = {"violated-policies": [self.quota.name]}
            # Beside the error as well, for a catcher's answer is a whole one of its own.
            headers["retry-after"] = str(seconds)
            raise HTTPError(429, "Too many requests.", headers={"retry-after": str(seconds)}, **members)
        return decision

    async def _take(self, key: str, request: Request) -> Decision | None:
        """What the backend says; `None`: it failed, and that admits the request."""
        try:
            with trio.fail_after(self._timeout):
                decision = _checked(await self.backend.take(key, self.quota, trio.current_time()))
        except Exception as error:
            self._outage.met(error)
            if not self._admits:
                seconds = str(max(1, math.ceil(getattr(error, "retry_after", 1))))
                request.response_headers["retry-after"] = seconds
                headers = {"retry-after": seconds}
                raise HTTPError(503, "Requests cannot be counted now.", headers=headers) from error
            return None
        if self._outage.requests:
            self._outage.over()
        return decision

    def describe(self) -> Description:
        """What OpenAPI shows."""
        told = {
            "RateLimit-Policy": "The quota q, for each window of w seconds.",
            "RateLimit": "How many requests remain, r, and in how many seconds, t, there is one more.",
        }
        responses = {429: f"More requests than {self.quota.requests} in {self.quota.per} seconds."}
        retry = {"Retry-After": "Seconds to wait."}
        if not self._admits:
            responses[503] = "Requests cannot be counted now."
        return Description(responses=responses, response_headers={0: told, **dict.fromkeys(responses, retry)})


def _check_backend(backend: object, requests: int, per: int) -> None:
    """Refuse what keeps no buckets: it would fail at each request, which admits each.

    Raises:
        RegistrationError: see there.
    """
    if isinstance(backend, type) or not callable(getattr(backend, "take", None)):
        own = f"RedisBuckets({redis_named(backend)})" if is_redis(backend) else "MemoryBackend()"
        lacks = "" if isinstance(backend, type) else ": it has no take"
        raise RegistrationError(
            f"{shown(backend)} keeps no buckets of a rate limit{lacks}.\n"
            f"Write  RateLimit({requests}, per={per}, backend={own})"
        )


def _checked(decision: object) -> Decision:
    """What a backend says, if it is a decision: one that says nothing must admit nobody."""
    if not isinstance(decision, Decision) or not math.isfinite(decision.wait):
        raise TypeError(
            f"the backend of a limit returned {decision!r}, which is no Decision with a finite wait.\n"
            "Return what take() gives:  full_at, decision = take(full_at, quota, now)"
        )
    return decision


def _hash(key: str) -> str:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_KEY_LENGTH // 2).hexdigest()
