"""What a supervisor and its worker processes say to each other.

This file owns the channel between the two, from the worker's end: a socket pair, whose end also tells each side that
the other has died, and an environment variable that hands a worker its end of it and the listening sockets. One line of
JSON is one message.

- From worker to supervisor: `{"answers": true}`, `{"ready": true}`, `{"files": [...]}`.
- From supervisor to worker: `{"hurry": true}`. To drain is asked for with SIGTERM, and a second SIGTERM asks for no
  more: systemd sends one to each process of a service, beside the one that the supervisor passes on, and nobody was in
  a hurry.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable

from hypercorn.config import Sockets

log = logging.getLogger("trivet.supervisor")

VARIABLE = "TRIVET_WORKER"

INDEX = "TRIVET_WORKER_INDEX"
"""Which of the workers this process is, from 0 on, for the application to read. A replacement has the index of the one
it replaces, which may still drain."""


def environment(sockets: Sockets, channel: socket.socket, index: int) -> dict[str, str]:
    """The environment of a worker that inherits `sockets` and `channel`."""
    inherited = {
        "secure": [sock.fileno() for sock in sockets.secure_sockets],
        "insecure": [sock.fileno() for sock in sockets.insecure_sockets],
        "quic": [sock.fileno() for sock in sockets.quic_sockets],
        "channel": channel.fileno(),
    }
    return {**os.environ, VARIABLE: json.dumps(inherited), INDEX: str(index)}


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
        for sock in (*secure, *insecure, *quic, channel):
            sock.set_inheritable(False)  # a process of the application's would keep the address, and seem to be us
        return cls(Sockets(secure, insecure, quic), channel)

    def answers(self) -> None:
        """We have a handler for SIGUSR1."""
        self._say({"answers": True})

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
            pass  # it has died, and `obey` says so

    def obey(self, hurry: Callable[[], object]) -> None:
        """From now on, end when the supervisor dies, and call `hurry` when it says so.

        That is heard in a thread, in which `hurry` is called: neither a module that is never done with its import nor
        a handler that blocks the event loop may keep a process alive, and its address taken, that nobody supervises.
        """
        threading.Thread(target=self._listen, args=(hurry,), name="trivet supervisor", daemon=True).start()

    def _listen(self, hurry: Callable[[], object]) -> None:
        try:
            while data := self._channel.recv(4096):
                if b"hurry" in data:
                    hurry()
        except OSError:
            pass  # as good as the end
        log.error("the supervisor has died; stopping")
        os.kill(os.getpid(), signal.SIGTERM)
