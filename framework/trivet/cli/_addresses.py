"""What `--bind` and its like may be. This file owns the mistakes in an address that are told before a socket is made.

hypercorn reads an address leniently: what has no port it takes for a host, so that `8000` is one, and a port that no
socket can have comes back as an OverflowError.
"""

from __future__ import annotations

HIGHEST_PORT = 65535


def fault_in(flag: str, address: str) -> str | None:
    """What is wrong with `address`, given with the option `flag`, and the remedy; `None` if nothing is."""
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
