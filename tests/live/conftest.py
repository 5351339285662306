"""The server's own tests run on both of its HTTP/1.1 protocols: trivet's, and hypercorn's inside the same guard."""

from __future__ import annotations

import pytest

from tests.live import _inprocess

BOTH = {"test_server_life", "test_server_link", "test_server_websocket", "test_server_writes"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run these modules once for each protocol."""
    if metafunc.module.__name__.rpartition(".")[2] in BOTH:
        metafunc.parametrize("protocol", ["trivet", "hypercorn"], indirect=True)


@pytest.fixture(autouse=True)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The protocol that `serving` speaks in this test."""
    name: str = getattr(request, "param", "trivet")
    monkeypatch.setattr(_inprocess, "PROTOCOL", name)
    return name
