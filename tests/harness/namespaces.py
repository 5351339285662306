"""Namespaces of Linux: how a test runs a command as the first process of a container, and whether this system lets it.

This file owns one decision: what is tried before a test that needs them is collected. A sandbox may forbid namespaces,
or let them be made and forbid to mount something in them. That is no missing tool, which somebody could install: such a
test is left out there.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from tests.harness.tools import require

__all__ = ["PREPARE", "allowed", "command"]

PREPARE = "mount -o remount,bind,ro / && mount -t tmpfs tmpfs /tmp && ! touch / 2>/dev/null"
"""For a shell in there: nothing but /tmp can be written to afterwards."""


def command() -> list[str]:
    """What runs the command behind it as the first process there."""
    unshare = [require("unshare"), "--pid", "--mount", "--fork", "--kill-child=KILL"]
    return unshare if not os.geteuid() else [*unshare, "--user", "--map-root-user"]


@functools.cache
def allowed() -> bool:
    """Whether this system lets us do that. Where `unshare` is missing nobody knows: the test will say so itself."""
    if shutil.which("unshare") is None:
        return True
    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):  # by which the test finds that process
        return False
    done = subprocess.run([*command(), "sh", "-c", PREPARE], capture_output=True, check=False, timeout=20)
    return done.returncode == 0
