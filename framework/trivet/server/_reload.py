"""Which files a process was made from, and when one has changed.

This file owns the question "has the source changed?". The answer is always read from the files themselves, compared
with what they were. When to look, watchfiles says (the extra `reload`), within a tenth of a second; every two seconds
we look of our own accord, for there are file systems (NFS, some containers) that notify nobody. Without watchfiles we
look more often.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import aclosing

import trio

log = logging.getLogger("trivet.supervisor")

POLL_SECONDS = 0.4
NOTIFIED_POLL_SECONDS = 2.0

QUIET_MILLISECONDS = 50
"""Without a change, after which several (a checkout, an editor's save in steps) count as one."""

MOST_MILLISECONDS = 1000
"""After which they are one all the same."""

_INSTALLED = tuple(
    path + os.sep for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)

Fingerprint = tuple[int, int, int]


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
    """The files to watch, and what each last was.

    A module that is new counts too, beside those of the application: it may be the one that an import did not find.

    Args:
        directory: is the application's, even if nothing in it can be imported yet.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._files: dict[str, Fingerprint | None] = {}
        self._modules: dict[str, frozenset[str]] = {}  # of a directory of the application
        self.directories: set[str] = set()
        """Of all files, where a notification may come from."""
        self.grown = trio.Event()
        """Set when `directories` has changed; whoever waits replaces it."""
        self._watch_directory(directory or os.getcwd())

    def watch(self, files: Iterable[str], since: float | None = None) -> None:
        """Watch these too, from now on.

        Args:
            files: absolute paths.
            since: they were read after that time (of `time.time`): one changed later may have been read before.
        """
        now = time.time()
        for file in files:
            if file in self._files:
                continue
            found = self._files[file] = _fingerprint(file)
            # What lies in the future says nothing, and would restart us for ever.
            if since is not None and found is not None and since <= found[0] / 1e9 <= now:
                self._files[file] = (0, 0, 0)
            self._watch_directory(os.path.dirname(file))

    def _watch_directory(self, directory: str) -> None:
        if directory in self.directories:
            return
        self.directories.add(directory)
        if not (directory + os.sep).startswith(_INSTALLED):
            self._modules[directory] = _modules(directory)
        self.grown.set()

    def changed(self) -> list[str]:
        """The files that were changed, or came or went, since the last call."""
        changed: list[str] = []
        for file, before in self._files.items():
            now = _fingerprint(file)
            if now != before:
                self._files[file] = now
                changed.append(file)
        for directory, modules in self._modules.items():
            found = self._modules[directory] = _modules(directory)
            changed.extend(path for path in sorted(found - modules) if path not in self._files)
        return changed


def _fingerprint(file: str) -> Fingerprint | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _modules(directory: str) -> frozenset[str]:
    """The modules and packages right inside `directory`, as the path of their file."""
    found: list[str] = []
    try:
        for entry in os.scandir(directory):
            if entry.name.startswith("."):
                continue  # an editor's, and no name of a module
            if entry.name.endswith(".py"):
                found.append(entry.path)
            elif entry.is_dir() and os.path.exists(package := os.path.join(entry.path, "__init__.py")):
                found.append(package)
    except OSError:
        pass  # it has gone: so have its files, which are watched themselves
    return frozenset(found)


async def watch(changes: Changes, on_change: Callable[[list[str]], object]) -> None:
    """Call `on_change` with the files that have changed, for ever."""

    def look() -> None:
        changed = changes.changed()
        if changed:
            on_change(changed)

    await _notified(changes, look)
    while True:
        await trio.sleep(POLL_SECONDS)
        look()


async def _notified(changes: Changes, look: Callable[[], None]) -> None:
    """Look whenever there may be something to see; return if nobody can tell us."""
    try:
        import watchfiles
    except ImportError:
        log.info(
            "Files are looked at every %g s; with watchfiles it is at once:  pip install 'trivet[reload]'", POLL_SECONDS
        )
        return
    while True:
        stop = changes.grown = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_when_cancelled, stop)
            notices = watchfiles.awatch(
                *filter(os.path.isdir, changes.directories),
                watch_filter=None,
                debounce=MOST_MILLISECONDS,
                step=QUIET_MILLISECONDS,
                stop_event=stop,
                rust_timeout=int(NOTIFIED_POLL_SECONDS * 1000),
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            )
            try:
                async with aclosing(notices):
                    look()  # what happened while nobody watched
                    async for _ in notices:
                        look()
            except FileNotFoundError:
                await trio.sleep(POLL_SECONDS)  # a directory has gone in this instant
            except (OSError, RuntimeError) as error:  # too many watches, say
                log.warning("the system does not tell of changed files (%s): they are looked at instead", error)
                return
            finally:
                nursery.cancel_scope.cancel()


async def _set_when_cancelled(event: trio.Event) -> None:
    # The thread that watchfiles waits in looks at the event, and at nothing else.
    try:
        await trio.sleep_forever()
    finally:
        event.set()
