"""What a server tells an application beyond ASGI: that its client has left; and what an application can ask of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import starlette.requests
import trio
import trio.testing

from tests.live._inprocess import Told, answer, get, http, post, read_all, read_until, serving

pytestmark = pytest.mark.live


LEAVING: dict[str, bytes] = {
    "plainly": get(),
    "with-a-pipelined-byte": get() + b"G",
    "with-a-pipelined-request": get() + get(),
    # More than the server reads ahead, less than the kernels hold: what they do not hold keeps the end from arriving.
    "with-an-unread-body": post(150_000, b"x" * 150_000),
    "in-the-middle-of-a-body": post(150_000, b"x" * 10),
    "with-an-unknown-upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: tea\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("how", ["close", "half"])
@pytest.mark.parametrize("name", LEAVING)
async def test_a_request_is_told_that_its_client_has_left(name: str, how: str) -> None:
    """At once, though nobody reads `receive`, and though the reader may be parked behind unread input."""
    told = Told()
    async with serving(http(told.app)) as served:
        stream = await served.connect()
        await stream.send_all(LEAVING[name])
        await told.began.wait()
        assert told.reasons == []
        await (stream.aclose() if how == "close" else stream.send_eof())
        with trio.fail_after(9):
            await told.event.wait()
        assert told.reasons == ["disconnected"]
        await stream.aclose()


async def test_attaching_late_tells_at_once() -> None:
    """A request that attaches after its client has left is told inside `attach`."""
    reasons: list[str] = []
    done = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope["extensions"]["trivet"].attach(reasons.append)
        assert reasons == ["disconnected"]
        done.set()

    async with serving(http(handler)) as served:
        stream = await served.connect()
        await stream.send_all(get())
        await stream.aclose()
        await done.wait()


async def test_a_response_that_was_taken_is_not_told_anything() -> None:
    """The disconnect that ASGI queues on success, and a client that leaves after its answer, tell nothing."""
    reasons: list[str] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(reasons.append)
        await answer(send)
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    async with serving(http(handler)) as served:
        async with await served.connect() as stream:
            for _ in range(2):
                await stream.send_all(get())
                await read_until(stream, b"ok")
        await trio.sleep(0.05)
    assert reasons == []


@pytest.mark.parametrize("attach", ["before", "after"])
async def test_work_after_the_response_is_not_told_of_the_drain(attach: str) -> None:
    """Once the last body message is taken there is nothing to stop, whenever it was attached."""
    reasons: list[str] = []
    over = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        link = scope["extensions"]["trivet"]
        if attach == "before":
            link.attach(reasons.append)
        await answer(send)
        if attach == "after":
            link.attach(reasons.append)
        await link.draining.wait()
        await trio.sleep(0.3)
        over.set()

    async with serving(http(handler), options={"drain_timeout": 0.1}) as served, await served.connect() as stream:
        await stream.send_all(get())
        await read_until(stream, b"ok")
        served.stop.set()
        await over.wait()
    assert reasons == []


async def test_detached_is_not_told() -> None:
    """After `detach` the request runs on in peace."""
    reasons: list[str] = []
    detached, done = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        link = scope["extensions"]["trivet"]
        link.attach(reasons.append)
        link.detach()
        detached.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        done.set()

    async with serving(http(handler)) as served:
        async with await served.connect() as stream:
            await stream.send_all(get())
            await detached.wait()
        await done.wait()
    assert reasons == []


async def test_the_disconnect_is_repeated_and_reaches_a_cancelled_scope() -> None:
    """`receive` says `http.disconnect` each time, the first time even to who asks without waiting."""
    seen: list[str] = []
    left, done = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await left.wait()
        with trio.CancelScope() as scope_:
            scope_.cancel()
            seen.append((await receive())["type"])
        seen.extend([(await receive())["type"] for _ in range(3)])
        done.set()

    async with serving(http(handler)) as served:
        async with await served.connect() as stream:
            await stream.send_all(get())
        await trio.testing.wait_all_tasks_blocked(0.02)
        left.set()
        await done.wait()
    assert seen == ["http.disconnect"] * 4


ASKED: dict[str, tuple[bytes, bool, bytes]] = {
    "no-body-unread": (get(), False, b""),
    "no-body-read": (get(), True, b""),
    "body-unread": (post(5, b"12345"), False, b"12345"),
    "body-read": (post(5, b"12345"), True, b"12345"),
    "body-large-and-unread": (post(60_000, b"x" * 60_000), False, b"x" * 60_000),
}


@pytest.mark.parametrize("name", ASKED)
async def test_starlette_can_ask_whether_the_client_has_left(name: str) -> None:
    """In both protocols, whether or not the body has been read, and asking takes nothing of the body.

    Stock hypercorn says no for ever (pgjones/hypercorn#210); uvicorn says yes, but asking may throw the body away.
    """
    data, read_first, body = ASKED[name]
    began, left, done = trio.Event(), trio.Event(), trio.Event()
    seen: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        request = starlette.requests.Request(scope, receive)
        if read_first:
            seen.append(await request.body())
        seen.append(await request.is_disconnected())
        began.set()
        await left.wait()
        seen.append(await request.is_disconnected())
        if not read_first:
            messages = [await receive()]
            while messages[-1].get("more_body"):
                messages.append(await receive())
            assert {message["type"] for message in messages} == {"http.request"}
            seen.append(b"".join(message["body"] for message in messages))
        assert (await receive())["type"] == "http.disconnect"
        done.set()

    async with serving(http(handler)) as served:
        async with await served.connect() as stream:
            await stream.send_all(data)
            await began.wait()
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked(0.02)
        left.set()
        await done.wait()
    assert seen == ([body, False, True] if read_first else [False, True, body])


@pytest.mark.parametrize(
    ("version", "framing", "end"),
    [
        (b"1.1", [], b"4\r\npart\r\n"),
        (b"1.1", [(b"content-length", b"100")], b"part"),
        (b"1.0", [(b"content-length", b"100")], b"part"),
        (b"1.0", [], b"part<RST>"),
    ],
    ids=["chunked", "length", "length-1.0", "until-close"],
)
@pytest.mark.parametrize("how", ["abort", "raise", "return"])
async def test_a_response_is_cut_so_that_the_client_can_tell(
    how: str, version: bytes, framing: Any, end: bytes
) -> None:
    """No final chunk, less than its length, or a reset: never what looks like a whole response."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": framing})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await trio.sleep(0.05)
        if how == "abort":
            scope["extensions"]["trivet"].abort()
            await send({"type": "http.response.body", "body": b"ignored"})
        elif how == "raise":
            raise RuntimeError("too late for a 500")

    async with serving(http(handler)) as served:
        response = await served.request(b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % version)
        assert response.partition(b"\r\n\r\n")[2] == end


