"""`trivet.contrib.observe`: what is counted, under which names, and what health and readiness are."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.harness import Golden
from trivet import App, Depends, HTTPError, Limit
from trivet.asgi import Receive, Scope, Send
from trivet.contrib import observe
from trivet.contrib.observe import _loop, _meter, _metrics
from trivet.contrib.observe._exposition import FAMILIES, Figures, text_of
from trivet.contrib.observe._meter import Counts, Distribution, Histogram
from trivet.errors import RegistrationError
from trivet.testing import ProtocolViolation, TestClient

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: str) -> Samples:
    """Every sample of a page by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def measured(**options: Any) -> App:
    """An application with a page of metrics, its own figures only."""
    app = App()
    app.mount("/observe", observe.router("metrics", registry=None, **options))
    return app


def counts_of(app: App) -> Any:
    return app.meter


def ended(app: App) -> dict[tuple[str, str], dict[tuple[int, str], int]]:
    """How many requests of each route and method have ended how."""
    return {(each.route, each.method): each.ended for each in counts_of(app).snapshot()}


# ---- the counters


@pytest.mark.parametrize(("value", "counted"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (2.5, 2), (math.inf, 2)])
def test_a_bound_is_inclusive(value: float, counted: int) -> None:
    """`le` is less or equal."""
    histogram = Histogram((1.0, 2.0))
    histogram.add(value)
    assert [count for _, count in Distribution.of(histogram).cumulated()] == [
        int(counted <= index) for index in range(3)
    ]


def test_what_is_answered_at_once_is_in_both_distributions() -> None:
    """Its head and its end are one moment."""
    counts = Counts((1.0,))
    counts.route("/a")("GET", 200, 0.5)
    counts.began(False)
    counts.ended(False, "GET", "/a", 200, "returned", 0.25, 3.0)
    (found,) = counts.snapshot()
    assert found.ended == {(200, "returned"): 2}
    assert (found.to_head.counts, found.to_head.total) == ([2, 0], 0.75)
    assert (found.to_end.counts, found.to_end.total) == ([1, 1], 3.5)


def test_labels_are_few() -> None:
    """Whatever clients send: unknown methods are one, and so are paths that no route takes."""
    counts = Counts((1.0,))
    count = counts.route("/a")
    for number in range(50):
        count(f"M{number}", 200, 0.0)
        counts.ended(False, f"N{number}", None, 404, "failed", None, 0.0)
    assert [(each.route, each.method) for each in counts.snapshot()] == [("/a", "other"), ("none", "other")]


async def test_an_application_without_the_page_is_not_measured() -> None:
    """Nothing is around it, and its steps are what they were."""
    app, other = App(), measured()
    app.mount("/observe", observe.router("health", "ready"))
    async with TestClient(app), TestClient(other):
        assert app.meter is None
        assert app._stack is app._bare
        assert other._stack is not other._bare
        assert counts_of(other).bounds == observe.BUCKETS


async def test_times_are_trios(autojump_clock: MockClock) -> None:
    """From the head of the request to the head of the response, and to its end."""
    app = measured(buckets=[1, 10])

    @app.get("/slow")
    async def slow() -> str:
        await trio.sleep(5)
        return "late"

    async with TestClient(app) as client:
        await client.get("/slow")
        (found,) = counts_of(app).snapshot()
    assert (found.to_head.total, found.to_end.total) == (5, 5)
    assert found.to_end.counts == [0, 1, 0]


def ticking() -> Callable[[], float]:
    """A clock that advances by two seconds each time it is looked at."""
    times: Iterator[float] = iter(range(0, 1000, 2))
    return lambda: next(times)


