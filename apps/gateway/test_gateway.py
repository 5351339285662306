"""The gateway in memory: heads, bodies, choice of backends, time."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import httpx
import pytest
import trio

from apps.gateway.backends import Backend
from apps.gateway.fields import been_here, end_to_end, request_fields, response_fields
from apps.gateway.main import create_app
from apps.gateway.settings import Settings
from trivet import App
from trivet.testing import TestClient

Answer: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]
HEALTH = "/health"


class Behind(httpx.AsyncBaseTransport):
    """The backends: each host has a function that answers, and is well as long as neither `ill` nor `dead` names it."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.ill: set[str] = set()
        self.dead: set[str] = set()
        self.requests: list[httpx.Request] = []
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if "target" not in request.extensions:
            self.asked.append(host)
            await trio.sleep(math.inf if host in self.dead else 0)
            return httpx.Response(503 if host in self.ill else 204)
        self.requests.append(request)
        return await self.answers[host](request)

    @property
    def hosts(self) -> list[str]:
        return [request.url.host for request in self.requests]

    def gateway(self, **options: Any) -> AbstractAsyncContextManager[TestClient]:
        urls = tuple(f"http://{host}" for host in self.answers)
        return TestClient(create_app(Settings(backends=urls, health=HEALTH, **options), transport=self))


class Body(httpx.AsyncByteStream):
    """An empty one, which notes how often it was closed."""

    closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""

    async def aclose(self) -> None:
        self.closed += 1


async def mirror(request: httpx.Request) -> httpx.Response:
    """The body that came."""
    body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
    return httpx.Response(200, content=body, headers=[("x-own", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2")])


async def never(request: httpx.Request) -> httpx.Response:
    """No answer."""
    await trio.sleep_forever()
    raise AssertionError


async def refused(request: httpx.Request) -> httpx.Response:
    """Nobody listens."""
    raise httpx.ConnectError("refused")


async def broken(request: httpx.Request) -> httpx.Response:
    """It was there, and went."""
    raise httpx.ReadError("reset")


async def garbled(request: httpx.Request) -> httpx.Response:
    """Its answer is none."""
    raise httpx.RemoteProtocolError("no HTTP")


async def unable(request: httpx.Request) -> httpx.Response:
    """It says that it cannot."""
    return httpx.Response(503, text="busy")


# Heads --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [b"/", b"/a", b"/a/", b"/a%2Fb?c=%2F&d", b"/a?", b"/a//b", b"/a/../b", b"/%C3%A9", b"/~x;y=1"],
)
async def test_the_target_goes_on_as_it_came(target: bytes) -> None:
    """Path and query to the byte; what is asked of `/-/backends` is the gateway's own."""
    async with (behind := Behind(one=mirror)).gateway() as client, client.open("GET", target) as exchange:
        status, _ = await exchange.head()
        assert status == 200
    assert behind.requests[0].extensions["target"] == target.removesuffix(b"?")


@pytest.mark.parametrize(("path", "status"), [("//", 404), ("/-/backends/", 200)])
async def test_slashes_are_for_the_backend(path: str, status: int) -> None:
    """Nobody is sent on to another path than the one that was asked for."""
    async with Behind(one=mirror).gateway() as client, client.open("GET", path.encode()) as exchange:
        assert (await exchange.head())[0] == status


async def test_below_a_prefix_a_backend_sees_what_follows_it() -> None:
    """As any application that is mounted."""
    behind = Behind(one=mirror)
    outer = App()
    outer.mount("/below", create_app(Settings(backends=("http://one",), health=HEALTH), transport=behind))
    async with TestClient(outer) as client:
        assert (await client.post("/below/a?b", content=bytes(3 * 1024 * 1024))).status_code == 200
        await client.get("/below/")
    assert [each.extensions["target"] for each in behind.requests] == [b"/a?b", b"/"]


async def test_what_is_of_the_connection_stays_there() -> None:
    """And what somebody says of who forwarded it is not believed; all else goes on, in both directions."""
    sent = [
        *(("connection", "close, X-Private"), ("x-private", "1"), ("keep-alive", "1"), ("te", "trailers")),
        *(("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.1"), ("x-request-timeout-ms", "7")),
        *(("x-a", "1"), ("x-a", "2"), ("authorization", "Basic x"), ("traceparent", "00-x"), ("cookie", "c=1")),
    ]
    async with (behind := Behind(one=mirror)).gateway() as client:
        response = await client.get("/", headers=sent)
        client.cookies.clear()
        await client.get("/")
    got = behind.requests[0].headers
    assert [(name, got.get_list(name)) for name in ("x-a", "cookie", "authorization", "traceparent")] == [
        ("x-a", ["1", "2"]),
        ("cookie", ["c=1"]),
        ("authorization", ["Basic x"]),
        ("traceparent", ["00-x"]),
    ]
    assert got["forwarded"] == 'for=127.0.0.1;host="testserver";proto=http'
    assert got.get_list("x-forwarded-for") == ["127.0.0.1"]
    assert got["host"] == "testserver"
    assert got["via"].startswith("1.1 gateway-")
    assert 1000 < int(got["x-request-timeout-ms"]) < 30_000
    assert {"connection", "x-private", "keep-alive", "te"}.isdisjoint(got)
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["via"].startswith("1.1 gateway-")
    assert "content-type" not in response.headers
    assert "cookie" not in behind.requests[1].headers  # nobody keeps them for the next client


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ([(b"Connection", b"X-A , x-b"), (b"x-a", b"1"), (b"X-B", b"1"), (b"x-c", b"1")], [b"x-c"]),
        ([(b"connection", b"host, content-length"), (b"host", b"a"), (b"content-length", b"1")], None),
        ([(b"proxy-authorization", b"x"), (b"proxy-connection", b"x"), (b"trailer", b"x"), (b"upgrade", b"x")], []),
        ([(b"transfer-encoding", b"chunked")], []),
        ([(b"content-length", b"3"), (b"Transfer-Encoding", b"chunked"), (b"x-a", b"1")], [b"x-a"]),
        ([(b"connection", b""), (b"x-a", b"1")], [b"x-a"]),
    ],
)
def test_what_goes_on(fields: list[tuple[bytes, bytes]], kept: list[bytes] | None) -> None:
    """What `Connection` names goes no further, but for what says where a message ends."""
    assert [name for name, _ in end_to_end(fields)] == (kept if kept is not None else [b"host", b"content-length"])


