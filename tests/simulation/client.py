"""The client. This file owns how the requests of one connection are sent, in what way their sender misbehaves, and what
may come back in each case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import trio

from tests.simulation.answers import Answers, Malformed
from tests.simulation.kernel import Gone, Link, Peer
from tests.simulation.requests import Asked, ask, corrupt

Manner = Literal["polite", "half", "vanish", "reset", "close", "deaf"]
MANNERS: tuple[Manner, ...] = ("polite", "polite", "polite", "half", "vanish", "reset", "close", "deaf")
PATIENCE = 250.0


@dataclass
class Plan:
    """What a client is going to do."""

    name: str
    random: Random
    way: str
    start: float
    room: int
    manner: Manner
    pipelined: bool
    stalls: bool
    slow: bool
    corrupted: int | None
    asked: list[Asked] = field(default_factory=list)
    wires: list[bytes] = field(default_factory=list)
    cut: int = 0
    """Bytes after which it does what it does; all, if it is polite."""


def plan(seed: int, number: int, *, barely: bool) -> Plan:
    """The client with this number."""
    random = Random(f"{seed}.{number}")
    manner = random.choice(MANNERS)
    corrupted = random.randrange(3) if random.random() < 0.2 else None
    made = Plan(
        name=f"c{number}",
        random=random,
        way=random.choice(("socket", "socket", "stream")),
        start=random.choice((0, 0, random.random(), 3 * random.random())),
        room=random.choice((2000, 16_384, 65_536, 300_000)),
        manner=manner,
        pipelined=random.random() < 0.4,
        stalls=manner != "polite" and random.random() < 0.4,
        slow=random.random() < 0.2,
        corrupted=corrupted,
    )
    count = random.choice((1, 2, 3, 5)) if random.random() < 0.95 else 40
    for index in range(count):
        asked = ask(random, f"{made.name}-{index}", heads=corrupted is None, barely=barely)
        made.asked.append(asked)
        made.wires.append(corrupt(random, asked.wire) if corrupted == index else asked.wire)
    if corrupted is not None and corrupted >= count:
        made.corrupted = None
    total = sum(map(len, made.wires))
    made.cut = total
    if manner in ("vanish", "reset", "close") or (manner == "half" and random.random() < 0.5):
        made.cut = random.randint(0, total)
    return made


class Client:
    """Carries out a plan."""

    def __init__(self, plan: Plan, note: Callable[[str, str], None]) -> None:
        self.plan = plan
        self.note = note
        self.answers = Answers([asked.method for asked in plan.asked])
        self.sent = 0
        self.ended: Literal["", "fin", "rst"] = ""
        self.late = False  # it has waited in vain
        self.malformed = ""
        self.aborted = False  # by the network, before it was accepted
        self.link: Link | None = None
        self._progress = trio.lowlevel.ParkingLot()

    @property
    def end_seen(self) -> float | None:
        """When the server has read the end of what was sent."""
        return None if self.link is None else self.link.end_seen

    async def run(self, peer: Peer) -> None:
        """Until it has left, one way or another."""
        manner = self.plan.manner
        with trio.move_on_after(PATIENCE) as scope:
            async with trio.open_nursery() as nursery:
                if manner != "deaf":
                    nursery.start_soon(self._read, peer)
                try:
                    await self._write(peer)
                except Gone:
                    self.note(self.plan.name, "client: nobody there")
                if manner == "half":
                    peer.end()
                if manner in ("polite", "half"):
                    await self._until(lambda: manner == "polite" and self.answers.whole >= len(self.plan.asked))
                elif manner != "deaf":
                    await trio.sleep(self.plan.random.choice((0, 0, 0.1, 2)))
                nursery.cancel_scope.cancel()
        self.late = scope.cancelled_caught
        self.aborted = peer.link.aborted
        if manner in ("vanish", "deaf"):
            self.note(self.plan.name, f"client: {manner}")
        else:
            peer.close(reset=manner == "reset")

    async def _until(self, done: Callable[[], bool]) -> None:
        while not (self.ended or self.malformed or done()):
            await self._progress.park()

    async def _read(self, peer: Peer) -> None:
        random = self.plan.random
        try:
            while not self.ended:
                data = await peer.receive(random.choice((1, 100, 1500, 65_536, 65_536, 65_536)))
                if data:
                    self.answers.feed(data)
                else:
                    self.answers.end()
                    self.ended = "fin"
                self._progress.unpark_all()
                if self.plan.slow and random.random() < 0.1:
                    await trio.sleep(random.choice((0.001, 0.1, 1)))
        except Gone:
            self.ended = "rst"
        except (Malformed, ValueError) as error:
            self.malformed = f"{type(error).__name__}: {error}"
        self._progress.unpark_all()

    async def _write(self, peer: Peer) -> None:
        plan = self.plan
        left = plan.cut
        if plan.pipelined:
            await self._pieces(peer, b"".join(plan.wires)[:left])
            return
        for index, (asked, wire) in enumerate(zip(plan.asked, plan.wires, strict=True)):
            wire = wire[:left]
            left -= len(wire)
            head = len(asked.head) if asked.expect and plan.corrupted is None else len(wire)
            before = self.answers.invited
            await self._pieces(peer, wire[:head])
            if wire[head:]:
                with trio.move_on_after(1):
                    await self._until(lambda: self.answers.invited > before or self.answers.whole > index)  # noqa: B023
                await self._pieces(peer, wire[head:])
            if not left or self.ended:
                return
            if plan.manner != "deaf":
                with trio.move_on_after(60):
                    await self._until(lambda: self.answers.whole > index)  # noqa: B023
            if plan.random.random() < 0.3:
                await trio.sleep(plan.random.choice((0.001, 0.6, 1.5)))

    async def _pieces(self, peer: Peer, data: bytes) -> None:
        """Send, split at random."""
        random = self.plan.random
        small = len(data) < 2000 and random.random() < 0.3
        pauses = 0
        while data:
            size = random.choice((1, 2, 7, 100) if small else (50, 1500, 20_000, 300_000))
            piece, data = data[:size], data[size:]
            while piece:
                taken = peer.send_some(piece)
                self.sent += taken
                piece = piece[taken:]
                if piece:
                    await peer.link.wait()
            if random.random() < 0.3:
                await trio.lowlevel.checkpoint()
            if data and pauses < 6 and random.random() < 0.15:
                pauses += 1
                await trio.sleep(random.choice((0.001, 0.1, 3, 9, 30) if self.plan.stalls else (0.001, 0.1, 0.4)))

    # What may have come ------------------------------------------------------------------------------------------

    def faults(self, *, drained: bool, requests: int | None) -> list[str]:
        """What should not have come, or should have."""
        if self.malformed:
            return [self.malformed]
        if self.aborted:
            return []
        plan, found = self.plan, self.answers.found
        faults: list[str] = []
        trusted = len(plan.asked) if plan.corrupted is None else plan.corrupted
        polite = plan.manner == "polite" and not drained
        for index, (answer, asked) in enumerate(zip(found, plan.asked[:trusted], strict=False)):
            where = f"{asked.method} {asked.path} ({asked.name})"
            allowed = {asked.status, *(() if polite else (408, 499, 503))}
            if answer.status not in allowed:
                faults.append(f"{where} was answered with {answer.status} {bytes(answer.body[:200])!r}")
                break
            if answer.status == asked.status == 200 and answer.fields.get(b"x-id") != asked.name.encode():
                faults.append(f"{where} got the answer of {answer.fields.get(b'x-id')!r}")
            known = answer.complete and answer.status == asked.status and not asked.breaks
            if known and asked.answer not in (None, bytes(answer.body)):
                faults.append(f"{where} got another body: {len(answer.body)} bytes, {self.ended}")
            if answer.complete and asked.breaks and answer.status == asked.status:
                faults.append(f"{where} was cut, and looks whole")
            last = asked.closes or asked.may_close or (requests is not None and index + 1 >= requests)
            if polite and answer.closes and not last:
                faults.append(f"the connection ends for nothing behind {where}")
            if polite and asked.closes and not asked.breaks and not answer.closes:
                faults.append(f"{where} asked for the end of the connection, and the answer does not know")
        if self.answers.invited > sum(asked.expect for asked in plan.asked):
            faults.append("100 Continue for a request that did not ask")
        if polite:
            faults += self._politely(trusted)
        elif plan.manner == "half" and not drained and not plan.stalls and trusted:
            first = plan.asked[0]
            finishes = (first.method == "POST" and first.path != "/both" and first.path != "/bare") or (
                first.path == "/now"
            )
            if finishes and self.sent >= len(first.wire) and not self.answers.whole:
                faults.append(f"{first.path} was whole when its client ended its half, and is not answered")
        return faults

    def _politely(self, trusted: int) -> list[str]:
        """What a client is owed that has done nothing wrong."""
        plan, found = self.plan, self.answers.found
        last = found[-1] if found else None
        if self.ended == "rst" and len(found) < len(plan.asked) and plan.asked[len(found)].breaks:
            return []  # cut with requests unread behind it: the head of the answer may be lost on its way
        if plan.corrupted is not None:
            if len(found) < trusted and not (last is not None and last.closes) and not self._broken():
                return [f"{len(found)} answers to {trusted} requests before the malformed one"]
            return []
        if self.late:
            return [f"waited for {PATIENCE:g} s; {self.answers.whole} of {len(plan.asked)} answered"]
        if self._broken():
            return [] if self.ended else ["a response was cut, and its connection goes on"]
        if self.answers.dangling and not (self.ended == "rst" and plan.asked[len(found) - 1].may_close):
            return [f"the response to {plan.asked[len(found) - 1].path} is not whole: {self.ended}"]
        if len(found) < len(plan.asked) and not (last is not None and last.closes):
            # An answer that came early may be lost if we were still sending after the server's patience.
            if self.ended == "rst" and plan.asked[len(found)].may_close:
                return []
            asked = plan.asked[len(found)]
            return [f"{asked.method} {asked.path} ({asked.name}) is not answered: {self.ended}"]
        return []

    def _broken(self) -> bool:
        found = self.answers.found
        return bool(found) and len(found) <= len(self.plan.asked) and self.plan.asked[len(found) - 1].breaks
