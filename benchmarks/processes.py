"""What the system knows of a server: its processes, their CPU time, their memory. This file owns how that is read.

Linux only; elsewhere there is no CPU time and no memory in the tables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")


def family(pid: int) -> tuple[int, ...]:
    """A process and all its descendants: granian and Robyn answer in children."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit():
            children.setdefault(_parent(entry), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return tuple(found)


def _parent(entry: Path) -> int:
    try:
        # The name, which may hold anything, is in parentheses; state and parent follow the last of them.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it has ended


def cpu_time(pids: Iterable[int]) -> float | None:
    """The CPU time of processes, all threads of each, in seconds, to the nanosecond; `None`: the system does not tell.

    The clock of a process has the id that `clock_getcpuclockid(3)` computes, and on Linux that is this arithmetic.
    `/proc/PID/stat` has the same figure in steps of 10 ms, which is 2 % of a slice.
    """
    try:
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)
    except OSError:
        return None


def resident(pids: Iterable[int]) -> int | None:
    """Bytes of memory that are resident for processes, pages they share counted in each; `None` elsewhere."""
    try:
        pages = sum(int((_PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids)
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def cores() -> tuple[int | None, int | None]:
    """A core for the servers and another for the load, where there are two and the system lets us choose."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    own = sorted(os.sched_getaffinity(0))
    return (own[0], own[1]) if len(own) > 1 else (None, None)


def descriptors() -> int:
    """Allow this process and its children as many descriptors as may be; returns how many."""
    try:
        import resource
    except ImportError:
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def pinned(core: int | None) -> Generator[None]:
    """Children that are started here run on a core, with all the threads they start themselves."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
