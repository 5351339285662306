"""What people in a room get, and when: in memory, under Trio's mock clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apps.chat import main
from apps.chat import rooms as rooms_module
from apps.chat.limits import Limits
from apps.chat.main import create_app
from apps.chat.messages import Line
from apps.chat.rooms import Rooms, open_rooms
from apps.chat.visit import BEAT, SILENT, TYPING, Visit
from trivet import App
from trivet.testing import TestClient, TestWebSocket, WebSocketRefused

SMALL = Limits(rooms=2, people=3, history=5, waiting=3)


@asynccontextmanager
async def opened(limits: Limits = SMALL, **options: Any) -> AsyncGenerator[TestClient]:
    async with TestClient(create_app(limits), **options) as client:
        yield client


@asynccontextmanager
async def visit(
    client: TestClient, name: str, room: str = "tea", after: str | None = None
) -> AsyncGenerator[tuple[TestWebSocket, dict[str, Any]]]:
    """Be in a room, and have its welcome."""
    params = {"name": name} | ({} if after is None else {"after": after})
    async with client.websocket(f"/rooms/{room}", params=params) as ws:
        yield ws, await got(ws, "welcome")


async def got(ws: TestWebSocket, kind: str) -> dict[str, Any]:
    """The next message, which is of this kind."""
    message: dict[str, Any] = await ws.receive_json()
    assert message["type"] == kind, message
    return message


async def say(ws: TestWebSocket, text: str, key: str | None = None) -> None:
    await ws.send_json({"type": "say", "key": key or f"the key of {text}", "text": text})


async def said(ws: TestWebSocket) -> str:
    """The text of the next message, which is a line."""
    text: str = (await got(ws, "said"))["line"]["text"]
    return text


async def test_two_people_talk(autojump_clock: MockClock) -> None:
    """Each sees who is there, who comes, and what is said, by whom: their own lines as well."""
    async with opened() as client, visit(client, " Ada  L. ") as (ada, first):
        assert first["people"] == [{"id": first["you"], "person": {"name": "Ada L."}}]
        async with visit(client, "Bob") as (bob, second):
            assert [each["person"]["name"] for each in second["people"]] == ["Ada L.", "Bob"]
            assert await got(ada, "came") == {"type": "came", "id": second["you"], "person": {"name": "Bob"}}
            await say(bob, " <b>hi</b>\n there ")
            line = await got(ada, "said")
            assert line == await got(bob, "said")
            assert (line["line"]["by"], line["line"]["name"]) == (second["you"], "Bob")
            assert line["line"]["text"] == "<b>hi</b>\n there"
            assert (await client.get("/rooms")).json() == [{"name": "tea", "people": 2}]


async def test_rooms_are_apart(autojump_clock: MockClock) -> None:
    """What is said in one is not heard in another."""
    async with opened() as client, visit(client, "Ada", "tea") as (ada, _), visit(client, "Bob", "coffee") as (bob, _):
        await say(ada, "tea")
        await say(bob, "coffee")
        assert (await said(ada), await said(bob)) == ("tea", "coffee")


async def test_who_is_cut_off_is_gone_at_once(autojump_clock: MockClock) -> None:
    """The others see it in the same moment, and nothing waits for its grace."""
    async with opened() as client, visit(client, "Ada") as (ada, _):
        async with visit(client, "Bob") as (bob, welcome):
            await got(ada, "came")
            before = trio.current_time()
            bob.leave()
            assert await got(ada, "went") == {"type": "went", "id": welcome["you"]}
        assert trio.current_time() == before
        assert (await client.get("/rooms")).json() == [{"name": "tea", "people": 1}]
    assert trio.current_time() == before


async def test_typing_is_shown_and_expires(autojump_clock: MockClock) -> None:
    """It holds some seconds from the last sign, and ends with what is said; a receive that times out loses nothing."""
    async with opened() as client, visit(client, "Ada") as (ada, _), visit(client, "Bob") as (bob, welcome):
        await got(ada, "came")
        begin = trio.current_time()
        await bob.send_json({"type": "typing"})
        assert await got(ada, "types") == {"type": "types", "id": welcome["you"], "on": True}
        await trio.sleep(TYPING - 1)
        await bob.send_json({"type": "typing"})
        assert (await got(ada, "types"))["on"]
        assert not (await got(ada, "types"))["on"]
        assert trio.current_time() - begin == 2 * TYPING - 1
        await say(bob, "so")
        assert await said(ada) == "so"
        await bob.send_json({"type": "typing"})
        await say(bob, "there")
        kinds = {(await ada.receive_json())["type"] for _ in range(3)}
        assert kinds == {"types", "said"}
        await trio.sleep(2 * TYPING)
        await say(bob, "end")
        assert await said(ada) == "end"


async def test_who_comes_back_has_missed_nothing(autojump_clock: MockClock) -> None:
    """Neither a gap nor a repetition, whatever was said before, meanwhile, and at the same time."""
    texts: list[str] = []
    async with opened(replace(SMALL, history=20)) as client, visit(client, "Ada") as (ada, _):
        await say(ada, "0")
        last: str | None = None
        for round_ in range(3):
            async with visit(client, "Bob", after=last) as (bob, welcome):
                assert not welcome["gap"]
                for number in range(2):
                    await say(ada, f"{2 * round_ + number + 1}")
                while not texts or texts[-1] != f"{2 * round_ + 2}":
                    line = await got(bob, "said")
                    texts.append(line["line"]["text"])
                    last = line["id"]
                bob.leave()
                await bob.wait_returned()
            await trio.sleep(2)  # for Ada's allowance
    assert texts == [str(number) for number in range(7)]


async def test_who_stays_while_something_is_lost_is_told(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time, once: before what is said next, or with the next sign of life."""
    opened_rooms: list[Rooms] = []

    @asynccontextmanager
    async def open_known(limits: Limits, redis_url: str | None) -> AsyncGenerator[Rooms]:
        async with open_rooms(limits, redis_url) as rooms:
            opened_rooms.append(rooms)
            yield rooms

    monkeypatch.setattr(main, "open_rooms", open_known)
    async with (
        opened() as client,
        visit(client, "Ada") as (ada, _),
        client.events("/rooms/tea/events") as events,
        visit(client, "Bob", after="of another server-1") as (bob, welcome),
    ):
        assert welcome["gap"]
        await got(ada, "came")
        hub = opened_rooms[0].lines._hub
        for text in ("one", "two"):
            await say(bob, text)
            assert await said(ada) == await said(bob) == (await anext(events)).json()["text"] == text
        hub.gap("tea")
        await say(bob, "three")
        for ws in (ada, bob):
            await got(ws, "gap")
            assert await said(ws) == "three"
        assert (await anext(events)).event == "gap"
        assert (await anext(events)).json()["text"] == "three"
        hub.gap("tea")
        await got(ada, "gap")
        await got(ada, "beat")