async def test_a_handler_that_fails_at_once_has_taken_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of its step counts, though it is served on by another way."""
    app = measured()

    @app.get("/fails")
    async def fails() -> None:
        raise HTTPError(409)

    monkeypatch.setattr("trivet._door.perf_counter", ticking())
    async with TestClient(app):
        door = app.__trivet_door__()
        assert door is not None
        head: Any = SimpleNamespace(method="GET", raw_path=b"/fails", query_string=b"", headers=[], body=b"")
        scope: Scope = {
            "type": "http", "method": "GET", "path": "/fails", "raw_path": b"/fails", "query_string": b"",
            "headers": [], "http_version": "1.1",
        }  # fmt: skip
        head.scope = lambda: scope
        going_on: Any = door(head)

        async def send(message: object) -> None:
            pass

        await going_on(scope, None, send)
    (found,) = counts_of(app).snapshot()
    assert found.ended == {(409, "failed"): 1}
    assert found.to_end.total >= 2


async def test_a_route_is_its_whole_pattern() -> None:
    """With the prefixes of what is mounted; another application is one route, for it is not known what it takes."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 203, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    app, middle, inner = measured(), App(), App()
    app.mount("/m", middle)
    app.mount("/plain", plain)
    middle.mount("/i", inner)

    @inner.get("/items/{item_id}")
    @app.get("/items/{item_id}")
    async def item(item_id: int) -> str:
        return str(item_id)

    async with TestClient(app, root_path="/root") as client:
        for path in ("/items/1", "/m/i/items/2", "/m/i/items/x", "/m/no", "/plain/a", "/plain/b", "/no"):
            await client.get(f"/root{path}")
    assert ended(app) == {
        ("/items/{item_id}", "GET"): {(200, "returned"): 1},
        ("/m/i/items/{item_id}", "GET"): {(200, "returned"): 1},
        ("/m/i/*", "GET"): {(404, "failed"): 1},
        ("/m/*", "GET"): {(404, "failed"): 1},
        ("/plain/*", "GET"): {(203, "returned"): 2},
        ("none", "GET"): {(404, "failed"): 1},
    }


async def test_an_override_is_measured_as_well() -> None:
    """What is compiled again is counted as before, by the direct door too."""
    app = measured()

    async def two() -> int:
        return 2

    async def three() -> int:
        return 3

    @app.get("/")
    async def number(value: Annotated[int, Depends(two)]) -> int:
        return value

    async with TestClient(app) as client:
        with app.override(two, three):
            assert (await client.get("/")).json() == 3
            door: Any = app.__trivet_door__()
            head = SimpleNamespace(method="GET", raw_path=b"/", query_string=b"", headers=[], body=b"")
            assert door(head)[0] == 200
    assert ended(app)["/", "GET"] == {(200, "returned"): 2}


# ---- the page


FIGURES = Figures(
    routes=Counts((0.5, 1.0)).snapshot(),
    requests=3,
    websockets=2,
    cut_short={"deadline": 1, "shed": 4},
    lag=Distribution((0.001, 10.0), (5, 1, 0), 0.25),
    tasks=7,
    tasks_ended={"completed": 9, "failed": 1},
    draining=True,
    services=[("refresh", "backing-off", 2)],
    limits={"": (20, 5, 4), "reports": (2, 1, 0)},
)


def some_figures() -> Figures:
    counts = Counts((0.5, 1.0))
    counts.route("/items/{item_id}")("GET", 200, 0.25)
    counts.began(True)
    counts.ended(True, "GET", "/ws", 101, "drained", 0.5, 60.0)
    return Figures(**{name: getattr(FIGURES, name) for name in FIGURES.__slots__} | {"routes": counts.snapshot()})