@pytest.mark.parametrize(
    ("client", "host", "forwarded"),
    [
        ("192.0.2.1", "a.example:80", b'for=192.0.2.1;host="a.example:80";proto=https'),
        ("2001:db8::1", "[2001:db8::2]", b'for="[2001:db8::1]";host="[2001:db8::2]";proto=https'),
        (None, None, b"for=unknown;proto=https"),
        ("a client", 'a";for=evil', b"for=unknown;proto=https"),
    ],
)
def test_who_asked_is_told(client: str | None, host: str | None, forwarded: bytes) -> None:
    """In the form of RFC 7239, out of which nothing can break."""
    fields = dict(request_fields([], version="2", name="me", client=client, scheme="https", host=host))
    assert fields[b"forwarded"] == forwarded
    assert fields[b"via"] == b"2 me"


async def test_a_backend_need_trust_nobody_but_the_gateway() -> None:
    """It is told of one client, whom the gateway has found behind the proxies that it trusts, and not of those."""
    fields = {"x-forwarded-for": "192.0.2.66, 192.0.2.1, 10.0.0.1", "x-forwarded-proto": "https"}
    for trusted, client in (("127.0.0.1", "10.0.0.0/8"), "192.0.2.1"), ((), "127.0.0.1"):
        async with (behind := Behind(one=mirror)).gateway(trusted=trusted) as asks:
            await asks.get("/", headers=fields)
        told = behind.requests[0].headers
        assert told.get_list("x-forwarded-for") == [client]
        assert told.get_list("forwarded") == [f'for={client};host="testserver";proto={"https" if trusted else "http"}']


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *((name, False) for name in (b"X-Forwarded-For", b"X_Forwarded_For", b"x-forwarded_proto", b"Forwarded")),
        *((name, False) for name in (b"X-Forwarded-Prefix", b"X-Real-IP", b"x_real_ip", b"Proxy")),
        *((name, True) for name in (b"X-Forward", b"X_Other", b"From", b"X-Proxy")),
    ],
)
def test_nobody_says_in_our_place_who_asked(name: bytes, kept: bool) -> None:
    """A backend may believe other fields of the kind as well, and CGI and WSGI do not tell `_` from `-`."""
    fields = request_fields([(name, b"evil")], version="1.1", name="me", client=None, scheme="http", host=None)
    assert ((name.lower(), b"evil") in fields) == kept
    assert kept or b"evil" not in dict(fields).values()


