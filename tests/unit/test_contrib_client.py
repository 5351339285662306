"""The client's decisions, and its calls over a transport that the tests write: deadlines, retries, traces."""

from __future__ import annotations

import gzip
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import trio

from tests.harness import Golden
from trivet import App, Request
from trivet._headers import Headers
from trivet.contrib.client import Client, DeadlineExceeded, Retry, Trace, traced
from trivet.contrib.client._retry import asked_to_wait, repeatable
from trivet.contrib.client._trace import tell
from trivet.errors import RegistrationError
from trivet.testing import TestClient

URL = "http://upstream:1234/"


class Upstream(httpx.AsyncBaseTransport):
    """Answers with each of `outcomes` in turn, the last one for ever, after `seconds` each."""

    def __init__(self, *outcomes: Any, seconds: float = 0.0) -> None:
        self.outcomes = list(outcomes) or [200]
        self.seconds = seconds
        self.requests: list[httpx.Request] = []
        self.told: list[str | None] = []
        self.at: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.told.append(request.headers.get("x-request-timeout-ms"))
        self.at.append(trio.current_time())
        await trio.sleep(self.seconds)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, type):
            raise outcome("broken")
        return outcome if isinstance(outcome, httpx.Response) else httpx.Response(outcome)


def to(where: str) -> httpx.Response:
    """A redirect."""
    return httpx.Response(307, headers={"location": where})


