"""TLS through memory, on a pair of sockets: what is told of writes, what is kept, and how it ends."""

from __future__ import annotations

import contextvars
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import trio
import trio.testing
import trustme

from trivet.server._crew import Crew
from trivet.server._poller import SUPPORTED, Poller
from trivet.server._tls_handshake import Handshake
from trivet.server._tls_transport import MAX_UNASKED, PIECE, RECORD, Records, SecureTransport

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="needs epoll")

Pair = tuple[socket.socket, socket.socket]

authority = trustme.CA()
certificate = authority.issue_cert("localhost")


def contexts(version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    server.maximum_version = version
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Client:
    """The other end, whose every step is made by the test."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def step(self) -> bytes:
        """Go on with the handshake; what is to be sent."""
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def read(self, size: int = 65_536) -> bytes:
        """Take at most `size` bytes of ciphertext from the socket; what they are in plain."""
        try:
            self.incoming.write(self.sock.recv(size))
        except BlockingIOError:
            return b""
        plain = b""
        try:
            while part := self.session.read(65_536):
                plain += part
        except ssl.SSLWantReadError:
            pass
        return plain

    def encrypted(self, data: bytes) -> bytes:
        self.session.write(data)
        return self.outgoing.read()


class Connection:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []

    def received(self, data: bytes, now: float) -> None:
        self.data += data
        if not data:
            self.told.append("end")

    def hung_up(self) -> None:
        self.told.append("hung up")

    def broken(self) -> None:
        self.told.append("broken")


class Service:
    """What a handshake asks of `HTTP1Service`."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.now = 0.0
        self.connection = Connection()
        self.secure = 0
        self.gone = 0

    def secured(self, transport: SecureTransport) -> None:
        self.secure += 1
        transport.begin(self.connection, 0)

    def left(self, _: object) -> None:
        self.gone += 1

    def task_woken(self) -> None:
        pass


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.setblocking(False)
        theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield ours, theirs


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    found: ssl.TLSVersion = ssl.TLSVersion[request.param]
    return found


def begin(
    pair: Pair, version: ssl.TLSVersion, nursery: trio.Nursery
) -> tuple[Poller, Service, SecureTransport, Client]:
    server_context, client_context = contexts(version)
    poller, service = Poller(), Service(nursery)
    transport = SecureTransport(poller, pair[0], "", server_context)
    poller.add(pair[0], Handshake(service, transport, 60))  # type: ignore[arg-type]
    nursery.start_soon(Crew(poller, contextvars.copy_context()).run)
    return poller, service, transport, Client(pair[1], client_context)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is no event
            await trio.sleep(0.001)


async def shake(client: Client, service: Service, by: int = 65_536) -> None:
    """Make the handshake, sending `by` bytes at a time."""
    with trio.fail_after(5):
        while not service.secure:
            data = client.step()
            for at in range(0, len(data), by):
                client.sock.send(data[at : at + by])
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.001)
            try:
                client.incoming.write(client.sock.recv(65_536))
            except BlockingIOError:
                pass
    client.step()


async def test_a_handshake_by_the_byte(pair: Pair, version: ssl.TLSVersion) -> None:
    """Is one, and the connection hears of nothing but what was said in it."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service, by=1)
        for byte in client.encrypted(b"hello"):
            pair[1].send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        await until(lambda: service.connection.data == b"hello")
        assert (service.secure, service.gone, service.connection.told) == (1, 1, [])
        transport.close()
        nursery.cancel_scope.cancel()


async def test_a_request_behind_the_handshake(pair: Pair) -> None:
    """Arrives, though it came with the handshake's last flight."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, ssl.TLSVersion.TLSv1_3, nursery)
        pair[1].send(client.step())
        await until(lambda: _readable(pair[1]))
        client.incoming.write(pair[1].recv(65_536))
        pair[1].send(client.step() + client.encrypted(b"hello"))
        await until(lambda: service.connection.data == b"hello")
        transport.close()
        nursery.cancel_scope.cancel()


