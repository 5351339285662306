"""Fixtures of the tests of parts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from trivet.server._worker import INDEX


@pytest.fixture(autouse=True)
def no_worker() -> Iterator[None]:
    """Where `trivet run` was called in this process it has said, for good, which worker that is."""
    yield
    os.environ.pop(INDEX, None)
