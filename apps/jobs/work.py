"""The computation: how many primes are there below a number? A program of its own, which knows nothing of the rest.

    $ python apps/jobs/work.py 2500000
    1000000 78498
    2000000 148933
    2500000 183072

This file owns how it is cut into pieces, each of which takes about a tenth of a second: after each it writes how far it
has come, and how many there are up to there.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from itertools import compress
from math import isqrt

PIECE = 1_000_000


def progress(below: int, piece: int = PIECE) -> Iterator[tuple[int, int]]:
    """How far it has come, and how many primes there are up to, but not including, that."""
    found = 0
    for low in range(0, below, piece):
        high = min(low + piece, below)
        found += primes_between(low, high)
        yield high, found


def primes_between(low: int, high: int) -> int:
    """How many primes there are from `low` up to, but not including, `high`: the sieve of Eratosthenes on a segment."""
    low = max(low, 2)
    if low >= high:
        return 0
    sieve = bytearray(b"\x01") * (high - low)
    for prime in _primes_up_to(isqrt(high - 1)):
        first = max(prime * prime, -(-low // prime) * prime) - low
        sieve[first::prime] = bytes(len(range(first, high - low, prime)))
    return sieve.count(1)


def _primes_up_to(last: int) -> list[int]:
    sieve = bytearray(b"\x01") * (last + 1)
    sieve[:2] = bytes(min(2, last + 1))
    for number in range(2, isqrt(last) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, last + 1, number)))
    return list(compress(range(last + 1), sieve))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it as well; when it ends is for the server to say
    for step in progress(int(sys.argv[1])):
        sys.stdout.write("{} {}\n".format(*step))
        sys.stdout.flush()