def _fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; how much that was."""
    filled = 0
    try:
        while True:
            filled += sock.send(b"x" * 64)
    except BlockingIOError:
        return filled


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_a_flight_that_the_kernel_does_not_take(pair: Pair, version: ssl.TLSVersion) -> None:
    """Waits until it does, and the handshake goes on."""
    filled = _fill(pair[0])
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        pair[1].send(client.step())
        await until(lambda: len(nursery.child_tasks) == 2)  # the crew, and who flushes
        while filled:
            filled -= len(pair[1].recv(min(filled, 65_536)))
        await shake(client, service)
        pair[1].send(client.encrypted(b"hello"))
        await until(lambda: service.connection.data == b"hello")
        transport.close()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [0, 1, RECORD, RECORD + 1, 1_000_000])
async def test_writes_are_counted_in_plain_bytes(pair: Pair, version: ssl.TLSVersion, size: int) -> None:
    """Each byte once, whatever the kernel takes at a time; and nothing is told of that is not out."""
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        got = b""
        told = 0

        async def write() -> None:
            nonlocal told
            rest = memoryview(body)
            try:
                told = transport.write_now(rest)
            except BlockingIOError:
                pass
            while told < len(body):
                told += await transport.write_some(rest[told:])

        nursery.start_soon(write)
        with trio.fail_after(20):
            while len(got) < size or told < size:
                got += client.read(1000 if size < 100_000 else 30_000)
                await trio.lowlevel.checkpoint()
        assert told == size
        assert got == body
        transport.close()
        nursery.cancel_scope.cancel()


async def test_progress_is_told_before_a_piece_is_out(pair: Pair, version: ssl.TLSVersion) -> None:
    """Whoever takes a little, again and again, has not stalled."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        rest = memoryview(b"x" * PIECE)
        rest = rest[transport.write_now(rest) :]
        assert len(rest) == PIECE
        counts: list[int] = []

        async def write() -> None:
            while sum(counts) < PIECE:
                counts.append(await transport.write_some(rest[sum(counts) :]))

        nursery.start_soon(write)
        got = b""
        with trio.fail_after(5):
            while len(got) < PIECE:
                got += client.read(1000)
                await trio.testing.wait_all_tasks_blocked()
        assert len(counts) > 2
        assert (sum(counts), min(counts) > 0) == (PIECE, True)
        transport.close()
        nursery.cancel_scope.cancel()


async def test_a_blocked_write_is_not_complete(pair: Pair, version: ssl.TLSVersion) -> None:
    """A record of which only a part is out does not count, and meanwhile nothing else can be written."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        body = b"x" * 200_000
        assert transport.write_now(body) < len(body)
        with pytest.raises(BlockingIOError):
            transport.write_now(b"y")
        transport.close(reset=True)
        nursery.cancel_scope.cancel()


async def test_a_close_is_said(version: ssl.TLSVersion) -> None:
    """Unless it is a reset, or in the middle of a record."""
    for reset in (False, True):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with closing(ours), closing(theirs):
            async with trio.open_nursery() as nursery:
                theirs.setblocking(False)
                _, service, transport, client = begin((ours, theirs), version, nursery)
                await shake(client, service)
                transport.close(reset=reset)
                client.incoming.write(theirs.recv(65_536) if _readable(theirs) else b"")
                client.incoming.write_eof()
                if reset:
                    with pytest.raises(ssl.SSLEOFError):
                        client.session.read(100)
                else:
                    assert client.session.read(100) == b""
                nursery.cancel_scope.cancel()


async def test_an_end_is_said(pair: Pair, version: ssl.TLSVersion) -> None:
    """close_notify goes before the end of the stream, when only we end as well as when we close."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        transport.write_now(b"bye")
        transport.end_writing()
        client.incoming.write(pair[1].recv(65_536))
        client.incoming.write_eof()
        assert client.session.read(100) == b"bye"
        assert client.session.read(100) == b""  # and not SSLEOFError
        pair[1].send(client.encrypted(b"still here"))
        await until(lambda: service.connection.data == b"still here")
        transport.close()
        assert service.connection.told == []
        nursery.cancel_scope.cancel()


