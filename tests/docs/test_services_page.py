"""What the pages about services and tasks say of options, states and attributes is what they are."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import trivet._restart as restart
from tests.docs.pages import ROOT, Page
from tests.docs.tables import code, table
from trivet import App
from trivet._service import Service, ServiceState
from trivet._service_registration import RegisteredService
from trivet._tasks import BackgroundTask, Tasks
from trivet.contrib import periodic

HOW_TO = Page.read(ROOT / "docs" / "how-to" / "services.md")
PAGE = Page.read(ROOT / "docs" / "reference" / "services.md")


def public(kind: type[Any]) -> set[str]:
    names = [*dir(kind), *(vars(kind()) if kind is Tasks else ())]
    return {name for name in names if not name.startswith("_")}


def test_the_table_of_options_is_what_is_taken() -> None:
    """Each with its default."""
    rows = {code(row["option"]): row["default"] for row in table(HOW_TO.text, "option", "default")}
    assert list(rows) == list(restart.ServiceOptions.__annotations__)
    app = App()

    @app.service
    async def service() -> None: ...

    (registered,) = app._services
    assert isinstance(registered, RegisteredService)
    defaults = {
        "restart": registered.restart.when,
        "drain_timeout": registered.drain_timeout,
        **{
            name: getattr(registered.restart, name)
            for name in ("backoff", "max_backoff", "max_restarts", "reset_after")
        },
    }
    assert {name: eval(code(rows[name])) for name in defaults} == defaults
    assert registered.name == "service"


def test_the_tables_of_attributes_are_all_there_is() -> None:
    """Of a service, its states, and the tasks; `enter` and `nursery` are the supervisor's and the test client's."""
    services, tasks = PAGE.text.split("\n## app.tasks\n")
    assert {code(row["attribute"]) for row in table(services, "attribute", "meaning")} == public(Service) - {"enter"}
    assert [eval(code(row["state"])) for row in table(PAGE.text, "state", "meaning")] == list(get_args(ServiceState))
    listed = {code(row["attribute"]).partition("(")[0] for row in table(tasks, "attribute", "meaning")}
    assert listed == public(Tasks) - {"nursery", "opened", "drain"}
    assert {"name", "since", "deadline"} == public(BackgroundTask) - {"scope", "cut"}


def test_the_names_of_periodic() -> None:
    """Every exported name, and what `every` takes."""
    assert [code(row["name"]) for row in table(PAGE.text, "name", "what it is")] == sorted(periodic.__all__)
    assert [
        (each.name, each.default)
        for each in inspect.signature(periodic.every).parameters.values()
        if each.name != "random"
    ] == [("period", inspect.Parameter.empty), ("at_once", True), ("jitter", 0.0), ("until", None)]
