"""Fixtures and options of the whole suite."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import get_args

import pytest
from hypothesis import settings

from tests.harness import Golden, Serve, namespaces, serving
from tests.harness.golden import DIRECTORY
from tests.harness.serving import Server
from tests.harness.tools import require, under_ci

# Under CI a failure must be one that a colleague can repeat; and a loaded machine is not slow code.
settings.register_profile("laptop", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if under_ci() else "laptop")

PARAMETERS = [
    pytest.param(server, marks=[] if server == "memory" else [pytest.mark.live]) for server in get_args(Server)
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files with what this run has")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let one process alone rewrite files: several tests have a part of the same page."""
    if config.getoption("--update-golden"):
        # pytest-xdist looks at it in the same hook, later.
        config.option.numprocesses = 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this system forbids, instead of skipping it, which CI takes for something that can be mended."""
    forbidden = [item for item in items if item.get_closest_marker("namespaces")]
    if forbidden and not namespaces.allowed():
        config.hook.pytest_deselected(items=forbidden)
        items[:] = [item for item in items if item not in forbidden]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI a test that is skipped is one that is skipped for ever: the run fails, whatever the reason."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # the processes of pytest-xdist have none
    if under_ci() and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """And says so; so does a run that has left something out."""
    if not namespaces.allowed():
        terminalreporter.write_line("This system forbids namespaces: the tests that make some were left out.")
    if under_ci() and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("Under CI nothing may be skipped: install what is missing.", red=True)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(name, text)` compares a text with `tests/golden/NAME.txt`."""
    return Golden(DIRECTORY, update=bool(request.config.getoption("--update-golden")))


@pytest.fixture(params=PARAMETERS)
def serve(request: pytest.FixtureRequest) -> Serve:
    """`async with serve(app) as client`: in memory, under stock hypercorn, and under trivet's server."""
    if request.param == "trivet":
        require("module:trivet.server")
    return partial(serving, request.param)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that starts a server in this process, or the command line, sets up its logging; the next has none."""
    root, access = logging.getLogger(), logging.getLogger("trivet.access")
    levels = {log: log.level for log in (root, logging.getLogger("trivet"), access)}
    propagate, handlers = access.propagate, list(access.handlers)
    yield
    for log, level in levels.items():
        log.setLevel(level)
    for handler in access.handlers:
        if handler not in handlers:
            handler.close()
    access.handlers[:] = handlers
    access.propagate = propagate