@pytest.mark.parametrize("read", [False, True], ids=["unread", "client-waits"])
async def test_an_early_answer_to_an_upload_arrives(read: bool) -> None:
    """The client gets its 413 while it is still sending, and the handler does not hang in its last `send`."""
    returned = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(0.1)
        await answer(send, 413, b"too large")
        returned.set()

    async with serving(http(handler)) as served:
        async with await served.connect() as stream, trio.open_nursery() as nursery:

            async def upload() -> None:
                try:
                    await stream.send_all(post(8_000_000, b"x" * (3_000_000 if read else 100_000)))
                except trio.BrokenResourceError:
                    pass

            nursery.start_soon(upload)
            response = await read_all(stream)
            assert response.startswith(b"HTTP/1.1 413")
            assert response.endswith(b"too large")
        with trio.fail_after(9):
            await returned.wait()


async def test_100_continue_waits_for_the_application() -> None:
    """It goes out when the application first reads the body, and not at all when it refuses without."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["headers"][-1][1] == b"refuse":
            await answer(send, 413, b"no")
            return
        message = await receive()
        await answer(send, body=message["body"])

    expect = b"Expect: 100-continue\r\nX-Do: "
    async with serving(http(handler)) as served:
        async with await served.connect() as stream:
            await stream.send_all(post(5, extra=expect + b"read\r\n"))
            assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(b"12345")
            assert (await read_until(stream, b"12345")).startswith(b"HTTP/1.1 200")
        response = await served.request(post(5, extra=expect + b"refuse\r\n"))
        assert response.startswith(b"HTTP/1.1 413")


async def test_keep_alive_ends_though_a_handler_was_cancelled_in_its_last_send() -> None:
    """The idle timer cannot be lost: a naive watcher that cancels on disconnect used to disarm it for ever."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        async def watch(nursery: trio.Nursery) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery)
            await answer(send)
            await trio.sleep_forever()

    async with serving(http(handler), keep_alive_timeout=0.2) as served, await served.connect() as stream:
        began = trio.current_time()
        await stream.send_all(get())
        await read_until(stream, b"ok")
        assert await read_all(stream) == b""
        assert trio.current_time() - began > 0.1


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Three in one packet; the last closes."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(0.03 if scope["path"] == "/1" else 0)
        await answer(send, body=scope["raw_path"])

    async with serving(http(handler)) as served:
        response = await served.request(get(b"/1") + get(b"/2") + get(b"/3", close=True))
        assert [part[-2:] for part in response.split(b"HTTP/1.1 ")[1:]] == [b"/1", b"/2", b"/3"]


async def test_a_wrong_host_is_refused_and_the_connection_closed() -> None:
    """With `server_names`, another Host gets 404 and a malformed one 400; neither leaves a connection behind."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async with serving(http(handler), server_names=["x"]) as served:
        assert (await served.request(get(close=True))).startswith(b"HTTP/1.1 200")
        assert (await served.request(get().replace(b"Host: x", b"Host: y"))).startswith(b"HTTP/1.1 404")
        assert (await served.request(get().replace(b"Host: x", b"Host: \xff"))).startswith(b"HTTP/1.1 400")


async def test_state_and_extension_of_the_scope() -> None:
    """Each request has its own copy of the lifespan's state and its own link; `draining` is one for all."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "a pool"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await answer(send)

    async with serving(app) as served:
        await served.request(get(close=True))
        await served.request(get(close=True))
    links = [scope["extensions"]["trivet"] for scope in scopes]
    assert [scope["state"] for scope in scopes] == [{"pool": "a pool"}] * 3
    assert scopes[1]["state"] is not scopes[2]["state"]
    assert len({id(link) for link in links}) == 3
    assert len({id(link.draining) for link in links}) == 1


async def test_a_scope_can_be_copied_deeply() -> None:
    """As hypercorn's ProxyFixMiddleware does: the copy has the same Link, for it is the same request."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        copied = copy.deepcopy(scope)
        assert copied["extensions"]["trivet"] is scope["extensions"]["trivet"]
        await answer(send)

    async with serving(http(handler)) as served:
        assert (await served.request(get(close=True))).endswith(b"ok")
