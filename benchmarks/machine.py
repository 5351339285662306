"""Where and with what a run was made: figures without it say nothing. This file owns how that is described."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from . import wrk

_PACKAGES: Final = (
    "trivet",
    "trio",
    "httptools",
    "hypercorn",
    "uvicorn",
    "uvloop",
    "granian",
    "starlette",
    "fastapi",
    "litestar",
    "blacksheep",
    "falcon",
    "sanic",
    "aiohttp",
    "robyn",
    "quart-trio",
)


def describe(*, pinned: bool, with_wrk: bool) -> list[tuple[str, str]]:
    """The machine, the software and the day, as pairs of a name and a text."""
    return [
        ("Date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Processor", f"{_processor()}, {os.cpu_count()} cores, {_memory()}"),
        ("System", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("Packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
        ("Commit", _commit()),
        ("Load", _wrk() if with_wrk else "our own generator: rates are bounded by it, CPU time is not"),
        ("Cores", "the servers on one, the load on another" if pinned else "not pinned: ratios are rough"),
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (ValueError, OSError, AttributeError):
        return "memory unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _wrk() -> str:
    program = wrk.find()
    if program is None:
        return "wrk"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return " ".join((said.stdout + said.stderr).split()[:2]) + ", one thread; uploads by our own generator"
