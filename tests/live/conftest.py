"""On what the live tests run besides the usual: hypercorn's HTTP/1.1 inside the same guard, and no poller."""

from __future__ import annotations

import pytest

from tests.live import _inprocess
from trivet.server import _serve

BOTH = {
    "test_client_chain",
    "test_app_websocket_drain",
    "test_http1_drain",
    "test_observe",
    "test_overload",
    "test_server_life",
    "test_server_link",
    "test_server_websocket",
    "test_server_writes",
}
"""The server's own tests: on both of its HTTP/1.1 protocols."""

BOTH_WAYS = {
    "test_http1_asgi",
    "test_http1_drain",
    "test_http1_found",
    "test_http1_limits",
    "test_http1_malformed",
    "test_server_life",
}
"""With and without the poller, as where the system has no epoll; the tests over TLS see to that by themselves."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module once for each protocol, or each way to read; what is marked `polled`, with the poller only."""
    module = metafunc.module.__name__.rpartition(".")[2]
    ways = {"trivet": ("trivet", True)}
    if module in BOTH:
        ways["hypercorn"] = "hypercorn", True
    if module in BOTH_WAYS:
        ways["trivet-unpolled"] = "trivet", False
    if metafunc.definition.get_closest_marker("polled"):
        ways = {name: way for name, way in ways.items() if way[1]}
    if len(ways) > 1:
        metafunc.parametrize(("protocol", "polled"), ways.values(), ids=ways, indirect=True)


@pytest.fixture(autouse=True)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The protocol that `serving` speaks in this test."""
    name: str = getattr(request, "param", "trivet")
    monkeypatch.setattr(_inprocess, "PROTOCOL", name)
    return name


@pytest.fixture(autouse=True)
def polled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether sockets are read by the poller in this test, where there is one."""
    wanted: bool = getattr(request, "param", True)
    if not wanted:
        monkeypatch.setattr(_serve, "POLLS", False)
    return wanted
