"""Nothing that a client sends, and nothing that a handler raises, ends the server or leaves anything behind."""

from __future__ import annotations

from collections.abc import Iterator

import h2.events
import pytest

from tests.live import _attack as attack
from tests.live._server import H2, Running, running

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module", params=["trivet", "hypercorn"])
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    """One server for all attacks: what the first leaves behind, the last would find. For each of its protocols."""
    with running("--keep-alive", "2", "--protocol", request.param) as server:
        before = server.stats()
        yield server
        after = server.settled(before)
        assert before["pid"] == after["pid"]
        for key in ("live", "tasks", "fds"):
            assert before[key] == after[key], key
        server.signal()
        assert server.wait() == 0


def still_serves(server: Running) -> bool:
    return server.get("/") == (200, b"%d" % server.process.pid)


@pytest.mark.parametrize("name", attack.RAW)
def test_a_request_costs_at_most_its_own_connection(server: Running, name: str) -> None:
    """Each input is answered as it should be, and a new connection is served by the same process."""
    answer = attack.send_raw(server, name)
    expected = attack.RAW[name][1]
    assert still_serves(server)
    if expected is not None:
        assert answer[: len(expected)] == expected


@pytest.mark.parametrize("name", attack.HTTP2)
def test_an_http2_stream_costs_at_most_its_own_connection(server: Running, name: str) -> None:
    """The same over HTTP/2."""
    act, status = attack.HTTP2[name]
    with server.connect() as sock:
        client = H2(sock)
        act(client)
        if status is None:
            client.pump(0.2)
        elif client.status() is None:
            client.pump(9, until=h2.events.ResponseReceived)
        assert client.status() == status or status is None
    assert still_serves(server)


def test_other_streams_of_an_attacked_connection_go_on(server: Running) -> None:
    """A malformed request over HTTP/2 does not cost the other streams of its connection."""
    with server.connect() as sock:
        client = H2(sock)
        client.request(1, path=b"/sleep/0.3")
        client.request(3, path=b"/\xff")
        client.request(5, method=b"CONNECT", path=None)
        client.request(7, method=b"G\xff")
        client.pump(9, until=h2.events.StreamEnded, stream=1)
        assert [client.status(stream) for stream in (3, 5, 7, 1)] == [400, 501, 400, 200]


def test_random_and_mutated_bytes(server: Running) -> None:
    """A thousand connections of rubbish later, the same process answers."""
    for data in attack.mutations(seed=20261120, count=1000):
        attack.throw(server, data)
    assert still_serves(server)


@pytest.mark.parametrize("path", ["/late", "/abort"])
def test_a_cut_response_over_http2_is_reset(server: Running, path: str) -> None:
    """A response that cannot be completed ends with RST_STREAM; stock hypercorn leaves the client waiting."""
    with server.connect() as sock:
        client = H2(sock)
        client.request(path=path.encode())
        client.pump(9, until=h2.events.StreamReset)
        assert client.saw(h2.events.StreamReset)
        assert not client.saw(h2.events.StreamEnded)
        client.request(3)
        client.pump(9, until=h2.events.StreamEnded, stream=3)
        assert client.status(3) == 200


def test_an_unread_upload_does_not_block_the_other_streams(server: Running) -> None:
    """Thirty unread DATA frames on one stream, and another stream of the connection is answered at once."""
    with server.connect() as sock:
        client = H2(sock)
        client.request(1, b"POST", b"/refuse/3", end=False)
        for _ in range(30):
            client.data(1, b"x")
        client.request(3)
        client.pump(9, until=h2.events.StreamEnded, stream=3)
        assert (client.status(3), client.status(1)) == (200, None)


def test_a_large_upload_over_http2_is_read_whole(server: Running) -> None:
    """The window opens as the application reads: ten windows' worth of body arrive."""
    body = bytes(range(256)) * 2560
    with server.connect() as sock:
        client = H2(sock)
        client.request(1, b"POST", b"/echo", end=False)
        sent = 0
        while sent < len(body):
            window = min(client.h2.local_flow_control_window(1), client.h2.max_outbound_frame_size, len(body) - sent)
            if window:
                client.data(1, body[sent : sent + window], end=sent + window == len(body))
                sent += window
            else:
                client.pump(0.02)
        client.pump(5, until=h2.events.StreamEnded)
        assert client.body() == body
