"""Fixtures of the sample apps' tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias

import pytest

from tests.harness import Serve, ServerProcess, run_server, serving
from tests.harness.tools import require

Run: TypeAlias = Callable[..., AbstractAsyncContextManager[ServerProcess]]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.live) for name in ("hypercorn", "trivet")])
def run(request: pytest.FixtureRequest) -> Run:
    """`async with run("apps.NAME:app") as server`: as a user starts it, by stock hypercorn and by `trivet run`."""
    if request.param == "trivet":
        require("module:trivet.cli")
    return partial(run_server, request.param)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.live) for name in ("hypercorn", "trivet")])
def serve(request: pytest.FixtureRequest) -> Serve:
    """`async with serve(app) as client`: over sockets, in this process; an app's tests in memory are their own."""
    if request.param == "trivet":
        require("module:trivet.server")
    return partial(serving, request.param)