async def in_a_request(timeout: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` in the handler of a request that may take `timeout` seconds."""
    app = App(timeout=timeout)

    @app.get("/")
    async def handler() -> None:
        await work()

    async with TestClient(app) as client:
        response = await client.get("/")
        assert response.status_code == 204, response.text


def steady(**options: Any) -> Retry:
    """Pauses as long as they may be."""
    return Retry(random=lambda: 1.0, **options)


async def test_the_log_has_no_more_of_an_address_than_the_error(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Of whom it has asked again, but neither a path nor a password."""
    caplog.set_level("DEBUG", "trivet")
    async with Client(transport=Upstream(503, httpx.ConnectError, 200)) as client:
        await client.get("http://ann:secret@upstream:1234/secret?token=secret")
    said = [record.getMessage() for record in caplog.records if record.name == "trivet.contrib.client"]
    assert [each.partition("; again in ")[0] for each in said] == [
        "GET http://upstream:1234: 503",
        "GET http://upstream:1234: ConnectError('broken')",
    ]


# The deadline -------------------------------------------------------------------------------------------------------


async def test_a_call_has_what_is_left_less_the_margin(autojump_clock: trio.testing.MockClock) -> None:
    """It says so, and raises what is Trio's error and httpx's alike while there is still time to do without."""
    upstream = Upstream(seconds=60)

    async def work() -> None:
        began = trio.current_time()
        with pytest.raises(DeadlineExceeded, match=r"for GET http://upstream:1234: it had 9\.500 s") as caught:
            await client.get(f"{URL}secret?token=x")
        assert trio.current_time() - began == pytest.approx(9.5)
        assert isinstance(caught.value, trio.TooSlowError)
        assert isinstance(caught.value, httpx.TimeoutException)
        assert caught.value.request.url == f"{URL}secret?token=x"
        assert "token" not in str(caught.value)

    async with Client(transport=upstream, margin=0.5) as client:
        await in_a_request(10, work)
    assert upstream.told == ["9500"]


@pytest.mark.parametrize("serving", [True, False])
async def test_a_scope_of_the_callers_ends_a_call_as_it_ends_all_else(
    serving: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """`move_on_after` quietly, `fail_after` with its own error, at its time; in a request and without one."""
    upstream = Upstream(seconds=60)

    async def work() -> None:
        began = trio.current_time()
        with trio.move_on_after(0.4) as scope:
            await client.get(URL)
        assert scope.cancelled_caught
        with pytest.raises(trio.TooSlowError) as caught, trio.fail_after(0.4):
            await client.get(URL)
        assert type(caught.value) is trio.TooSlowError
        assert trio.current_time() - began == pytest.approx(0.8)

    async with Client(transport=upstream) as client:
        await (in_a_request(10, work) if serving else work())
    assert upstream.told == (["400", "400"] if serving else ["350", "350"])


async def test_a_scope_is_quiet_in_the_middle_of_a_body_too(autojump_clock: trio.testing.MockClock) -> None:
    """What has come by then has come."""
    parts: list[bytes] = []

    async def work() -> None:
        with trio.move_on_after(2.5) as scope:
            async with client.stream("GET", URL) as response:
                async for part in response.aiter_raw():
                    parts.append(part)  # noqa: PERF401 - a comprehension would lose them
        assert scope.cancelled_caught

    async with Client(transport=Upstream(httpx.Response(200, stream=(body := Slowly()))), margin=1) as client:
        await in_a_request(10, work)
    assert parts == [b"part"] * 2
    assert body.closed


@pytest.mark.parametrize(("left", "told"), [(0.06, "30"), (0.04, "20"), (0.0001, None)])
async def test_a_scope_shorter_than_the_margin_has_its_calls_made(
    left: float, told: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    """A cache may well answer in so little; but nobody in less than a millisecond."""
    upstream = Upstream(seconds=60)
    async with Client(transport=upstream, margin=0.05) as client:
        with trio.move_on_after(left) as scope:
            await client.get(URL)
    assert scope.cancelled_caught
    assert upstream.told == ([] if told is None else [told])


async def test_a_scope_that_ends_with_the_request_leaves_the_margin(autojump_clock: trio.testing.MockClock) -> None:
    """The request's own time is over first, and is told of."""

    async def work() -> None:
        with trio.fail_after(9.9), pytest.raises(DeadlineExceeded, match=r"it had 9\.500 s"):
            await client.get(URL)

    async with Client(transport=Upstream(seconds=60), margin=0.5) as client:
        await in_a_request(10, work)


async def test_the_time_of_who_shields_itself_is_its_own(autojump_clock: trio.testing.MockClock) -> None:
    """The request's deadline does not reach it, nor does the margin."""
    upstream = Upstream(seconds=1)

    async def work() -> None:
        with trio.CancelScope(shield=True, relative_deadline=3):
            await trio.sleep(1.8)
            assert (await client.get(URL)).status_code == 200

    async with Client(transport=upstream, margin=0.5) as client:
        await in_a_request(2, work)
    assert upstream.told == ["1200"]


async def test_without_a_deadline_nothing_is_said(autojump_clock: trio.testing.MockClock) -> None:
    """And httpx's own timeouts are as ever."""
    upstream = Upstream(seconds=60)
    async with Client(transport=upstream) as client:
        await client.get(URL)
    assert upstream.told == [None]
    assert upstream.requests[0].extensions["timeout"]["read"] == 5


@pytest.mark.parametrize("left", [0.02, 0.05, 0.0505])
async def test_a_call_without_time_is_not_made(left: float, autojump_clock: trio.testing.MockClock) -> None:
    """Not even begun; less than a millisecond is none."""
    upstream = Upstream()

    async def work() -> None:
        with pytest.raises(DeadlineExceeded, match="GET http://upstream:1234: it had none"):
            await client.get(URL)

    async with Client(transport=upstream) as client:
        await in_a_request(left, work)
    assert upstream.requests == []


async def test_who_is_cancelled_already_is_not_told_of_a_deadline() -> None:
    """It is a cancellation then, which nobody should take for an upstream that is slow."""
    upstream = Upstream()
    async with Client(transport=upstream) as client:
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.get(URL)
    assert scope.cancelled_caught
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("said", "told"), [("400", "400"), ("5000", "1950"), ("soon", "1950"), ("-1", "1950"), ("1" * 5000, "1950")]
)
async def test_who_calls_may_say_less_time_not_more(
    said: str, told: str, autojump_clock: trio.testing.MockClock
) -> None:
    """What the request says by itself counts if it is less."""
    upstream = Upstream()
    async with Client(transport=upstream) as client:
        with trio.fail_after(2):
            await client.get(URL, headers={"x-request-timeout-ms": said})
    assert upstream.told == [told]


async def test_within_a_deadline_only_connecting_has_a_time_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Unless somebody has said a timeout, for the client or for the call."""
    upstream = Upstream()
    with trio.fail_after(100):
        async with Client(transport=upstream) as client:
            await client.get(URL)
            for timeout in (7, 5, 5.0, httpx.Timeout(5.0)):  # httpx's default, too, if somebody says it
                await client.get(URL, timeout=timeout)
            assert client.timeout == httpx.Timeout(5)
        async with Client(transport=upstream, timeout=5) as client:
            await client.get(URL)
    none = {"connect": 5.0, "read": None, "write": None, "pool": None}
    assert [each.extensions["timeout"] for each in upstream.requests] == [
        none,
        dict.fromkeys(none, 7),
        *[dict.fromkeys(none, 5)] * 4,
    ]


class Slowly(httpx.AsyncByteStream):
    """A body of three parts, a second each."""

    def __init__(self) -> None:
        self.closed = self.finished = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(3):
                await trio.sleep(1)
                yield b"part"
        finally:
            self.finished = True

    async def aclose(self) -> None:
        self.closed = True


async def test_a_body_has_the_time_of_who_reads_it(autojump_clock: trio.testing.MockClock) -> None:
    """The handler's deadline while it reads; none where a stream's feed does."""

    async def work() -> None:
        with pytest.raises(DeadlineExceeded, match=r"a part of its body had 0\.450 s"):
            await client.get(URL)

    async with Client(transport=Upstream(httpx.Response(200, stream=(body := Slowly())))) as client:
        await in_a_request(2.5, work)
        assert body.closed
    async with Client(transport=Upstream(httpx.Response(200, stream=(body := Slowly())))) as client:
        with trio.fail_after(2.5):
            response = await client.send(client.build_request("GET", URL), stream=True)
        assert [part async for part in response.aiter_raw()] == [b"part"] * 3
        assert body.closed


class Broken(Slowly):
    """One that breaks off after its first part."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"part"
        raise httpx.RemoteProtocolError("incomplete")


async def test_a_body_that_breaks_off_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    """Where nobody has seen a part of it yet; who streams it is told, and so is who has asked often enough."""
    zipped = gzip.compress(b"whole")
    whole = httpx.Response(200, headers={"content-encoding": "gzip"}, content=zipped)
    upstream = Upstream(httpx.Response(200, stream=(body := Broken())), whole)
    async with Client(transport=upstream) as client:
        response = await client.get(URL)
        assert (response.text, response.num_bytes_downloaded) == ("whole", len(zipped))
        assert body.closed
        assert len(upstream.requests) == 2

        for method, again in (("GET", False), ("POST", True)):
            upstream.outcomes = [httpx.Response(200, stream=Broken())]
            with pytest.raises(httpx.RemoteProtocolError):
                await client.request(method, URL, extensions={"retry": again})
        upstream.outcomes = [httpx.Response(200, stream=Broken())]
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("GET", URL) as response:
                assert [part async for part in response.aiter_raw()] == []
        assert len(upstream.requests) == 5

        upstream.outcomes = [httpx.Response(200, stream=Broken()) for _ in range(4)]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(URL)
        assert len(upstream.requests) == 8


async def test_a_body_that_is_left_is_closed_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """With all generators beneath: Trio would complain of each that is left to the garbage collector."""
    async with Client(transport=Upstream(httpx.Response(200, stream=(body := Slowly())))) as client:
        async with client.stream("GET", URL) as response:
            async for part in response.aiter_bytes():
                assert part == b"part"
                break
        assert body.closed
        assert body.finished


# Again --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "outcome",
    [
        *(502, 503, 504),
        *(httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError),
        *(httpx.ConnectTimeout, httpx.ReadTimeout),
    ],
)
async def test_what_may_have_been_chance_is_tried_again(
    method: str, outcome: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """An idempotent call, until it ends well."""
    upstream = Upstream(outcome, outcome, 200)
    async with Client(transport=upstream) as client:
        assert (await client.request(method, URL)).status_code == 200
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("method", "outcome", "options"),
    [
        ("POST", 503, {}),
        ("PATCH", httpx.ConnectError, {}),
        ("GET", 500, {}),
        ("GET", 429, {}),
        ("GET", 404, {}),
        ("GET", httpx.PoolTimeout, {}),
        ("GET", httpx.UnsupportedProtocol, {}),
        ("GET", httpx.LocalProtocolError, {}),
        ("GET", 503, {"extensions": {"retry": False}}),
    ],
)
async def test_all_else_is_not(
    method: str, outcome: Any, options: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    """What could be done twice, what would be the same again, and what nobody wants."""
    upstream = Upstream(outcome)
    async with Client(transport=upstream) as client:
        if isinstance(outcome, int):
            assert (await client.request(method, URL, **options)).status_code == outcome
        else:
            with pytest.raises(outcome):
                await client.request(method, URL, **options)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("method", "headers", "attempts"),
    [
        ("POST", {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}, 3),
        ("PATCH", {"idempotency-key": '"8e03978e"'}, 3),
        ("POST", {"Idempotency-Key": " "}, 1),
        ("POST", {"X-Idempotency": "8e03978e"}, 1),
    ],
)
@pytest.mark.parametrize("outcome", [503, httpx.ReadError])
async def test_a_key_makes_a_call_one_that_can_be_repeated(
    method: str, headers: dict[str, str], attempts: int, outcome: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """Whose attempts are the same, body and key; unless it is said of it that it is not to be."""
    upstream = Upstream(*[outcome] * (attempts - 1), 200 if attempts > 1 else 503)
    async with Client(transport=upstream) as client:
        response = await client.request(method, URL, headers=headers, content=b"body")
        assert response.status_code == (200 if attempts > 1 else 503)
        assert len(upstream.requests) == attempts
        assert {tuple(each.headers.items()) for each in upstream.requests} == {tuple(response.request.headers.items())}
        upstream.outcomes, upstream.requests[:] = [503], []
        await client.request(method, URL, headers=headers, extensions={"retry": False})
        await client.request(method, URL, headers=headers, content=_parts())
    assert len(upstream.requests) == 2


async def _parts() -> AsyncIterator[bytes]:
    yield b"part"


async def test_a_body_that_streams_is_sent_once(autojump_clock: trio.testing.MockClock) -> None:
    """One that is there as a whole can be sent again."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"part"

    upstream = Upstream(503)
    async with Client(transport=upstream) as client:
        await client.put(URL, content=b"whole")
        await client.put(URL, json={"a": 1})
        assert len(upstream.requests) == 6
        await client.put(URL, content=parts())
    assert len(upstream.requests) == 7
    assert repeatable(httpx.Request("GET", URL))


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_where_a_redirect_leads_it_is_tried_again_too(
    method: str, autojump_clock: trio.testing.MockClock
) -> None:
    """With its body, which is still there."""
    upstream = Upstream(to("/there"), 503, 200)
    async with Client(transport=upstream, follow_redirects=True) as client:
        assert (await client.request(method, URL, content=b"body")).status_code == 200
    assert [each.url.path for each in upstream.requests] == ["/", "/there", "/there"]


async def test_after_the_last_attempt_it_is_what_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """The last response, or the last error."""
    async with Client(transport=Upstream(httpx.ConnectError, 503, 502)) as client:
        assert (await client.get(URL)).status_code == 502
    async with Client(transport=Upstream(503, 503, httpx.ReadError)) as client:
        with pytest.raises(httpx.ReadError):
            await client.get(URL)
    async with Client(transport=(upstream := Upstream(503)), retry=None) as client:
        assert (await client.get(URL)).status_code == 503
    assert len(upstream.requests) == 1


async def test_pauses_double(autojump_clock: trio.testing.MockClock) -> None:
    """Up to the longest; each may be anything below."""
    upstream = Upstream(503)
    async with Client(transport=upstream, retry=steady(attempts=6, pause=1, longest=5)) as client:
        await client.get(URL)
    assert [later - at for at, later in zip(upstream.at, upstream.at[1:], strict=False)] == [1, 2, 4, 5, 5]


async def test_retry_after_is_waited_for_on_top(autojump_clock: trio.testing.MockClock) -> None:
    """Who was sent away together does not come back together; what is too long is not waited for."""
    upstream = Upstream(httpx.Response(503, headers={"retry-after": "3"}), 200)
    async with Client(transport=upstream, retry=steady(pause=1)) as client:
        assert (await client.get(URL)).status_code == 200
        assert upstream.at[1] - upstream.at[0] == 4
        upstream.outcomes = [httpx.Response(503, headers={"retry-after": "6"})]
        assert (await client.get(URL)).status_code == 503
    assert len(upstream.at) == 3


async def test_nothing_is_waited_for_in_vain(autojump_clock: trio.testing.MockClock) -> None:
    """An attempt that could not begin in time: what came is the answer, while there is time left for it."""
    upstream = Upstream(503, seconds=1)
    async with Client(transport=upstream, retry=steady(attempts=9, pause=1), margin=0) as client:
        began = trio.current_time()
        with trio.fail_after(5):
            assert (await client.get(URL)).status_code == 503
        # At 0, 2 and, had there been time, 5.
        assert upstream.told == ["5000", "3000"]
        assert trio.current_time() - began == 3


async def test_the_time_of_a_call_is_that_of_all_its_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """The last one is stopped after two seconds; who reads of it wants to know what the call had."""
    upstream = Upstream(httpx.ConnectError, seconds=4)

    async def work() -> None:
        with pytest.raises(DeadlineExceeded, match=r"upstream:1234: it had 6\.950 s"):
            await client.get(URL)

    async with Client(transport=upstream, retry=steady(pause=1)) as client:
        await in_a_request(7, work)
    assert upstream.told == ["6950", "1950"]


async def test_retries_of_an_origin_have_a_budget(autojump_clock: trio.testing.MockClock) -> None:
    """One that fails altogether gets a fifth more calls in the long run, not three times as many; others do not pay."""
    upstream = Upstream(503)
    async with Client(transport=upstream, retry=Retry(reserve=10, ratio=0.2)) as client:
        for _ in range(100):
            await client.get(URL)
        assert 100 + 0.2 * 100 <= len(upstream.requests) <= 100 + 0.2 * 100 + 10
        upstream.requests.clear()
        await client.get("http://another/")
        assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("", 0), ("0", 0), ("120", 120), (" 7 ", 7), ("9" * 10, math.inf)),
        *(("-1", 0), ("1.5", 0), ("soon", 0), ("\xb2", 0), ("Fri, 31 Feb 1999 23:59:59 GMT", 0)),
        *(("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("Fri, 31 Dec 1999 23:59:59 -0000", 0)),
        *((f"Fri, 31 Dec {'9' * 20} 23:59:59 GMT", 0), (f"Fri, 31 Dec 1999 23:59:59 +{'9' * 20}", 0)),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    """All else says nothing, nor does a date that has passed."""
    assert asked_to_wait(httpx.Response(503, headers={b"retry-after": text.encode("latin-1")})) == seconds
    assert asked_to_wait(httpx.ConnectError("x")) == 0


def test_retry_after_may_be_a_date_to_come() -> None:
    """By this machine's clock."""
    until = datetime.now(UTC) + timedelta(hours=1)
    date = format_datetime(until, usegmt=True)
    assert 3590 < asked_to_wait(httpx.Response(503, headers={"retry-after": date})) <= 3600


async def test_a_trace_lasts_as_long_as_its_request() -> None:
    """What comes after it in the same task begins one of its own."""
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    request = SimpleNamespace(headers=Headers([(b"traceparent", parent.encode())]), scope={})
    async with traced(cast("Request", request)) as trace:
        tell(during := httpx.Headers(), None)
        assert trace == Trace(during["traceparent"]) == Trace(parent)
    tell(after := httpx.Headers(), None)
    assert Trace(after["traceparent"]).trace_id != trace.trace_id


def test_a_state_that_cannot_be_sent_is_left_out() -> None:
    """It is malformed, and httpx would raise; the trace goes on."""
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    for state, handed_on in ((b"a=1", "a=1"), (b"a=\xe9", "")):
        request = SimpleNamespace(headers=Headers([(b"traceparent", parent.encode()), (b"tracestate", state)]))
        assert Trace.of(cast("Request", request)) == Trace(parent, handed_on)


# Options ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("margin", lambda: Client(margin=-1)),
        ("retry", lambda: Client(retry=3)),  # type: ignore[arg-type]
        ("attempts", lambda: Retry(attempts=0)),
        ("pause", lambda: Retry(pause=math.inf)),
    ],
)
def test_a_wrong_option_says_what_to_write(name: str, make: Callable[[], object], golden: Golden) -> None:
    """What came, and the remedy."""
    with pytest.raises(RegistrationError) as caught:
        make()
    golden(f"contrib/client_{name}", str(caught.value))


async def test_options_for_connections_reach_them() -> None:
    """A proxy, limits, a certificate authority: httpx makes what it would; mounted transports are wrapped as well."""
    upstream = Upstream(503)
    with pytest.raises(ValueError, match="ftp://proxy"):
        Client(proxy="ftp://proxy")
    async with Client(mounts={"all://mounted": upstream, "all://plain": None}, http1=True, trust_env=False) as client:
        with trio.fail_after(60):
            await client.get("http://mounted/")
        assert upstream.told[0] is not None
        assert len(upstream.told) == 3


async def test_who_is_not_our_own_is_told_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The deadline holds all the same."""
    upstream = Upstream(seconds=9)

    async def work() -> None:
        with pytest.raises(DeadlineExceeded):
            await client.get(URL)

    async with Client(transport=upstream, propagate=False) as client:
        await in_a_request(5, work)
    assert upstream.told == [None]


# Redirects ----------------------------------------------------------------------------------------------------------

TOLD = ("traceparent", "tracestate", "x-request-timeout-ms")
OTHERS = (
    *("http://elsewhere/", "//elsewhere/there", "http://upstream.elsewhere/", "http://upstream:8080/"),
    *("https://upstream:8443/", "https://elsewhere/"),
)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("where", "told"),
    [
        *((same, True) for same in ("/there", "http://upstream:80/there", "http://UPSTREAM/", "https://upstream/")),
        *((other, False) for other in OTHERS),
    ],
)
async def test_who_was_not_asked_is_told_nothing(
    where: str, told: bool, own: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """A redirect to another origin carries neither the time nor the trace, whoever has put them in, as httpx leaves out
    `Authorization`; but an attempt there has its deadline."""
    upstream = Upstream(to(where), 503, 200)
    headers = {"traceparent": "own", "tracestate": "a=1", "x-request-timeout-ms": "1000"} if own else {}
    parent = f"00-{'a' * 32}-{'b' * 16}-01".encode()
    request = SimpleNamespace(headers=Headers([(b"traceparent", parent), (b"tracestate", b"a=1")]), scope={})
    async with Client(transport=upstream, follow_redirects=True) as client, traced(cast("Request", request)):
        with trio.fail_after(9):
            await client.get("http://upstream/", headers={**headers, "authorization": "Basic x", "x-other": "1"})
    names = {*TOLD, "authorization", "x-other"}
    heads = [names & each.headers.keys() for each in upstream.requests]
    assert heads == [names, *[names if told else {"x-other"}] * 2]


async def test_who_was_asked_is_told_again_when_it_is_their_turn(autojump_clock: trio.testing.MockClock) -> None:
    """Over somebody else and back; also where the caller follows the redirects one by one."""
    upstream = Upstream(to("http://elsewhere/"), to(URL), 200)
    async with Client(transport=upstream) as client:
        with trio.fail_after(9):
            response = await client.get(URL)
            while response.next_request is not None:
                response = await client.send(response.next_request)
    assert upstream.told == ["8950", None, "8950"]


async def test_calls_that_share_their_extensions_are_not_one(autojump_clock: trio.testing.MockClock) -> None:
    """A caller's dictionary stays as it is."""
    upstream = Upstream()
    async with Client(transport=upstream) as client:
        extensions = {"timeout": client.timeout.as_dict()}
        with trio.fail_after(9):
            for url in (URL, "http://another/"):
                request = client.build_request("GET", url)
                request.extensions = extensions  # as before httpx 0.28, which makes a copy
                await client.send(request)
    assert upstream.told == ["8950", "8950"]
    assert extensions == {"timeout": httpx.Timeout(5).as_dict()}