def test_the_page(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric, as Prometheus and OpenMetrics have it, and what a worker adds."""
    monkeypatch.delenv("TRIVET_WORKER_INDEX", raising=False)
    media_type, text = text_of(some_figures(), None, "")
    golden("observe/metrics", f"{media_type.partition(';')[0]}\n{text.decode()}")
    open_metrics = text_of(some_figures(), None, "application/openmetrics-text; version=1.0.0")
    assert open_metrics[0].startswith("application/openmetrics-text")
    assert open_metrics[1].endswith(b"# EOF\n")
    monkeypatch.setenv("TRIVET_WORKER_INDEX", "3")
    _, again = text_of(some_figures(), None, "")
    assert {
        (name, tuple(pair for pair in labels if pair != ("worker", "3"))) for name, labels in samples_of(again.decode())
    } == set(samples_of(text.decode()))
    assert all(("worker", "3") in labels for _, labels in samples_of(again.decode()))


def test_the_names_are_prometheuss() -> None:
    """Counters end in `_total`, seconds are named, and no name comes twice."""
    names = [family.name for family in FAMILIES]
    assert len({*names}) == len(names)
    assert all(name.startswith("trivet_") for name in names)
    for family in FAMILIES:
        assert family.name.endswith("_total") == (family.kind.__name__ == "CounterMetricFamily")
        assert family.name.endswith("_seconds") == (family.kind.__name__ == "HistogramMetricFamily")


async def test_your_own_metrics_are_on_the_page() -> None:
    """Those of the registry that is named; by default prometheus_client's own."""
    registry = CollectorRegistry()
    Counter("orders", "Orders taken.", registry=registry).inc(3)
    mine, default = App(), App()
    mine.mount("", observe.router("metrics", registry=registry))
    default.mount("", observe.router("metrics"))
    async with TestClient(mine) as client, TestClient(default) as other:
        assert samples_of((await client.get("/metrics")).text)["orders_total", ()] == 3
        text = (await other.get("/metrics")).text
        assert "orders_total" not in text
        assert "python_info" in text


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain", "*/*"])
@pytest.mark.parametrize("version", ["", "x", "1.x", "0x1", "1.0.0;escaping=x", "²"])
async def test_whatever_a_client_accepts_it_gets_a_page(kind: str, version: str) -> None:
    """A version that is none is nobody's fault but its own."""
    async with TestClient(measured()) as client:
        answer = await client.get("/observe/metrics", headers={b"accept": f"{kind};version={version}".encode()})
    assert answer.status_code == 200
    assert ("trivet_draining", ()) in samples_of(answer.text.removesuffix("# EOF\n"))


async def test_the_page_takes_no_thread_of_the_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose handlers have taken all of Trio's is one that somebody wants to see."""
    limiter, taken = trio.to_thread.current_default_thread_limiter(), list[int]()

    def counting(*args: Any) -> tuple[str, bytes]:
        taken.append(trio.from_thread.run_sync(lambda: limiter.borrowed_tokens))
        return text_of(*args)

    monkeypatch.setattr(_metrics, "text_of", counting)
    async with TestClient(measured()) as client:
        assert (await client.get("/observe/metrics")).status_code == 200
    assert taken == [0]


async def test_limits_and_background_tasks_are_on_the_page() -> None:
    """A limit that several routes share counts once."""
    app = App()
    app.mount("", observe.router("metrics", registry=None))
    shared, done = Limit(1), trio.Event()

    @app.get("/a", limit=shared)
    @app.get("/b", limit=shared)
    async def waits() -> None:
        await done.wait()

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        app.tasks.start_soon(done.wait)
        app.tasks.start_soon(trio.lowlevel.checkpoint)
        nursery.start_soon(client.get, "/a")
        await wait_all_tasks_blocked()
        assert (await client.get("/b")).status_code == 503
        page = samples_of((await client.get("/metrics")).text)
        done.set()
    unnamed = (("limit", ""),)
    assert [page[f"trivet_limits_{name}", unnamed] for name in ("running", "waiting", "shed_total")] == [1, 0, 1]
    assert page["trivet_background_tasks", ()] == 1
    assert page["trivet_background_tasks_ended_total", (("ending", "completed"),)] == 1
    assert page["trivet_requests_cut_short_total", (("reason", "shed"),)] == 1


async def test_limits_are_told_apart_by_their_names() -> None:
    """Those of one name, as of two applications, are one series, which Prometheus would refuse twice."""
    app, inner = App(limit=Limit(9, name="all")), App()
    app.mount("", observe.router("metrics", registry=None))
    app.mount("/m", inner)
    done = trio.Event()

    async def waits() -> None:
        await done.wait()

    app.get("/reports", limit=Limit(1, queue=1, name="reports"))(waits)
    inner.get("/reports", limit=Limit.adaptive(0.5, initial=1, most=1, name="reports"))(waits)
    app.get("/other", limit=Limit(1))(waits)

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        for path in ("/reports", "/reports", "/m/reports"):
            nursery.start_soon(client.get, path)
            await wait_all_tasks_blocked()
        assert (await client.get("/m/reports")).status_code == 503
        page = samples_of((await client.get("/metrics")).text)
        done.set()
    names = ("running", "waiting", "shed_total")
    assert {
        limit: [page[f"trivet_limits_{name}", (("limit", limit),)] for name in names]
        for limit in ("", "all", "reports")
    } == {"": [0, 0, 0], "all": [2, 0, 0], "reports": [2, 1, 1]}


async def test_the_pages_stand_outside_the_limits_of_the_application() -> None:
    """One that is full is not to be taken for a dead one, though who asks has to be recognized first."""
    limit, done = Limit(1), trio.Event()
    app = App(limit=limit)

    async def operator() -> None:
        await trio.lowlevel.checkpoint()

    @app.get("/work")
    async def work() -> None:
        await done.wait()

    app.mount("", observe.router(dependencies=[Depends(operator)]))
    async with TestClient(app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/work")
        await wait_all_tasks_blocked()
        paths = ("/work", "/ready", "/health", "/metrics", "/tasks", "/tasks.json")
        statuses = [(await client.get(path)).status_code for path in paths]
        done.set()
    assert statuses == [503, 200, 200, 200, 200, 200]
    assert limit.shed == 1


async def test_what_mounted_applications_have_is_on_the_page(autojump_clock: MockClock) -> None:
    """Their limits, tasks and services, each once, however deep and in how many places they are."""
    app, middle, inner = App(), App(), App()
    app.mount("", observe.router("metrics", registry=None))
    app.mount("/m", middle)
    middle.mount("/i", inner)
    middle.mount("/again", inner)
    shared, done = Limit(1), trio.Event()

    async def waits() -> None:
        await done.wait()

    app.get("/wait", limit=shared)(waits)
    inner.get("/wait", limit=shared)(waits)
    inner.get("/other", limit=Limit(1))(waits)
    app.service(name="refresh")(waits)
    inner.service(name="refresh")(waits)

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        for each in (app, inner):
            each.tasks.start_soon(done.wait)
            each.tasks.start_soon(trio.lowlevel.checkpoint)
        nursery.start_soon(client.get, "/m/i/wait")
        nursery.start_soon(client.get, "/m/again/other")
        await wait_all_tasks_blocked()
        assert (await client.get("/wait")).status_code == 503
        page = samples_of((await client.get("/metrics")).text)
        done.set()
    assert [page[f"trivet_limits_{name}", (("limit", ""),)] for name in ("running", "shed_total")] == [2, 1]
    assert page["trivet_background_tasks", ()] == 2
    assert page["trivet_background_tasks_ended_total", (("ending", "completed"),)] == 2
    restarts = {labels for name, labels in page if name == "trivet_service_restarts_total"}
    assert restarts == {(("service", "refresh"),), (("service", "refresh of /m/i"),)}


def test_an_application_is_measured_in_one_way(golden: Golden) -> None:
    """Two pages may show the same figures; who asks for other buckets is not to be shown those of the first."""
    app = measured(buckets=[1, 10])
    app.mount("/again", observe.router("metrics", registry=None, buckets=[1.0, 10.0]))
    with pytest.raises(RegistrationError) as caught:
        app.mount("/other", observe.router("metrics", registry=None, buckets=[0.5]))
    golden("contrib/observe_two_meters", str(caught.value))


async def test_the_page_is_behind_what_the_application_likes() -> None:
    """Dependencies of the router are asked first; the pages are in no OpenAPI document."""

    def nobody() -> None:
        raise HTTPError(401, headers={"www-authenticate": "Basic"})

    app = App()
    app.mount("/observe", observe.router("metrics", dependencies=[Depends(nobody)]))
    app.mount("", observe.router("health", "ready"))
    async with TestClient(app) as client:
        statuses = [(await client.get(path)).status_code for path in ("/observe/metrics", "/health", "/ready")]
        assert (await client.get("/openapi.json")).json()["paths"] == {}
    assert statuses == [401, 200, 200]


async def test_all_pages_without_naming_one() -> None:
    """As `observe.router()` says."""
    app = App()
    app.mount("/observe", observe.router())
    async with TestClient(app) as client:
        for page in ("metrics", "health", "ready"):
            answer = await client.get(f"/observe/{page}")
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


# ---- health and readiness


async def test_an_application_that_drains_is_healthy_and_not_ready() -> None:
    """So that it is left alone, and sent nothing."""
    app = App()
    app.mount("", observe.router("health", "ready"))
    async with TestClient(app) as client:
        app.draining.set()
        assert (await client.get("/health")).status_code == 200
        answer = await client.get("/ready")
        assert (answer.status_code, answer.text) == (503, "draining\n")


@pytest.mark.parametrize(("state", "status"), [("running", 200), ("backing-off", 200), ("failed", 503)])
async def test_a_service_that_has_given_up_is_not_ready(
    state: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is started again may well be back at once."""
    app = App()
    app.mount("", observe.router("ready"))
    service = SimpleNamespace(name="refresh", state=state, restarts=0)
    async with TestClient(app) as client:
        monkeypatch.setattr(App, "services", (service,), raising=False)
        answer = await client.get("/ready")
    assert answer.status_code == status
    assert status == 200 or answer.text == "given up: refresh\n"


async def test_a_service_of_a_mounted_application_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep: `app.ready` and the page say the same."""
    app, middle, inner = App(), App(), App()
    app.mount("", observe.router("ready"))
    app.mount("/m", middle)
    middle.mount("/i", inner)
    service = SimpleNamespace(name="refresh", state="failed", restarts=0)
    monkeypatch.setattr(App, "services", property(lambda self: (service,) if self is inner else ()))
    async with TestClient(app) as client:
        answer = await client.get("/ready")
        assert (answer.status_code, answer.text, app.ready) == (503, "given up: refresh of /m/i\n", False)


# ---- the loop


async def test_lag_is_how_late_a_sleeper_wakes(mock_clock: MockClock) -> None:
    """A loop that stands still for ten seconds is seen, and one that does not is in time."""
    async with _loop.running() as lag:
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        await wait_all_tasks_blocked()
        assert sum(lag.seen.counts) == 1
        assert 10 - 1.5 * _loop.INTERVAL <= lag.seen.total <= 10 - 0.5 * _loop.INTERVAL
        mock_clock.autojump_threshold = 0
        await trio.sleep(100 * _loop.INTERVAL)
        assert 95 <= sum(lag.seen.counts) <= 105
        assert lag.seen.total < 10


# ---- spans


async def test_a_span_has_the_whole_route_and_nothing_of_the_messages() -> None:
    """Unless one asks for those; the lifespan has no span, and a foreign answer has the outcome that it looks like."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    for more in ({}, {"exclude_spans": ()}):
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        app, inner = App(), App()
        app.wrap(observe.opentelemetry, tracer_provider=provider, **more)
        app.mount("/inner", inner)
        app.mount("/plain", plain)

        @inner.get("/items/{item_id}")
        async def item(item_id: int) -> int:
            return item_id

        async with TestClient(app) as client:
            await client.get("/inner/items/1")
            await client.get("/plain/x")
        servers = [span for span in exporter.get_finished_spans() if span.parent is None]
        said = [(span.name, (span.attributes or {}).get("trivet.outcome")) for span in servers]
        assert said == [("GET /inner/items/{item_id}", "returned"), ("GET /plain/*", "returned")]
        assert (len(exporter.get_finished_spans()) > 2) == bool(more)


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize(("hears", "status", "outcome"), [(False, 500, "failed"), (True, 499, "disconnected")])
async def test_who_forgets_to_answer_has_not_been_left(link: bool, hears: bool, status: int, outcome: str) -> None:
    """In the span and in the metrics alike: what counts is whether it was told that its client has left."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        while hears and (await receive())["type"] != "http.disconnect":
            pass

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = App()
    app.mount("/observe", observe.router("metrics", registry=None))
    app.wrap(observe.opentelemetry, tracer_provider=provider)
    app.mount("/silent", silent)
    with nullcontext() if hears else pytest.raises(ProtocolViolation, match="returned without an answer"):
        async with TestClient(app, link=link) as client, client.open("GET", "/silent/x") as exchange:
            await wait_all_tasks_blocked()
            exchange.leave()
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["trivet.outcome"] == outcome
    meter: Any = app.meter
    assert [dict(each.ended) for each in meter.snapshot()] == [{(status, outcome): 1}]


async def test_no_client_can_name_a_span() -> None:
    """A method that HTTP does not know is `HTTP`, as the semantic conventions have it."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = App()
    app.wrap(observe.opentelemetry, tracer_provider=provider)
    app.mount("/plain", plain)
    async with TestClient(app) as client:
        for method in ("FORGED-1", "FORGED-2", "PATCH"):
            await client.request(method, "/plain/x")
    assert [span.name for span in exporter.get_finished_spans()] == ["HTTP /plain/*", "HTTP /plain/*", "PATCH /plain/*"]


# ---- what users can get wrong

WRONG: dict[str, Callable[[], object]] = {
    "page": lambda: observe.router("metric"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "buckets_order": lambda: observe.router(buckets=[1, 0.1]),
    "buckets_infinite": lambda: observe.router(buckets=[1, math.inf]),
    "buckets_none": lambda: observe.router(buckets=[]),
    "buckets_number": lambda: observe.router(buckets=5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "option": lambda: observe.router(timeouts=3),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With what came, and what to write."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/observe_{name}", str(caught.value))


def test_an_extra_that_is_not_installed(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said by whoever needs it; health and readiness need none."""
    for name in list(sys.modules):
        if name.startswith(("prometheus_client", "opentelemetry.instrumentation")):
            monkeypatch.setitem(sys.modules, name, None)
    for name in ("_metrics", "_exposition"):
        monkeypatch.delitem(sys.modules, f"trivet.contrib.observe.{name}", raising=False)
    observe.router("health", "ready")
    said: list[str] = []
    for wrong in (observe.router, lambda: observe.opentelemetry(App())):
        with pytest.raises(ImportError) as caught:
            wrong()
        said.append(str(caught.value))
    golden("contrib/observe_extras", "\n\n".join(said))


def test_methods_are_spelt_as_http_has_them() -> None:
    """A method that we know is counted under its name."""
    counts = Counts((1.0,))
    for method in sorted(_meter.METHODS):
        counts.route("/a")(method, 200, 0.0)
    assert [each.method for each in counts.snapshot()] == sorted(_meter.METHODS)
