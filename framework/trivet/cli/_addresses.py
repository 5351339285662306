"""What `--bind` and its like may be. This file owns what is said of an address: of a mistake in it, before a socket is
made, and of a socket that cannot be.

hypercorn reads an address leniently: what has no port it takes for a host, so that `8000` is one, and nothing at all
(`--bind "$ADDRESS"`, which is not set) is every interface; a port that no socket can have comes back as an
OverflowError.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

HIGHEST_PORT = 65535


def fault_in(flag: str, address: str) -> str | None:
    """What is wrong with `address`, given with the option `flag`, and the remedy; `None` if nothing is."""
    if not address:
        return f"{flag} was given nothing: a variable that is not set, perhaps.\nWrite it as  {flag} 127.0.0.1:8000"
    if address.startswith("unix:"):
        return None
    if address.startswith("fd://"):
        if address.removeprefix("fd://").isdecimal():
            return None
        return f"{address!r} is no file descriptor.\nWrite its number:  {flag} fd://3"
    if address.isdecimal():
        port = address if int(address) <= HIGHEST_PORT else "8000"
        return f"the address {address!r} has no host.\nWrite it as  {flag} 127.0.0.1:{port}"
    host, colon, port = address.rpartition(":")
    if not colon:
        return None
    try:
        number = int(port)
    except ValueError:
        # More than one colon is an IPv6 address without a port, which the socket judges.
        if ":" in host:
            return None
        return f"the port {port!r} of {address!r} is no number.\nWrite it as  {flag} {host}:8000"
    if not 0 <= number <= HIGHEST_PORT:
        return f"there is no port {number}: the highest is {HIGHEST_PORT}.\nChoose another:  {flag} {host}:8000"
    return None


def cannot_listen(addresses: Sequence[str], error: OSError) -> str:
    """Why there is no socket at one of `addresses`, and what to do."""
    return f"cannot listen on {', '.join(addresses)}: {error.strerror or error}.\n{_remedy(addresses, error)}"


def _remedy(addresses: Sequence[str], error: OSError) -> str:
    on_disk = any(address.startswith("unix:") for address in addresses)
    if isinstance(error, socket.gaierror):
        return "The host is a name or an address of this machine:  --bind 127.0.0.1:8000"
    if error.errno == errno.EADDRINUSE:
        return (
            "Something listens there, perhaps this server, started before:  ss -ltnp\n"
            "Stop it, or choose another with  --bind HOST:PORT"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "No interface of this machine has it. All that there are:  --bind 0.0.0.0:8000"
    if error.errno in (errno.EBADF, errno.ENOTSOCK):
        return "It is no socket that was handed to this process. The first that systemd hands over is  --bind fd://3"
    if error.errno == errno.ENOENT and on_disk:
        return "The directory of a unix socket has to exist:  mkdir -p DIRECTORY"
    if error.errno == errno.EACCES:
        where = "write into the directory of a unix socket" if on_disk else "listen on ports below 1024"
        return f"This user may not {where}. Choose another with  --bind {'unix:PATH' if on_disk else 'HOST:8000'}"
    return "Choose another with  --bind HOST:PORT"