def test_what_has_no_content_has_no_length() -> None:
    """Of others it stays."""
    fields = [(b"content-length", b"5")]
    assert response_fields(fields, status=304, version="1.1", name="me") == [(b"via", b"1.1 me")]
    assert response_fields(fields, status=200, version="1.1", name="me")[0] == (b"content-length", b"5")


async def test_a_request_that_comes_back_goes_no_further() -> None:
    """508; another gateway's name in the list means nothing."""
    assert been_here([(b"Via", b"1.1 a, 1.1 me (x)")], "me")
    assert not been_here([(b"via", b"1.1 men, me, , 1.0")], "me")
    async with (behind := Behind(one=mirror)).gateway() as client:
        await client.get("/", headers={"via": "1.1 another"})
        via = behind.requests[0].headers["via"]
        assert via.startswith("1.1 another, 1.1 gateway-")
        assert (await client.get("/", headers={"via": via})).status_code == 508


@pytest.mark.parametrize(
    ("method", "said", "told"),
    [("OPTIONS", "0", None), ("OPTIONS", "2", "1"), ("OPTIONS", "far", "far"), ("GET", "0", "0")],
)
async def test_options_go_as_far_as_they_say(method: str, said: str, told: str | None) -> None:
    """The gateway answers for itself where they go no further; other methods know no such field."""
    async with (behind := Behind(one=mirror)).gateway() as client:
        response = await client.request(method, "/a", headers={"max-forwards": said})
    assert [each.headers["max-forwards"] for each in behind.requests] == ([] if told is None else [told])
    assert response.status_code == (204 if told is None else 200)
    assert ("PATCH" in response.headers.get("allow", "")) == (told is None)


# Bodies -------------------------------------------------------------------------------------------------------------


