"""Which files a process was made from, and whether one has changed.

This file owns the question "has the source changed?". Polling mtimes twice a second works on every file system, in
containers and over NFS, where notifications do not.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable


def loaded_files(error: BaseException | None = None) -> set[str]:
    """The source files of all imported modules; with `error`, of its traceback too, and the one it could not parse."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    while error is not None:
        files.update(frame.filename for frame in traceback.extract_tb(error.__traceback__))
        if isinstance(error, SyntaxError):
            files.add(error.filename)
        error = error.__cause__ or error.__context__
    return {os.path.abspath(file) for file in files if isinstance(file, str) and os.path.isfile(file)}


class Changes:
    """The files to watch, and when each was last changed."""

    def __init__(self) -> None:
        self._mtimes: dict[str, float] = {}

    def watch(self, files: Iterable[str]) -> None:
        """Watch these too, from now on."""
        for file in files:
            self._mtimes.setdefault(file, _mtime(file))

    def changed(self) -> list[str]:
        """The files that were changed, or came or went, since the last call."""
        changed: list[str] = []
        for file, before in self._mtimes.items():
            now = _mtime(file)
            if now != before:
                self._mtimes[file] = now
                changed.append(file)
        return changed


def _mtime(file: str) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0
