"""What a supervisor and its worker processes say to each other.

This file owns the channel between the two: a socket pair, whose end also tells each side that the other has died, and
an environment variable that hands a worker its end of it and the listening sockets. One line of JSON is one message,
from worker to supervisor: `{"ready": true}`, `{"files": [...]}`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable

import trio
from hypercorn.config import Sockets

VARIABLE = "TRIVET_WORKER"


def environment(sockets: Sockets, channel: socket.socket) -> dict[str, str]:
    """The environment of a worker that inherits `sockets` and `channel`."""
    inherited = {
        "secure": [sock.fileno() for sock in sockets.secure_sockets],
        "insecure": [sock.fileno() for sock in sockets.insecure_sockets],
        "quic": [sock.fileno() for sock in sockets.quic_sockets],
        "channel": channel.fileno(),
    }
    return {**os.environ, VARIABLE: json.dumps(inherited)}


class Supervisor:
    """A worker's view of its supervisor."""

    def __init__(self, sockets: Sockets, channel: socket.socket) -> None:
        self.sockets = sockets
        self._channel = channel

    @classmethod
    def from_environment(cls) -> Supervisor | None:
        """The supervisor of this process, if it has one. Can be asked once: what it starts has none."""
        inherited = os.environ.pop(VARIABLE, None)
        if inherited is None:
            return None
        fds = json.loads(inherited)
        secure, insecure, quic = (
            [socket.socket(fileno=fd) for fd in fds[kind]] for kind in ("secure", "insecure", "quic")
        )
        channel = socket.socket(fileno=fds["channel"])
        channel.set_inheritable(False)
        return cls(Sockets(secure, insecure, quic), channel)

    def ready(self) -> None:
        """Connections are accepted."""
        self._say({"ready": True})

    def depends_on(self, files: Iterable[str]) -> None:
        """A change to one of these files should restart us."""
        self._say({"files": sorted(files)})

    def _say(self, message: object) -> None:
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # it has died: `wait_gone` says so

    async def wait_gone(self) -> None:
        """Return when the supervisor has died."""
        while True:
            await trio.lowlevel.wait_readable(self._channel)
            try:
                if not self._channel.recv(4096):
                    return
            except OSError:
                return
