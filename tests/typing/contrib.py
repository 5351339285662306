"""What type checkers must conclude about `trivet.contrib`. Never run: pyright and mypy, both strict, check it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, assert_type

import httpx
import msgspec

from trivet import JSON, App, Depends, Form, Request, Router
from trivet.contrib import broadcast, observe
from trivet.contrib.broadcast import Broadcast, Joined, Left, Member, Message, Present, Subscription
from trivet.contrib.broadcast import MemoryBackend as Topics
from trivet.contrib.client import Client, DeadlineExceeded, Retry, Trace, traced
from trivet.contrib.concurrency import (
    HedgeBudget,
    Partial,
    first_of,
    hedged,
    iter_bounded,
    map_bounded,
    partial_after,
    partial_at,
)
from trivet.contrib.csrf import CrossOriginProtection
from trivet.contrib.ratelimit import Backend, ClientAddress, Decision, MemoryBackend, Quota, RateLimit
from trivet.contrib.redis import Redis, RedisBuckets, RedisSessionStore, Script
from trivet.contrib.security import (
    APIKey,
    Basic,
    Bearer,
    Credentials,
    OAuth2Password,
    OptionalScheme,
    PasswordForm,
    Scheme,
    Token,
    find_secret,
    token_response,
)
from trivet.contrib.sessions import MemoryStore, Session, Sessions, SessionStore, TypedSession

app = App()
oauth2 = OAuth2Password(token_url="/token", scopes={"notes:read": "Read notes."})


@dataclass
class User:
    name: str
    scopes: frozenset[str]


async def current_user(token: Annotated[str, Depends(oauth2)]) -> User:
    return User(token, frozenset())


@asynccontextmanager
async def session_user(token: Annotated[str, Depends(oauth2)]) -> AsyncGenerator[User]:
    yield User(token, frozenset())


def plain_user(token: Annotated[str, Depends(oauth2)]) -> User:
    return User(token, frozenset())


async def nobody() -> str:
    return ""


async def check_schemes(request: Request) -> None:
    assert_type(await Bearer()(request), str)
    assert_type(await oauth2(request), str)
    assert_type(await Basic()(request), Credentials)
    assert_type(await APIKey("x")(request), str)
    # What is optional has another type.
    assert_type(Bearer().optional, OptionalScheme[str])
    assert_type(await Bearer().optional(request), str | None)
    assert_type(await Basic().optional(request), Credentials | None)
    assert_type(await APIKey("x").optional(request), str | None)
    any_scheme: list[Scheme[str | Credentials]] = [Basic(), Bearer()]
    assert_type(await any_scheme[0](request), str | Credentials)
    Bearer("realm")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    APIKey("x", where="body")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def check_scopes() -> None:
    assert_type(await oauth2.requires(current_user, "notes:read")(), User)
    assert_type(await oauth2.requires(session_user)(), User)
    assert_type(await oauth2.requires(plain_user)(), User)
    oauth2.requires(nobody)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]


assert_type(find_secret("a", {"a": 1}), int | None)


@app.post("/token")
async def token(form: Annotated[PasswordForm, Form()]) -> JSON[Token]:
    assert_type(form.scopes, tuple[str, ...])
    return token_response("a")


class Own:
    async def take(self, key: str, quota: Quota, now: float) -> Decision:
        return Decision(True, 1, 0.0)


class Half:
    async def take(self, key: str) -> Decision:
        return Decision(True, 1, 0.0)


async def by_user(user: Annotated[User, Depends(current_user)]) -> str | None:
    return user.name


def by_path(request: Request) -> str:
    return request.path


async def by_number() -> int:
    return 1


backend: Backend = MemoryBackend()
RateLimit(1, per=2, key=by_user, backend=Own(), on_failure="refuse")
RateLimit(1, per=2, key=by_path, backend=backend)
RateLimit(1, per=2, key=ClientAddress())
RateLimit(1, per=2, backend=RedisBuckets(Redis("redis://localhost", required=True), prefix="shop:"))
RateLimit(1, per=2, backend=Half())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RateLimit(1, per=2, key=by_number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def check_limit() -> None:
    assert_type(await RateLimit(1, per=2)(), Decision | None)


redis = Redis("redis://localhost")


@app.get("/visits")
async def counted(redis: Annotated[Redis, Depends(redis, scope="app")]) -> bool:
    assert_type(redis.error, str | None)
    await redis.execute("SET", "a", 1, "PX", b"10")
    await redis.execute("SET", "a", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await redis.run(Script("return ARGV[1]"), ["key", b"key"], [1.5])
    async with redis.dedicated() as connection:
        connection.send_command(b"SUBSCRIBE", b"news")
    async with redis as entered:
        assert_type(entered, Redis)
    Sessions(store=RedisSessionStore(redis, prefix="shop:"))
    return redis.up


class Line(msgspec.Struct):
    text: str


class Silent:
    async def publish(self, topic: str, data: str) -> Message:
        return Message(data, topic, None, None)


async def check_broadcast() -> None:
    topics: broadcast.Backend = Topics()
    async with Broadcast(backend=topics, slow="drop_oldest") as rooms:
        assert_type(rooms, Broadcast)
        assert_type(await rooms.publish("a", Line("b")), Message)
        async with rooms.subscribe("a") as subscription:
            assert_type(subscription, Subscription[Message])
            assert_type(await subscription.receive(), Message)
            async for message in subscription:
                assert_type(message.json(Line), Line)
        async with rooms.subscribe("a", presence=True, member=Line("b")) as watching:
            async for item in watching:
                match item:
                    case Message():
                        assert_type(item.id, str | None)
                    case Joined(member) | Left(member):
                        assert_type(member, Member)
                    case Present(members):
                        assert_type(members, Mapping[str, Member])
        rooms.subscribe("a", slow="drop")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        Broadcast(backend=Silent())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


assert_type(observe.router("metrics", "ready", buckets=[0.1, 1]), Router)
observe.router(registry=None, dependencies=[Depends(by_path)])
observe.router("metric")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
observe.router(registry="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
app.wrap(observe.opentelemetry, exclude_spans=["send"])


@asynccontextmanager
async def open_client() -> AsyncGenerator[Client]:
    async with Client(
        base_url="http://upstream", timeout=3, http2=False, margin=0.1, retry=Retry(attempts=2)
    ) as client:
        assert_type(client, Client)
        yield client


@app.get("/upstream")
async def ask(
    client: Annotated[Client, Depends(open_client, scope="app")], trace: Annotated[Trace, Depends(traced)]
) -> str:
    try:
        response = await client.get("/")
    except DeadlineExceeded as late:
        assert_type(late.request, httpx.Request)
        return ""
    assert_type(response, httpx.Response)
    Client(bas_url="http://upstream")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return trace.trace_id


async def size(path: str) -> int:
    return len(path)


async def text(path: str, lines: int) -> str:
    return path * lines


async def check_concurrency() -> None:
    assert_type(await first_of(partial(size, "a"), partial(size, "b")), int)
    assert_type(await first_of(*[partial(text, name, 1) for name in "ab"]), str)
    assert_type(await hedged(size, "a", after=0.1), int)
    assert_type(await hedged(text, "a", 2, after=0.1, budget=HedgeBudget(share=0.1, burst=3)), str)
    assert_type(await map_bounded(size, ["a", "b"], limit=2), list[int])
    async with iter_bounded(size, ["a"], limit=2) as sizes:
        assert_type(sizes, AsyncIterator[int])
    page = await partial_at(0, {"a": partial(size, "a")})
    assert_type(page, Partial[str, int])
    assert_type(page.results, dict[str, int])
    assert_type(page.failed, dict[str, Exception])
    assert_type(await partial_after(1, {1: partial(size, "a")}), Partial[int, int])
    await hedged(text, "a", after=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await hedged(size, 1, after=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await map_bounded(size, [1], limit=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await first_of(size)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Visit(msgspec.Struct):
    pages: int = 0


class NeedsPages(msgspec.Struct):
    pages: int


class HalfStore:
    async def get(self, key: str) -> bytes | None:
        return None


visits = Sessions(Visit, secret=["new", b"old"])
store: SessionStore = MemoryStore(max_sessions=10)
Sessions(store=store, samesite="strict", idle=None)
Sessions(NeedsPages, store=store)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Sessions(store=HalfStore())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Sessions("secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Sessions(secret="x", samesite="Lax")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
CrossOriginProtection(origins=["https://example.com"])


@app.get("/visits", dependencies=[Depends(CrossOriginProtection())])
async def visited(
    visit: Annotated[TypedSession[Visit], Depends(visits)], session: Annotated[Session, Depends(Sessions(store=store))]
) -> int:
    assert_type(visit.data, Visit)
    visit.data = Visit(visit.data.pages + 1)
    visit.rotate()
    assert_type(visit.new, bool)
    session["user"] = 7
    assert_type(session.data, dict[str, Any])
    session[7] = 7  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    session.update(a=1, b=[2])
    session.clear()
    await session.save()
    return visit.data.pages


def wrong(visit: TypedSession[Visit]) -> None:
    visit.data = {}  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


@app.get("/prepared")
async def prepared(request: Request) -> None:
    request.before_stream(nobody)
    request.before_stream(by_path)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
