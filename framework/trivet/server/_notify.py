"""What systemd is told of this process, if it wants to know: the protocol of sd_notify(3).

This file owns the messages and the way to the one who listens: a datagram to the socket that `NOTIFY_SOCKET` names,
which systemd sets for a service of `Type=notify`. Others who start processes speak it, too. It does not know what a
service does, and fails at nothing: a server that cannot tell serves all the same.
"""

from __future__ import annotations

import logging
import os
import socket
import time

import trio

log = logging.getLogger("trivet.run")

PATIENCE = 1.0
"""Seconds for the other end to take a message: its queue may be full, and the event loop has other things to do."""


def ready() -> None:
    """Connections are accepted; also said after `reloading`."""
    _tell("READY=1")


def reloading() -> None:
    """The workers are being replaced. The time is what tells systemd from 253 on which reload that is."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The drain has begun."""
    _tell("STOPPING=1")


async def keep_alive() -> None:
    """Say twice in each `WatchdogSec=` that the event loop turns, until cancelled; nothing where nobody asks for it."""
    seconds = _watchdog()
    while seconds is not None:
        _tell("WATCHDOG=1")
        await trio.sleep(seconds / 2)


def _watchdog() -> float | None:
    """After how many seconds of silence this process is taken for hung; `None`: it is not watched."""
    # Those that it starts inherit the variables, and are not meant.
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def _tell(message: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return  # nobody listens, or on a socket of a virtual machine's host
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)
    except OSError as error:
        log.warning("cannot say %s to %s: %s", message.partition("\n")[0], path, error.strerror or error)