@pytest.mark.parametrize("after", ["of another server-1", "0"])
async def test_who_comes_back_to_another_server_is_told(after: str, autojump_clock: MockClock) -> None:
    """What is kept is shown, and that there may be more."""
    async with opened() as client, visit(client, "Ada") as (ada, _):
        await say(ada, "hi")
        await said(ada)
        async with visit(client, "Bob", after=after) as (bob, welcome):
            assert welcome["gap"]
            assert await said(bob) == "hi"


async def test_what_is_sent_again_is_said_once(autojump_clock: MockClock) -> None:
    """A page whose connection was lost before the answer came cannot know; the key of the message does."""
    async with opened() as client, visit(client, "Ada") as (ada, _):
        async with visit(client, "Bob") as (bob, _):
            await say(bob, "hi", "one and the same")
            await bob.ping()
            bob.leave()
            await bob.wait_returned()
        async with visit(client, "Bob") as (bob, _):
            await say(bob, "hi", "one and the same")
            await say(bob, "next")
            assert [await said(bob) for _ in range(2)] == ["hi", "next"]
        async with visit(client, "Bob", "coffee") as (bob, _):
            await say(bob, "another room", "one and the same")
            assert await said(bob) == "another room"
        assert ada.close_code is None


@pytest.mark.parametrize("fails", [True, False])
async def test_what_is_sent_again_before_the_first_is_over_waits_for_it(autojump_clock: MockClock, fails: bool) -> None:
    """The first one may end with its connection, found to be gone, before it was said: then the second one is said."""
    line = Line("1", "Bob", "one and the same", "hi", datetime.now(UTC))
    async with open_rooms(SMALL) as rooms, rooms.listen("tea", None) as heard:
        gate, asked = trio.Event(), list[str]()

        async def was_said(room: str, key: str) -> bool:
            asked.append(key)
            if len(asked) == 1:
                await gate.wait()
            return False

        rooms.place.was_said = was_said  # type: ignore[method-assign]
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await rooms.say("tea", line)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.start_soon(rooms.say, "tea", line)
            await wait_all_tasks_blocked()
            (scope.cancel if fails else gate.set)()
        await rooms.say("tea", Line("1", "Bob", "another one", "there", datetime.now(UTC)))
        with trio.fail_after(5):
            texts = [msgspec.json.decode((await anext(heard)).data)["text"] for _ in range(2)]
    assert texts == ["hi", "there"]
    assert len(asked) == (3 if fails else 2)


