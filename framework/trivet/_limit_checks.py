"""Which limits a route may have: none that never adapts, and none that two routes take in different orders.

This file owns those two refusals. What a limit does is `_limit`'s business, and which of them a route has, that of
`_options`.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from ._limit import Limit
from .errors import RegistrationError


def check_socket(path: str, limits: Iterable[Limit], own: object) -> None:
    """Refuse an adaptive limit of a WebSocket, which would never adapt.

    How long it takes says how long somebody has stayed, and how quickly it was accepted not how many there may be.

    Args:
        path: of the WebSocket.
        limits: those that it would need a place of.
        own: what it says of `limit` itself, if it does.

    Raises:
        RegistrationError: one of them is adaptive.
    """
    for limit in limits:
        if limit._aimd is not None:
            remedy = _OWN if limit is own else _OUTER
            raise RegistrationError(
                f"the WebSocket {path!r} would need a place of an adaptive limit.\n"
                "That finds out how many can be answered in time, and a WebSocket is not answered: it stays open.\n"
                + remedy
            )


_OWN: Final = "Write limit=Limit(1000) for a thousand that are open."
_OUTER: Final = (
    "Give the limit to the routers that answer requests, or let the WebSocket stand outside:  limit=None\n"
    "A limit of its own is then in  Router(limit=None),  where those further out do not count."
)


def check_order(routes: Iterable[tuple[str, Sequence[Limit]]]) -> None:
    """Refuse limits that wait for each other: who has a place of one waits for the other, and the other way round.

    Args:
        routes: the path of each, and its limits in the order in which they are taken.

    Raises:
        RegistrationError: they cannot be taken in one order.
    """
    before: dict[Limit, set[Limit]] = {}
    taken: dict[tuple[Limit, Limit], str] = {}
    for path, limits in routes:
        for outer, inner in pairwise(limits):
            before.setdefault(inner, set()).add(outer)
            taken.setdefault((outer, inner), path)
    try:
        graphlib.TopologicalSorter(before).prepare()
    except graphlib.CycleError as error:
        cycle: list[Limit] = error.args[1]
        paths = [taken[pair] for pair in pairwise(cycle)]
        raise RegistrationError(
            f"the limits of {', '.join(map(repr, paths))} are taken in different orders, so that requests could wait "
            "for each other for ever.\n"
            "Of two limits that several routes share, let the same one be the outer one everywhere: the application's, "
            "or a router's."
        ) from None
