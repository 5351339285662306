"""Skips and CI: a missing tool skips a test on a laptop and fails it under CI, where it would be skipped for
ever."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

__all__ = ["require", "under_ci"]


def under_ci() -> bool:
    """Whether this is a run that nobody watches: `CI=true`, as every CI service sets it."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def require(tool: str, *, why: str = "this test needs it") -> str:
    """Find a program, or a module as `module:NAME`.

    Args:
        tool: the program's name, or `module:` and a module's.
        why: for the message.

    Returns:
        The program's path, or the module's name.
    """
    kind, _, module = tool.partition(":")
    if kind == "module":
        found = module if importlib.util.find_spec(module) is not None else None
    else:
        found = shutil.which(tool)
    if found is not None:
        return found
    if under_ci():
        pytest.fail(f"{tool} is missing under CI: {why}", pytrace=False)
    pytest.skip(f"{tool} is missing: {why}")