@pytest.mark.parametrize(
    ("message", "key", "reason"),
    [
        ("hi", None, "the message is not JSON: invalid character (byte 0)"),
        (b"\xff", None, "the message is not UTF-8"),
        ('{"type": "shout"}', None, "/type: is not one of the allowed values"),
        ('{"type": "say", "text": "hi"}', None, "/key: is required"),
        ('{"type": "say", "key": "the key 1", "text": 1}', None, "/text: expected `str`, got `int`"),
        ('{"type": "say", "key": "short", "text": "hi"}', None, "/key: expected `str` of length >= 8"),
        ('{"type": "say", "key": "the key 1", "text": " \\n"}', "the key 1", "There is nothing in it."),
        ('{"type": "say", "key": "the key 1", "text": "a\\u0000b"}', "the key 1", "It has control characters in it."),
        (
            f'{{"type": "say", "key": "the key 1", "text": "{2001 * "x"}"}}',
            "the key 1",
            "It has 2001 characters; 2000 is the most.",
        ),
    ],
)
async def test_who_sends_what_is_wrong_is_told(
    message: str | bytes, key: str | None, reason: str, autojump_clock: MockClock
) -> None:
    """And nobody else is; both go on as before."""
    async with opened() as client, visit(client, "Ada") as (ada, _), visit(client, "Bob") as (bob, _):
        await got(ada, "came")
        await bob.send(message)
        assert await got(bob, "refused") == {"type": "refused", "key": key, "reason": reason}
        await say(bob, "x" * 1999 + "é", "the key 2")
        assert len(await said(ada)) == 2000


async def test_who_sends_too_much_is_held_back_and_then_goes(autojump_clock: MockClock) -> None:
    """As many as at once are said, the next refused; with time there are more; who does not stop has to go."""
    limits = replace(SMALL, burst=3, rate=0.5, patience=4, waiting=50)
    async with opened(limits) as client, visit(client, "Ada") as (ada, _):
        for number in range(4):
            await say(ada, f"{number}")
        assert [await said(ada) for _ in range(3)] == ["0", "1", "2"]
        assert await got(ada, "refused") == {
            "type": "refused",
            "key": "the key of 3",
            "reason": "That was too fast; wait a moment.",
        }
        await trio.sleep(2)
        await say(ada, "3")
        assert await said(ada) == "3"
        for _ in range(5):
            await ada.send("?")
        assert await ada.wait_closed() == (1008, "too many messages")


async def test_a_page_that_answers_stays_and_one_that_does_not_goes(autojump_clock: MockClock) -> None:
    """There is a sign of life when nothing else is sent; who leaves two of them unanswered is gone for the others."""
    async with opened() as client, visit(client, "Ada") as (ada, _), visit(client, "Bob") as (bob, _):
        await got(ada, "came")
        begin = trio.current_time()
        for count in range(1, 4):
            await got(ada, "beat")
            assert trio.current_time() - begin == count * BEAT
            await ada.send_json({"type": "beat"})
            if count < 3:
                await got(bob, "beat")
        assert trio.current_time() - begin == 3 * BEAT > SILENT
        await got(ada, "went")
        assert await bob.wait_closed() == (4408, "nothing was heard of this page")
        await got(ada, "beat")


async def test_the_drain_closes_with_1001(autojump_clock: MockClock) -> None:
    """At once, and nobody is left in the room."""
    async with opened() as client, visit(client, "Ada") as (ada, _), visit(client, "Bob") as (bob, _):
        begin = trio.current_time()
        client.drain()
        assert await ada.wait_closed() == (1001, "")
        assert await bob.wait_closed() == (1001, "")
        assert trio.current_time() == begin
        await ada.wait_returned()
        await bob.wait_returned()