async def test_bodies_stream_both_ways() -> None:
    """A part reaches the backend, and one of its answer the client, before there is another; lengths are kept."""
    send, came = trio.open_memory_channel[bytes](0)

    async def answer(request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for part in request.stream:
            await send.send(part)
        return httpx.Response(200, content=came)

    async with (behind := Behind(one=answer)).gateway() as client:
        async with client.open("POST", "/", upload=True) as exchange:
            for _ in range(3):
                await exchange.send_body(b"part")
                assert await came.receive() == b"part"
            await exchange.end_body()
            for _ in range(3):
                await send.send(b"part")
                assert await exchange.receive() == b"part"
        async with client.open("PUT", "/", content=b"whole"):
            assert await came.receive() == b"whole"
        assert behind.requests[1].headers["content-length"] == "5"
        assert "transfer-encoding" not in behind.requests[1].headers


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_what_has_no_body_is_closed_too(method: str, status: int) -> None:
    """The backend's connection goes back to the pool; a HEAD has the length of the GET."""
    body = Body()

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-length": "1234", "etag": '"x"'}, stream=body)

    async with Behind(one=answer).gateway() as client:
        response = await client.request(method, "/")
        assert (response.status_code, response.content, response.headers["etag"]) == (status, b"", '"x"')
        assert response.headers.get("content-length") == ("1234" if method == "HEAD" else None)
        assert body.closed
        assert (await client.get("/-/backends")).json()[0]["in_flight"] == 0


@pytest.mark.parametrize("malformed", [{"status_code": 600}, {"status_code": 799}, {"headers": {"x-a": "a\x01"}}])
async def test_an_answer_that_nobody_may_send_on_is_502(malformed: dict[str, Any]) -> None:
    """It is the backend's mistake, not ours; it is closed as any other."""
    body = Body()

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(malformed.get("status_code", 200), headers=malformed.get("headers"), stream=body)

    async with Behind(one=answer).gateway() as client:
        assert (await client.get("/")).status_code == 502
    assert body.closed == 1


async def test_an_answer_that_breaks_is_not_ended_as_if_it_were_whole() -> None:
    """Half a body is an error for the client, too."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"part"
        raise httpx.ReadError("reset")

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=parts())

    async with Behind(one=answer).gateway() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


# Which one ----------------------------------------------------------------------------------------------------------


async def test_they_take_turns() -> None:
    """Those that are well, the least busy first."""
    async with (behind := Behind(one=mirror, two=mirror, three=mirror)).gateway() as client:
        for _ in range(4):
            await client.get("/")
        assert set(behind.hosts[:3]) == {"one", "two", "three"}
    behind = Behind(one=mirror, two=never)
    async with behind.gateway() as client, trio.open_nursery() as nursery:
        for _ in range(2):  # one of them stays with the one that does not answer
            nursery.start_soon(client.post, "/")
            await trio.testing.wait_all_tasks_blocked()
        behind.requests.clear()
        for _ in range(3):
            await client.get("/")
        assert behind.hosts == ["one"] * 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("first", [refused, broken, unable])
async def test_what_can_be_done_twice_is_tried_elsewhere(first: Answer, autojump_clock: Any) -> None:
    """Within the same deadline."""
    async with (behind := Behind(one=first, two=mirror)).gateway(timeout=8) as client:
        for method in ("GET", "PUT", "DELETE"):
            behind.requests.clear()
            statuses = [(await client.request(method, "/")).status_code for _ in range(2)]
            assert statuses == [200, 200]
            assert 2 <= len(behind.requests) <= 3
            await trio.sleep(10)  # until it counts as well again


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("stall", [30, 3])
async def test_one_that_is_slow_is_neither_cut_off_nor_asked_again(
    method: str, stall: float, autojump_clock: Any
) -> None:
    """It has all of the time, whatever can be done twice: another one would be as slow, and both would be loaded."""

    async def slow(request: httpx.Request) -> httpx.Response:
        # As a connection does it, which is all that this transport stands for.
        with trio.move_on_after(request.extensions["timeout"]["read"] or math.inf):
            await trio.sleep(7)
            return await mirror(request)
        raise httpx.ReadTimeout("slow")

    async with (behind := Behind(one=slow, two=slow)).gateway(timeout=8, stall=stall) as client:
        assert (await client.request(method, "/")).status_code == 200
        assert len(behind.requests) == 1
        assert behind.requests[0].extensions["timeout"]["read"] == stall  # of the body


async def test_one_that_never_answers_is_asked_once(autojump_clock: Any) -> None:
    """Nobody can tell it from one that is slow, but its watcher."""
    async with (behind := Behind(one=never, two=never)).gateway(timeout=8) as client:
        assert (await client.get("/")).status_code == 504
        assert len(behind.requests) == 1


async def test_what_cannot_is_tried_once(autojump_clock: Any) -> None:
    """Unless nobody has seen it: a backend that is not there."""
    for answer, status in ((broken, 502), (unable, 503), (never, 504)):
        async with (behind := Behind(one=answer, two=answer)).gateway(timeout=2) as client:
            assert (await client.post("/", content=b"x")).status_code == status
            assert len(behind.requests) == 1
    async with (behind := Behind(one=refused, two=refused)).gateway() as client:
        assert (await client.post("/", content=b"x")).status_code == 502
        assert len(behind.requests) == 2

    async def reads_and_breaks(request: httpx.Request) -> httpx.Response:
        await anext(aiter(request.stream))  # type: ignore[arg-type]
        raise httpx.ReadError("reset")

    async with (behind := Behind(one=reads_and_breaks, two=reads_and_breaks)).gateway() as client:
        assert (await client.put("/", content=b"x")).status_code == 502
        assert len(behind.requests) == 1


async def test_what_has_a_body_is_sent_once_and_has_all_of_the_time(autojump_clock: Any) -> None:
    """Of a body that was read there is nothing left for another attempt, so no time is kept for one."""

    async def late(request: httpx.Request) -> httpx.Response:
        response = await mirror(request)
        await trio.sleep(6)
        return response

    async with (behind := Behind(one=late, two=late)).gateway(timeout=8) as client:
        assert (await client.put("/", content=b"body")).text == "body"
        assert len(behind.requests) == 1


async def test_none_that_is_well_is_503_and_all_that_fail_are_the_last_ones_answer(autojump_clock: Any) -> None:
    """And when to come back."""
    behind = Behind(one=refused)
    behind.ill = {"one"}
    async with behind.gateway() as client:
        response = await client.get("/")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    async with Behind(one=unable, two=unable).gateway() as client:
        assert (await client.get("/")).text == "busy"


async def test_a_gateway_that_was_told_of_no_backend_says_which_setting_is_missing() -> None:
    """503 for whatever is asked, and no time to come back at: it would be the same."""
    async with Behind().gateway() as client:
        for path in ("/", "/a"):
            response = await client.get(path)
            assert response.status_code == 503
            assert "GATEWAY_BACKENDS" in response.json()["detail"]
            assert "retry-after" not in response.headers


@pytest.mark.parametrize(("answer", "counts"), [(unable, True), (broken, True), (refused, False)])
async def test_second_attempts_have_a_budget(answer: Answer, counts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all backends fail, all of the requests are not sent to all of them; one that is not reached has no load."""

    def stays(backend: Backend) -> None:
        """All are asked for ever."""

    monkeypatch.setattr(Backend, "missed", stays)
    async with (behind := Behind(one=answer, two=answer, three=answer)).gateway() as client:
        for _ in range(50):
            assert (await client.get("/")).status_code in (502, 503)
    least, most = (60, 50 + 10 + 50 / 5) if counts else (150, 150)
    assert least <= len(behind.requests) <= most


async def test_backends_are_asked_how_they_are(autojump_clock: Any) -> None:
    """At the start, and every second from then on; one that falls ill is out, one that is well for a while is in."""
    behind = Behind(one=mirror, two=mirror)
    behind.ill = {"two"}

    async def healthy() -> list[bool]:
        return [each["healthy"] for each in (await client.get("/-/backends")).json()]

    async with behind.gateway(interval=1) as client:
        assert await healthy() == [True, False]
        behind.ill = {"one"}
        await trio.sleep(1.5)
        assert await healthy() == [True, False]  # once may be chance
        await trio.sleep(1)
        assert await healthy() == [False, True]
        assert behind.asked.count("one") == 3


async def test_backends_that_are_not_there_are_asked_at_once(autojump_clock: Any) -> None:
    """What swallows packets is given up after a second; forty of them take no longer, or the startup were over."""
    behind = Behind(one=mirror, **{f"dead{number}": mirror for number in range(40)})
    behind.dead = {host for host in behind.answers if host != "one"}
    before = trio.current_time()
    async with behind.gateway() as client:
        assert trio.current_time() - before <= 1
        assert (await client.get("/")).status_code == 200
    assert behind.hosts == ["one"]


@pytest.mark.parametrize("answer", [broken, garbled])
async def test_what_a_backend_breaks_off_takes_it_from_nobody_else(answer: Answer, autojump_clock: Any) -> None:
    """Whoever knows such a request could ask for it again and again; how the backend is, its watcher knows."""

    async def breaks_some(request: httpx.Request) -> httpx.Response:
        return await (answer if request.extensions["target"] == b"/poison" else mirror)(request)

    async with (behind := Behind(one=breaks_some, two=breaks_some)).gateway() as client:
        for _ in range(20):
            assert (await client.get("/poison")).status_code == 502
            assert (await client.get("/")).status_code == 200
        assert [each["healthy"] for each in (await client.get("/-/backends")).json()] == [True, True]
        assert {"one", "two"} == set(behind.hosts)


async def test_where_none_is_well_all_are_asked() -> None:
    """What is said of them may be wrong, and whoever is asked can say so; one that is well is asked alone."""
    behind = Behind(one=refused, two=mirror)
    behind.ill = {"one", "two"}
    async with behind.gateway() as client:
        for method in ("GET", "POST"):
            assert (await client.request(method, "/", content=b"")).status_code == 200
        assert [each["healthy"] for each in (await client.get("/-/backends")).json()] == [False, False]
    behind = Behind(one=mirror, two=mirror)
    behind.ill = {"one"}
    async with behind.gateway() as client:
        for _ in range(4):
            await client.get("/")
    assert set(behind.hosts) == {"two"}


@pytest.mark.parametrize(
    ("met", "seen"),
    [
        ("x", "in"),
        ("xx", "out"),
        ("xax", "in"),
        ("x+x", "in"),
        ("-x", "in"),
        ("-ax-", "out"),
        ("xx+", "out"),
        ("xx++", "in"),
        ("+xx+", "out"),
        ("xx++x", "in"),
        ("xxaa", "out"),
    ],
)
def test_clients_count_whom_they_did_not_reach(met: str, seen: str) -> None:
    """Two in a row take a backend out, any answer (a) between them clears it; only its watcher brings it in."""
    backend = Backend("http://one")
    backend.healthy = True
    for each in met:
        {"x": backend.missed, "a": backend.reached, "+": backend.well, "-": backend.failed}[each]()
    assert backend.healthy == (seen == "in")


@pytest.mark.parametrize(
    ("met", "seen"),
    [
        ("+", "out"),
        ("++", "in"),
        ("+-+-+-+", "out"),
        ("++-", "in"),
        ("++-+-+-", "in"),
        ("++--", "out"),
        ("++--+", "out"),
        ("++--++", "in"),
    ],
)
def test_one_that_flaps_stays_where_it_is(met: str, seen: str) -> None:
    """Two good answers in a row bring it in, two bad ones in a row take it out."""
    backend = Backend("http://one")
    for each in met:
        (backend.well if each == "+" else backend.failed)()
    assert backend.healthy == (seen == "in")


async def test_clients_that_do_not_reach_a_backend_take_it_out(autojump_clock: Any) -> None:
    """Its watcher need not come by first."""
    async with (behind := Behind(one=refused, two=mirror)).gateway(interval=1000) as client:
        for _ in range(4):
            assert (await client.get("/")).status_code == 200
        assert [each["healthy"] for each in (await client.get("/-/backends")).json()] == [False, True]
        assert behind.hosts.count("one") == 2


async def test_an_answer_that_is_not_taken_is_closed_before_the_next_is_asked_for() -> None:
    """Two attempts never hold two connections."""
    open_ones: list[str] = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"busy"

        async def aclose(self) -> None:
            open_ones.pop()

    async def busy(request: httpx.Request) -> httpx.Response:
        assert open_ones == []
        open_ones.append(request.url.host)
        return httpx.Response(503, stream=Body())

    async with Behind(one=busy, two=busy).gateway() as client:
        assert (await client.get("/")).status_code == 503
    assert open_ones == []


# Time ---------------------------------------------------------------------------------------------------------------


async def test_the_deadline_goes_on(autojump_clock: Any) -> None:
    """What a trusted proxy in front says, less a little; 504 when it has passed."""
    async with (behind := Behind(one=never)).gateway(trusted=("127.0.0.1",)) as client:
        began = trio.current_time()
        response = await client.post("/", headers={"x-request-timeout-ms": "2000"})
        assert response.status_code == 504
        assert trio.current_time() - began == pytest.approx(1.95)
    assert behind.requests[0].headers["x-request-timeout-ms"] == "1950"


@pytest.mark.parametrize(("pause", "took"), [(0.5, 1.95), (2, 1.0)])
async def test_an_upload_that_takes_too_long_is_the_clients_fault(
    pause: float, took: float, autojump_clock: Any
) -> None:
    """408, of which nobody thinks that the backend is slow; whether it drips for too long or comes to a halt."""
    async with (
        (behind := Behind(one=mirror, two=mirror)).gateway(timeout=2, stall=1) as client,
        client.open("POST", "/", upload=True) as exchange,
        trio.open_nursery() as nursery,
    ):

        async def drip() -> None:
            while True:
                await exchange.send_body(b"part")
                await trio.sleep(pause)

        began = trio.current_time()
        nursery.start_soon(drip)
        status, headers = await exchange.head()
        assert (status, headers["connection"]) == (408, "close")
        assert trio.current_time() - began == pytest.approx(took)
        assert len(behind.requests) == 1
        nursery.cancel_scope.cancel()
        assert [each["healthy"] for each in (await client.get("/-/backends")).json()] == [True, True]


async def test_a_backend_that_takes_too_long_over_an_upload_is_its_own_fault(autojump_clock: Any) -> None:
    """504, also where some of the body has not come yet: nobody waits for that."""

    async def reads_on(request: httpx.Request) -> httpx.Response:
        await anext(aiter(request.stream))  # type: ignore[arg-type]
        return await never(request)

    async with Behind(one=reads_on).gateway(timeout=2) as client, client.open("POST", "/", upload=True) as exchange:
        await exchange.send_body(b"part")
        assert (await exchange.head())[0] == 504


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_leaves_is_left_behind_too(method: str, autojump_clock: Any) -> None:
    """Whatever the method is: what becomes of it is for the backend to say, which sees that nobody waits."""
    ended = trio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        try:
            return await never(request)
        finally:
            ended.set()

    async with Behind(one=answer).gateway() as client, client.open(method, "/") as exchange:
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
        with trio.fail_after(1):
            await ended.wait()


# Who may see it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "fields", "status"),
    [
        *((host, {}, 200) for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")),
        *((host, {}, 403) for host in ("192.0.2.1", "0.0.0.0", "::", "2001:db8::1", "::ffff:192.0.2.1", "client")),
        *(
            ("127.0.0.1", {name: "127.0.0.1"}, 403)
            for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")  # a proxy that asks for somebody else
        ),
        ("127.0.0.1", {"x-forwarded-for": ""}, 403),
    ],
)
async def test_without_a_token_its_own_pages_are_for_who_is_on_its_machine(
    client: str, fields: dict[str, str], status: int
) -> None:
    """Where the backends are, and how they are, is nothing for the world; what is forwarded is for everybody."""
    app = create_app(Settings(backends=("http://one",), health=HEALTH), transport=Behind(one=mirror))
    async with TestClient(app, client=(client, 50000)) as asks:
        answer = await asks.get("/-/backends", headers=fields)
        assert (answer.status_code, "http://one" in answer.text) == (status, status == 200)
        assert (await asks.get("/", headers=fields)).status_code == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [(None, 401), ("Bearer another", 401), ("Bearer s3cret", 200), ("bearer s3cret", 200), ("Basic s3cret", 401)],
)
async def test_with_a_token_they_are_for_who_has_it(said: str | None, status: int) -> None:
    """Wherever that is."""
    settings = Settings(backends=("http://one",), health=HEALTH, token="s3cret")
    async with TestClient(create_app(settings, transport=Behind(one=mirror)), client=("192.0.2.1", 50000)) as asks:
        answer = await asks.get("/-/backends", headers={} if said is None else {"authorization": said})
        assert (answer.status_code, "http://one" in answer.text) == (status, status == 200)
        assert ("www-authenticate" in answer.headers) == (status == 401)