async def test_after_close_notify_nothing_is_believed(pair: Pair, version: ssl.TLSVersion) -> None:
    """Bytes behind the end of the session may be anybody's."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        with pytest.raises(ssl.SSLWantReadError):
            client.session.unwrap()
        pair[1].send(client.outgoing.read() + b"GET /smuggled HTTP/1.1\r\n\r\n")
        await until(lambda: service.connection.told)
        pair[1].send(b"GET /smuggled HTTP/1.1\r\n\r\n")
        pair[1].close()
        await trio.sleep(0.01)
        assert (service.connection.data, service.connection.told) == (b"", ["end"])
        transport.close()
        nursery.cancel_scope.cancel()


async def test_what_is_not_authentic_breaks_the_connection(pair: Pair, version: ssl.TLSVersion) -> None:
    """A record that somebody has changed, or bytes in the clear."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        record = bytearray(client.encrypted(b"hello"))
        record[-1] ^= 1
        pair[1].send(record)
        await until(lambda: service.connection.told)
        assert (service.connection.data, service.connection.told) == (b"", ["broken"])
        transport.close()
        nursery.cancel_scope.cancel()


async def test_a_cut_stream_is_an_end(pair: Pair, version: ssl.TLSVersion) -> None:
    """In the middle of a record too: of that nothing is heard."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, version, nursery)
        await shake(client, service)
        pair[1].send(client.encrypted(b"one") + client.encrypted(b"two")[:-1])
        pair[1].shutdown(socket.SHUT_WR)
        await until(lambda: service.connection.told)
        assert (service.connection.data, service.connection.told) == (b"one", ["end"])
        transport.close()
        nursery.cancel_scope.cancel()


async def test_what_a_client_makes_us_say_is_bounded(pair: Pair) -> None:
    """Answers to KeyUpdates, say, of one who reads none of them."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, ssl.TLSVersion.TLSv1_3, nursery)
        await shake(client, service)
        records = Records(transport, service.connection)
        transport.outgoing.write(b"x" * (MAX_UNASKED - transport.outgoing.pending))
        records.received(client.encrypted(b"one"), 0)
        assert service.connection.told == []
        transport.outgoing.write(b"x")
        records.received(client.encrypted(b"two"), 0)
        assert service.connection.told == ["broken"]
        transport.close(reset=True)
        nursery.cancel_scope.cancel()


async def test_tickets_wait_for_the_first_response(pair: Pair) -> None:
    """A client that writes and leaves would answer them with a reset."""
    async with trio.open_nursery() as nursery:
        _, service, transport, client = begin(pair, ssl.TLSVersion.TLSv1_3, nursery)
        await shake(client, service)
        assert not client.incoming.pending
        assert not _readable(pair[1])
        transport.write_now(b"ok")
        assert client.read() == b"ok"
        transport.close()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\xff" * 100, b"\x16"])
async def test_a_handshake_that_is_none(pair: Pair, data: bytes) -> None:
    """Is over; one that stops in the middle when the client has left, or when its time is up."""
    async with trio.open_nursery() as nursery:
        _, service, transport, _ = begin(pair, ssl.TLSVersion.TLSv1_3, nursery)
        pair[1].send(data)
        if len(data) == 1:
            await trio.sleep(0.01)
            assert not service.gone
            pair[1].shutdown(socket.SHUT_WR)
        await until(lambda: service.gone)
        assert (service.secure, service.gone, transport.sock.fileno()) == (0, 1, -1)
        nursery.cancel_scope.cancel()


async def test_the_time_for_a_handshake(pair: Pair) -> None:
    """Is looked at by whoever sweeps."""
    server_context, _ = contexts(ssl.TLSVersion.TLSv1_3)
    async with trio.open_nursery() as nursery:
        poller, service = Poller(), Service(nursery)
        transport = SecureTransport(poller, pair[0], "", server_context)
        handshake = Handshake(service, transport, 60)  # type: ignore[arg-type]
        poller.add(pair[0], handshake)
        handshake.tick(59, 1)
        assert not service.gone
        handshake.tick(60, 1)
        assert service.gone
        handshake.drain_begins()
        assert (service.gone, transport.sock.fileno()) == (1, -1)
        poller.close()