async def test_who_does_not_read_costs_the_others_nothing(autojump_clock: MockClock) -> None:
    """They talk on in no time; it goes when too much waits for it, comes back, and has lost nothing."""
    async with opened(replace(SMALL, burst=50)) as client, visit(client, "Ada") as (ada, _):
        async with visit(client, "Bob") as (bob, _):
            await got(ada, "came")
            await say(ada, "last")
            await said(ada)
            last = (await got(bob, "said"))["id"]
            bob.stop_reading()
            begin = trio.current_time()
            for number in range(SMALL.waiting + 2):
                await say(ada, f"{number}")
                while (message := await ada.receive_json())["type"] != "said":
                    assert message["type"] == "went"
            assert trio.current_time() == begin
            await bob.wait_returned()
        async with visit(client, "Bob", after=last) as (bob, welcome):
            assert not welcome["gap"]
            assert [await said(bob) for _ in range(SMALL.waiting + 2)] == ["0", "1", "2", "3", "4"]


async def test_who_is_too_slow_is_told_to_come_back(autojump_clock: MockClock) -> None:
    """With 1013: the page reads its messages when it can, and the code behind them."""
    async with (
        opened(replace(SMALL, burst=50)) as client,
        visit(client, "Ada") as (ada, _),
        visit(client, "Bob") as (bob, _),
    ):
        await got(ada, "came")
        bob.stop_reading()
        for number in range(SMALL.waiting + 2):
            await say(ada, f"{number}")
        await trio.sleep(1)
        bob.start_reading()
        assert (await bob.wait_closed())[0] == 1013


async def test_a_crowd_that_comes_is_told_of_at_once(autojump_clock: MockClock) -> None:
    """To who did not read meanwhile; it need not go for that, and knows in the end who is there."""
    async with opened(replace(SMALL, people=9, waiting=2)) as client, visit(client, "Ada") as (ada, _):
        ada.stop_reading()
        async with AsyncExitStack() as stack:
            for name in ("Bob", "Cid", "Dan", "Eve", "Fay"):
                await stack.enter_async_context(visit(client, name))
            ada.start_reading()
            people = set[str]()
            while len(people) < 6:
                message = await ada.receive_json()
                if message["type"] == "here":
                    people = {each["person"]["name"] for each in message["people"]}
            assert people == {"Ada", "Bob", "Cid", "Dan", "Eve", "Fay"}


async def test_rooms_and_people_are_limited(autojump_clock: MockClock) -> None:
    """Who finds no place is told why, and that it may try later; a place that was left is free."""
    async with (
        opened(replace(SMALL, people=2)) as client,
        visit(client, "Ada"),
        visit(client, "Bob"),
        visit(client, "Cy", "coffee"),
    ):
        for room, reason in [("tea", "The room is full."), ("milk", "There are too many rooms.")]:
            async with client.websocket(f"/rooms/{room}?name=Dan") as dan:
                assert await dan.wait_closed() == (1013, reason)
        async with visit(client, "Dan", "coffee") as (dan, _):
            dan.leave()
            await dan.wait_returned()
        async with visit(client, "Dan", "coffee"):
            pass


async def test_a_room_goes_with_the_last_person_in_it(autojump_clock: MockClock) -> None:
    """Nothing counts it any more."""
    async with opened() as client:
        for room in ("a", "b", "c"):
            async with visit(client, "Ada", room) as (ada, _):
                ada.leave()
                await ada.wait_returned()
            assert (await client.get("/rooms")).json() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rooms/tea", 422),
        ("/rooms/tea?name=", 422),
        ("/rooms/tea?name=%20", 422),
        ("/rooms/tea?name=a%00b", 422),
        (f"/rooms/tea?name={25 * 'x'}", 422),
        (f"/rooms/tea?name=Ada&after={101 * 'x'}", 422),
        ("/rooms/Tea?name=Ada", 404),
        ("/rooms/-?name=Ada", 404),
        ("/rooms/tea%0a?name=Ada", 404),
        (f"/rooms/{33 * 'x'}?name=Ada", 404),
        (f"/rooms/{32 * 'x'}?name={24 * 'x'}", 101),
        ("/rooms/a?name=%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB", 101),
        ("/rooms/a-1?name=%D7%A2%D7%93%D7%94", 101),
    ],
)
async def test_names_of_people_and_rooms(path: str, status: int, autojump_clock: MockClock) -> None:
    """Those that cannot be are refused before the WebSocket is open."""
    found = 101
    async with opened() as client:
        try:
            async with client.websocket(path) as ws:
                await got(ws, "welcome")
        except WebSocketRefused as refused:
            found = refused.status
    assert found == status


