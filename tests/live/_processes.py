"""The processes of a server, as the system knows them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.live._server import Running


def children(server: Running) -> set[int]:
    """Its worker processes that run."""
    parent = str(server.process.pid)
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == parent}


def alive(pids: set[int]) -> set[int]:
    """Those that run still. (Without a parent here, the dead may wait for theirs.)"""
    return {pid for pid in pids if _parent(str(pid))}


def _parent(pid: str) -> str:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state in "ZX" else parent