# Settings -----------------------------------------------------------------------------------------------------------


def test_settings_are_read_from_the_environment() -> None:
    """Lists are separated by blanks."""
    environment = {"GATEWAY_BACKENDS": "http://a:1  https://[::1]:2/", "GATEWAY_TIMEOUT": "5", "GATEWAY_STALL": ""}
    settings = Settings.read({**environment, "GATEWAY_TOKEN": "s3cret=="})
    assert settings == Settings(backends=("http://a:1", "https://[::1]:2"), timeout=5, token="s3cret==")
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("BACKENDS", text) for text in ("a:1", "ftp://a", "http://", "http://a/path", "http://a/?q", "http://a:x")),
        *(("BACKENDS", text) for text in ("http://a:65536", "http://a/#f", "http://u:p@a", "http://a http://A:80/")),
        *(("HEALTH", text) for text in ("health", "@evil.example/", ":80/", ".evil.example/", "?a", "/a#b", "/a\n")),
        *(("TIMEOUT", text) for text in ("0", "-1", "soon", "inf", "nan")),
        *(("TOKEN", text) for text in ("two words", "=", "größer", "a\n")),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """With what to say."""
    with pytest.raises(ValueError, match=f"(?s)GATEWAY_{name}.*Say "):
        Settings.read({f"GATEWAY_{name}": value})


@pytest.mark.parametrize("path", ["/", "/health", "//a", "/a@b", "/a?b=c", "/größe"])
def test_whatever_is_a_path_can_be_asked(path: str) -> None:
    """The backend is the one that was named."""
    assert Settings.read({"GATEWAY_HEALTH": path}).health == path


def test_a_password_stays_out_of_the_message() -> None:
    """That a backend cannot have one here is said without it."""
    with pytest.raises(ValueError, match=r"holds '\.\.\.@a'"):
        Settings.read({"GATEWAY_BACKENDS": "http://user:p@ss@a"})
