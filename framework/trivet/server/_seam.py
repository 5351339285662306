"""The seam between a connection and what speaks on it. This file owns two lists of methods.

hypercorn's protocols are fitted to it in `_h1`, `_h2`, `_http_stream` and `_ws_stream`; one of our own takes their
place without a change on the other side.
"""

from __future__ import annotations

from typing import Protocol

from hypercorn.events import Event

from trivet.asgi import Message, Reason, Scope

from ._link import RequestLink


class Stream(Protocol):
    """One request of a protocol: what a connection runs the application with."""

    scope: Scope
    link: RequestLink
    outcome: Reason
    """What the end of the request looks like from here; `returned` until something else happens."""

    async def receive(self) -> Message:
        """ASGI's receive."""
        ...

    async def app_send(self, message: Message | None, /) -> None:
        """ASGI's send."""
        ...

    async def application_done(self, status: int) -> None:
        """The application is over. `status` answers if it has not."""
        ...

    def ended(self) -> None:
        """All of the request is over: write it to the access log."""
        ...


class HTTPProtocol(Protocol):
    """What turns the bytes of a connection into requests, and responses into bytes."""

    shielded: bool
    """Whether a write must go on when the task that makes it is cancelled."""

    @property
    def unread(self) -> bool:
        """Whether the client may still be sending something that we will not read."""
        ...

    async def initiate(self) -> None:
        """The connection is ready."""
        ...

    async def handle(self, event: Event) -> None:
        """`RawData`: bytes arrived. `Closed`: nothing more will, and nothing more is wanted."""
        ...

    async def farewell(self) -> None:
        """The connection is idle and about to be closed: say so, if the protocol can."""
        ...
