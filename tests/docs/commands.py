"""Commands that pages give to a reader's shell: checked, not run.

This file owns what is checked of each: that the make target, the extra, the application and the options exist. To run
them would install packages and bind ports.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = frozenset({"git", "cd", "python", "python3", "source"})


def check_command(command: str, where: str) -> None:
    """Check one command line.

    Raises:
        AssertionError: something that it names does not exist.
    """
    words = shlex.split(command, comments=True)
    if not words or words[0] in IGNORED:
        return
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= {*targets, *(word for word in words if "=" in word)}, f"{where}: no such make target"
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for extra in re.findall(r"(?:trivet|PATH-TO-CLONE|\.)\[([\w,-]+)\]", command):
            assert set(extra.split(",")) <= set(extras), f"{where}: no such extra"
    elif words[0] in ("hypercorn", "trivet"):
        _check_program(words, where)
    elif words[0] != "pytest":
        raise AssertionError(f"{where}: nobody checks the command {words[0]!r}")


def _check_program(words: list[str], where: str) -> None:
    program = words[:2] if words[0] == "trivet" else words[:1]
    known = _options(*program)
    for word in words[len(program) :]:
        if word.startswith("-") and word != "-":  # which is standard output
            assert word.partition("=")[0] in known, f"{where}: {' '.join(program)} has no option {word}"
        elif ":" in word and word.startswith("apps."):
            assert find_spec(word.partition(":")[0]) is not None, f"{where}: there is no {word}"


@cache
def _options(*program: str) -> frozenset[str]:
    """The options that a program lists in its help."""
    module = {"hypercorn": "hypercorn", "trivet": "trivet"}[program[0]]
    done = subprocess.run(
        [sys.executable, "-m", module, *program[1:], "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return frozenset(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", done.stdout))