async def test_pages_of_other_sites_may_not_enter(autojump_clock: MockClock) -> None:
    """Their visitors would say what these want; the echo has nothing that is anybody's."""
    elsewhere = {"origin": "https://elsewhere.test"}
    async with opened() as client:
        with pytest.raises(WebSocketRefused, match="403"):
            await client.websocket("/rooms/tea?name=Ada", headers=elsewhere).__aenter__()
        async with client.websocket("/echo", headers=elsewhere) as ws:
            await ws.send("text")
            await ws.send(b"\x00binary")
            assert [await ws.receive(), await ws.receive()] == ["text", b"\x00binary"]


async def test_the_same_room_as_events(autojump_clock: MockClock) -> None:
    """Who listens hears what was said and is said, is nobody in the room, and resumes where it was."""
    async with opened() as client, visit(client, "Ada") as (ada, _):
        await say(ada, "one")
        async with client.events("/rooms/tea/events") as events:
            first = await anext(events)
            assert first.json()["text"] == "one"
            await say(ada, "two")
            assert (await anext(events)).json()["text"] == "two"
        async with client.events("/rooms/tea/events", last_event_id=first.id or "") as events:
            assert (await anext(events)).json()["text"] == "two"
        async with client.events("/rooms/tea/events", last_event_id="of another server") as events:
            assert (await anext(events)).event == "gap"
            assert (await anext(events)).json()["text"] == "one"
        assert [await said(ada) for _ in range(2)] == ["one", "two"]


async def test_a_listener_that_does_not_read_is_left_to_come_back(autojump_clock: MockClock) -> None:
    """It costs the room nothing; its stream ends, and nothing of it is left."""
    async with (
        opened(replace(SMALL, burst=50, waiting=2)) as client,
        visit(client, "Ada") as (ada, _),
        client.open("GET", "/rooms/tea/events") as exchange,
    ):
        await say(ada, "first")
        await said(ada)
        while b"first" not in (await exchange.receive() or b""):
            pass
        exchange.stop_reading()
        begin = trio.current_time()
        for number in range(8):
            await say(ada, f"{number}")
            assert await said(ada) == f"{number}"
        assert trio.current_time() == begin
        exchange.start_reading()
        assert b'"7"' not in await exchange.read()
        await exchange.wait_returned()


@pytest.mark.parametrize("which", ["read", "write", "show", "beat"])
async def test_one_that_fails_ends_all(
    which: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in any of the four closes with 1011 and is logged; the others see that the person has gone."""
    whole: Callable[..., Awaitable[None]] = getattr(Visit, which)

    async def broken(self: Visit, *arguments: Any) -> None:
        if self.name == "Bob":
            await trio.sleep(1)
            raise ZeroDivisionError
        await whole(self, *arguments)

    monkeypatch.setattr(Visit, which, broken)
    async with opened(raise_app_exceptions=False) as client, visit(client, "Ada") as (ada, _):
        async with visit(client, "Bob") as (bob, _):
            await got(ada, "came")
            assert await bob.wait_closed() == (1011, "")
            await got(ada, "went")
        await say(ada, "still here")
        assert await said(ada) == "still here"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_what_is_remembered_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of what was said are forgotten, the oldest first."""
    monkeypatch.setattr(rooms_module, "KEYS", 2)
    async with opened() as client, visit(client, "Ada") as (ada, _):
        for text in ("one", "two", "three", "three", "one"):
            await say(ada, text)
        assert [await said(ada) for _ in range(4)] == ["one", "two", "three", "one"]


async def test_what_was_cancelled_may_be_said_again(autojump_clock: MockClock) -> None:
    """Nobody has heard it, so its key is not used up."""
    line = Line("id", "Ada", "the key 1", "hi", datetime.now(UTC))
    async with open_rooms(SMALL) as rooms, rooms.listen("tea", None) as news:
        with trio.CancelScope() as scope:
            scope.cancel()
            await rooms.say("tea", line)
        assert scope.cancelled_caught
        for _ in range(2):
            await rooms.say("tea", line)
        with trio.fail_after(1):
            assert (await news.receive()).json(Line) == line
        await rooms.say("tea", Line("id", "Ada", "the key 2", "next", datetime.now(UTC)))
        assert (await news.receive()).json(Line).text == "next"


async def test_mounted() -> None:
    """Below another application it is the same."""
    outer = App()
    outer.mount("/chat", create_app(SMALL))
    async with TestClient(outer) as client:
        assert "Enter sends" in (await client.get("/chat/")).text
        async with client.websocket("/chat/rooms/tea?name=Ada") as ws:
            await got(ws, "welcome")
