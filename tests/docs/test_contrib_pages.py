"""What the reference pages of `trivet.contrib` say of names, options and answers is what they are."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, get_args

import pytest

from tests.docs.pages import ROOT, Page
from tests.docs.tables import Row, check_marked, code, table
from trivet import App, Depends
from trivet.asgi import Reason
from trivet.contrib import broadcast, client, concurrency, observe, ratelimit, redis, security
from trivet.contrib.observe import _meter, _spans
from trivet.contrib.observe._exposition import FAMILIES
from trivet.contrib.observe._router import PAGES
from trivet.testing import TestClient

SECURITY = Page.read(ROOT / "docs" / "reference" / "security.md")
RATELIMIT = Page.read(ROOT / "docs" / "reference" / "ratelimit.md")
REDIS = Page.read(ROOT / "docs" / "reference" / "redis.md")
CLIENT = Page.read(ROOT / "docs" / "reference" / "client.md")
BROADCAST = Page.read(ROOT / "docs" / "reference" / "broadcast.md")
OBSERVE = Page.read(ROOT / "docs" / "reference" / "observe.md")
CONCURRENCY = Page.read(ROOT / "docs" / "reference" / "concurrency.md")


@pytest.mark.parametrize(
    ("page", "module"),
    [
        (SECURITY, security),
        (RATELIMIT, ratelimit),
        (REDIS, redis),
        (BROADCAST, broadcast),
        (OBSERVE, observe),
        (CLIENT, client),
        (CONCURRENCY, concurrency),
    ],
)
def test_the_table_of_names_is_what_is_exported(page: Page, module: ModuleType) -> None:
    """Every exported name has its line."""
    assert [code(row["name"]) for row in table(page.text, "name", "what it is")] == sorted(module.__all__)


@pytest.mark.parametrize("row", table(SECURITY.text, "scheme", "as a provider it gives"), ids=lambda row: row["scheme"])
def test_a_scheme_takes_what_the_page_says(row: Row) -> None:
    """The parameters and their defaults."""
    shown = code(row["scheme"])
    name = shown.partition("(")[0]
    written = eval(f"lambda {shown.partition('(')[2][:-1]}: None")
    expected = {each.name: each for each in inspect.signature(written).parameters.values()}
    actual = dict(inspect.signature(getattr(security, name)).parameters)
    del actual["description"]
    assert set(actual) == set(expected)
    for each in expected.values():
        assert actual[each.name].kind is each.kind
        if each.name != "scopes":  # made by a factory
            assert actual[each.name].default == each.default


@pytest.mark.parametrize(
    ("page", "callable_", "heading"),
    [
        (RATELIMIT, ratelimit.RateLimit, "RateLimit"),
        (REDIS, redis.Redis, "Redis"),
        (CLIENT, client.Client, "Client"),
        (CLIENT, client.Retry, "Retry"),
        (BROADCAST, broadcast.Broadcast, "Broadcast"),
        (BROADCAST, broadcast.Broadcast.subscribe, "Broadcast.subscribe"),
        (OBSERVE, observe.router, "router"),
        (OBSERVE, observe.opentelemetry, "opentelemetry"),
        (CONCURRENCY, concurrency.HedgeBudget, "HedgeBudget"),
    ],
)
def test_a_table_of_options_is_what_is_taken(page: Page, callable_: Callable[..., object], heading: str) -> None:
    """Each with its default."""
    parameters = dict(inspect.signature(callable_).parameters)
    for name in ("self", "topic", "pages", "options", "app"):
        parameters.pop(name, None)
    section = page.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = table(section, "option", "default")
    assert [code(row["option"]) for row in rows] == list(parameters)
    for row in rows:
        default: Any = (
            eval(code(row["default"]), {"Retry": client.Retry, "random": random, "observe": observe})
            if row["default"]
            else inspect.Parameter.empty
        )
        assert parameters[code(row["option"])].default == default


def test_the_metrics_and_their_labels(pytestconfig: pytest.Config) -> None:
    """Each with its type, its labels and its help text; and every value that a label can have."""
    lines = ["| metric | type | labels | what |", "|---|---|---|---|"]
    for each in FAMILIES:
        kind = each.kind.__name__.removesuffix("MetricFamily").lower()
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {kind} | {labels} | {each.help} |")
    check_marked(ROOT / "docs" / "reference" / "observe.md", "metrics", "\n".join(lines) + "\n", pytestconfig)
    values = {code(row["label"]): re.findall(r"`([^`]+)`", row["values"]) for row in table(OBSERVE.text, "label")}
    assert set(values["method"]) == {*_meter.METHODS, _meter.OTHER}
    assert set(values["outcome"]) == set(get_args(Reason))
    assert values["route"][-1] == _meter.NONE
    assert [code(row["page"]) for row in table(OBSERVE.text, "page")] == list(PAGES)
    attributes = [code(row["attribute"]) for row in table(OBSERVE.text, "attribute")]
    assert attributes == [_spans.ROUTE, _spans.OUTCOME, _spans.REQUEST_ID]


@pytest.mark.parametrize(
    "row", table(CONCURRENCY.text, "call", "gives"), ids=lambda row: code(row["call"]).split("(")[0]
)
def test_a_helper_takes_what_the_page_says(row: Row) -> None:
    """The parameters, their order and their defaults."""
    name, _, rest = code(row["call"]).split(" as ")[0].rpartition("with ")[2].removeprefix("await ").partition("(")
    shown = inspect.signature(eval(f"lambda {rest[:-1]}: None"))
    actual = inspect.signature(getattr(concurrency, name))
    assert [(each.name, each.kind, each.default) for each in actual.parameters.values()] == [
        (each.name, each.kind, each.default) for each in shown.parameters.values()
    ]


def test_what_is_said_of_subscriptions_and_backends_is_all_there_is() -> None:
    """Every public attribute, and every method of the protocol."""
    public = {name for name in dir(broadcast.Subscription) if not name.startswith("_")}
    assert {
        code(row["attribute"]).removesuffix("()") for row in table(BROADCAST.text, "attribute", "meaning")
    } == public
    methods = {name for name in vars(broadcast.Backend) if not name.startswith("_")}
    assert {code(row["method"]).partition("(")[0] for row in table(BROADCAST.text, "method", "what it does")} == methods
    policies = [code(row["`slow`"]) for row in table(BROADCAST.text, "`slow`", "a queue that is full")]
    assert sorted(map(eval, policies)) == sorted(get_args(broadcast.Slow))


@dataclass
class Principal:
    scopes: tuple[str, ...] = ()


SENT = [[], ["Bearer a b"], ["Bearer unknown"], ["Bearer known"], ["Bearer a", "Bearer b"]]


CASES = list(zip(table(SECURITY.text, "what was sent", "status"), SENT, strict=True))


@pytest.mark.parametrize(("row", "sent"), CASES)
async def test_an_answer_is_what_the_page_says(row: Row, sent: list[str]) -> None:
    """Status and challenge."""
    app = App()
    bearer = security.Bearer()

    async def current(token: Annotated[str, Depends(bearer)]) -> Principal:
        if token != "known":
            raise bearer.unauthorized()
        return Principal()

    @app.get("/", dependencies=[Depends(bearer.requires(current, "x"))])
    async def handler() -> None: ...

    async with TestClient(app) as client:
        response = await client.get("/", headers=[("authorization", each) for each in sent])
    assert response.status_code == int(row["status"])
    assert response.headers["www-authenticate"] == code(row["`WWW-Authenticate`"])


async def test_the_fields_are_spelt_as_in_the_examples() -> None:
    """The names of the page are sent, and the examples differ from what is sent in their numbers only."""
    app = App()

    @app.get("/", dependencies=[Depends(ratelimit.RateLimit(1, per=60))])
    async def handler() -> None: ...

    async with TestClient(app) as client:
        await client.get("/")
        response = await client.get("/")
    assert response.status_code == 429
    for row in table(RATELIMIT.text, "field", "in"):
        sent = response.headers[code(row["field"])]
        assert re.sub(r"\d+", "0", sent) == re.sub(r"\d+", "0", code(row["example"]))
