"""News of members for one subscriber: what is left to tell of who comes and goes when the subscriber is slow.

This file owns that. A message that is lost leaves a hole; of members only the present counts. So two news of one member
that nobody has taken cancel each other out: who has come and gone again was never there, unless something was said in
between. And where too many wait, `Present` takes the place of them all: it is made of what is true when it is taken.
That nobody has to go for them matters most when all come back at once, after a restart: each is news for everybody
else.

It knows neither queues nor policies: a place among the messages is a number to it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import final

from ._message import Joined, Left, Member, Present


@final
class News:
    """What waits for one subscriber.

    Args:
        bound: how many may wait.
        members: who is there, of the topic: it is changed before news of that come here.
    """

    __slots__ = ("_all_at", "_bound", "_each", "_members")

    def __init__(self, bound: int, members: Mapping[str, Member]) -> None:
        self._bound = bound
        self._members = members
        self._each: OrderedDict[tuple[int, str], Joined | Left] | None = None
        """By their places, behind so many messages each, and members. `None`: nothing waits."""
        self._all_at: int | None = None
        """The place of `Present`, if there were too many to be told one by one."""

    def __bool__(self) -> bool:
        return self._each is not None or self._all_at is not None

    def add(self, item: Joined | Left, place: int) -> None:
        """Tell of a member, at a place among the messages; one of `Joined` and `Left` must follow the other."""
        if self._all_at is not None:
            return
        each = self._each
        key = place, item.member.id
        if each is None:
            self._each = OrderedDict({key: item})
        elif each.pop(key, None) is not None:  # the other of the two: nothing has changed
            if not each:
                self._each = None
        elif len(each) < self._bound:
            each[key] = item
        else:
            self._all_at = next(iter(each))[0]
            self._each = None

    def take(self, place: int) -> Joined | Left | Present | None:
        """The next of them, if its place is not behind this one."""
        if self._all_at is not None:
            if self._all_at > place:
                return None
            self._all_at = None
            return Present(dict(self._members))
        each = self._each
        if each is None or next(iter(each))[0] > place:
            return None
        _, item = each.popitem(last=False)
        if not each:
            self._each = None
        return item
