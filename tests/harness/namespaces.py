"""Namespaces of Linux: how a test runs a command as the first process of a container, and whether this system lets it.

This file owns one decision: what is tried before a test that needs them is collected. A sandbox may forbid namespaces,
or let them be made and forbid to mount something in them, or keep Python where nobody but root may read it. That is no
missing tool, which somebody could install: such a test is left out there.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.harness.tools import require

__all__ = ["allowed", "as_user", "command"]

ROOT = Path(__file__).parents[2]

PREPARE = (
    "mount -o remount,bind,ro / && mount -t tmpfs tmpfs /var/tmp && export TMPDIR=/var/tmp && ! touch / 2>/dev/null"
)
"""For a shell in there: nothing but /var/tmp can be written to afterwards. Not /tmp, where a clone may be."""


def command() -> list[str]:
    """What runs the command behind it as the first process there."""
    unshare = [require("unshare"), "--pid", "--mount", "--fork", "--kill-child=KILL"]
    return unshare if not os.geteuid() else [*unshare, "--user", "--map-root-user"]


def as_user(user: str, arguments: list[str]) -> list[str]:
    """What runs a command as the first process there, as this user, on a file system that it cannot write to.

    Args:
        user: ids of the user and the group, `"1:1"`; who is not root stays who he is.
        arguments: of Python.
    """
    uid, _, gid = user.partition(":")
    drop = "" if os.geteuid() else f"setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs "
    return [*command(), "sh", "-c", f"{PREPARE} && exec {drop}{shlex.join([sys.executable, *arguments])}"]


@functools.cache
def allowed() -> bool:
    """Whether this system lets us do that. Where `unshare` is missing nobody knows: the test will say so itself."""
    if shutil.which("unshare") is None:
        return True
    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):  # by which the test finds that process
        return False
    tried = as_user("10001:10001", ["-c", "import trio, trivet"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "framework"), "PYTHONDONTWRITEBYTECODE": "1"}
    return (
        subprocess.run(tried, env=environment, cwd=ROOT, capture_output=True, check=False, timeout=60).returncode == 0
    )
