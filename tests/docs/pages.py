"""Reads a page of the documentation and runs what is on it.

This file owns what each kind of fenced code block means to the suite:

    python          executed, in order, in one namespace per page; the tests that it defines are run; whatever it uses,
                    in functions that nobody calls as well, is bound there or above, so that one can stop reading
    python raises   must raise; the `text` block after it is the exception's message
    console         `$ curl ...` with its output, against the page's `app` as it is at that point; see `curl`
    sh              commands for a reader's shell; see `commands`
    toml            a configuration file for `trivet run`, whose settings must exist
    text            not executed
    KIND PATH       a file of the repository, whole, such as `ini deploy/app.service`: has to be what it shows

A block of any other kind is an error, so that no block is left out by accident. It knows no particular page.

A page that says `<!-- continues 02-database.md -->` goes on in the file that its reader has written on that page: the
`python` blocks there are executed before its own.

It is our own and not Sybil, because little would be left of Sybil here: an application is frozen by its first request,
so that each console block needs a page of its own up to that point.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
import time
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import trio
from trio.testing import MockClock

from tests.docs.commands import check_command
from tests.docs.curl import run_session
from tests.docs.names import used
from trivet.cli._options import RunConfig

ROOT = Path(__file__).resolve().parents[2]
NAME = "main"
"""What a page's code is called when it is imported: pages say `main.py`, `main:app`, `from main import app`."""

CONTINUES = re.compile(r"^<!-- continues (\S+) -->$", re.MULTILINE)
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


class PageError(AssertionError):
    """A block of a page does not do what the page says."""


class Differs(PageError):
    """What a page shows is not what it is.

    Args:
        where: file, line, and what differs.
        shown: the block that shows it.
        actual: what it is.
    """

    def __init__(self, where: str, shown: Block, actual: str) -> None:
        super().__init__(f"{where}\n--- the page shows\n{shown.code}--- it is\n{actual}\n---")
        self.shown = shown
        self.actual = actual


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    kind: str
    code: str
    line: int
    """The number of its first line of code in the page."""

    @property
    def file(self) -> Path | None:
        """The file that it shows; `None`: it is none of the repository."""
        _, _, name = self.kind.partition(" ")
        return ROOT / name if "/" in name else None


@dataclass(frozen=True)
class Page:
    """A Markdown file and its blocks."""

    path: Path
    text: str
    blocks: tuple[Block, ...]
    before: Page | None
    """The page whose code this one goes on with."""

    @classmethod
    def read(cls, path: Path) -> Page:
        """Read the page at `path`."""
        text = path.read_text()
        blocks = [
            Block(found[1].strip(), found[2], text.count("\n", 0, found.start()) + 2) for found in FENCE.finditer(text)
        ]
        continues = CONTINUES.search(text)
        return cls(path, text, tuple(blocks), cls.read(path.parent / continues[1]) if continues else None)

    def check(self) -> None:
        """Run every block, in order.

        Raises:
            PageError: a block does not do what the page says; the message has file and line.
            Exception: what a `python` block raises; its traceback points into the page.
        """
        with self._module() as module:
            for index, block in enumerate(self.blocks):
                where = f"{self.path.relative_to(ROOT)}:{block.line}"
                if block.file is not None:
                    compare(block, block.file.read_text(), f"{where}: {block.kind} differs")
                elif block.kind == "python":
                    self._execute(block, module)
                    self._run_tests(index)
                    unbound = used(block.code) - vars(module).keys() - vars(builtins).keys()
                    if unbound:
                        raise PageError(f"{where}: {', '.join(sorted(unbound))}: used, and bound below at best")
                elif block.kind == "python raises":
                    self._check_raises(index, module)
                elif block.kind == "console":
                    self._check_session(index)
                elif block.kind == "sh":
                    for command in block.code.splitlines():
                        if not command.startswith("#"):
                            check_command(command.partition("  #")[0], where)
                elif block.kind == "toml":
                    RunConfig.from_mapping(tomllib.loads(block.code))
                elif block.kind != "text":
                    raise PageError(f"{where}: nobody runs a block of kind {block.kind!r}; mark it as text, or say how")

    @contextmanager
    def _module(self) -> Generator[ModuleType]:
        """A module, importable as `main`: classes are looked up in the module that they name."""
        before = sys.modules.get(NAME)
        module = sys.modules[NAME] = ModuleType(NAME)
        module.__file__ = str(self.path)
        try:
            if self.before is not None:
                self.before._execute_all(module)
            yield module
        finally:
            del sys.modules[NAME]
            if before is not None:
                sys.modules[NAME] = before

    @contextmanager
    def _replayed(self, index: int) -> Generator[ModuleType]:
        """The page's module up to and including block `index`: fresh, because a request freezes an application."""
        with self._module() as module:
            for block in self.blocks[: index + 1]:
                if block.kind == "python":
                    self._execute(block, module)
            yield module

    def _execute_all(self, module: ModuleType) -> None:
        """What a reader of this page has in the file at its end."""
        if self.before is not None:
            self.before._execute_all(module)
        for block in self.blocks:
            if block.kind == "python":
                self._execute(block, module)

    def _execute(self, block: Block, module: ModuleType) -> None:
        # Blank lines above, so that tracebacks and error messages name lines of the page.
        code = compile("\n" * (block.line - 1) + block.code, str(self.path), "exec", dont_inherit=True)
        exec(code, module.__dict__)

    def _run_tests(self, index: int) -> None:
        names = re.findall(r"^(?:async )?def (test_\w+)\(", self.blocks[index].code, re.MULTILINE)
        for name in names:
            with self._replayed(index) as module:
                run_test(getattr(module, name))

    def _check_raises(self, index: int, module: ModuleType) -> None:
        block = self.blocks[index]
        where = f"{self.path.relative_to(ROOT)}:{block.line}"
        try:
            self._execute(block, module)
        except Exception as error:  # which one it is can be told by its text
            shown = self.blocks[index + 1] if index + 1 < len(self.blocks) else block
            if shown.kind != "text":
                raise PageError(f"{where}: no text block with the message follows") from error
            compare(shown, str(error), f"{where}: the message differs")
        else:
            raise PageError(f"{where}: nothing was raised")

    def _check_session(self, index: int) -> None:
        block = self.blocks[index]
        with self._replayed(index) as module:
            actual = trio.run(
                partial(run_session, module.__dict__["app"], block.code), clock=MockClock(autojump_threshold=0)
            )
        compare(block, actual, f"{self.path.relative_to(ROOT)}:{block.line}: the session differs")


class Waits(trio.abc.Instrument):
    """How many seconds a run has waited for nothing but time: what the mock clock would have skipped."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._until = 0.0
        self._timeout = 0.0

    def before_io_wait(self, timeout: float) -> None:
        """Remember when the next deadline is; called by Trio."""
        self._timeout = timeout
        self._until = time.monotonic() + timeout

    def after_io_wait(self, timeout: float) -> None:
        """Count a wait that nothing but a deadline has ended; called by Trio."""
        if time.monotonic() >= self._until:
            self.seconds += self._timeout


def run_test(test: Any) -> None:
    """Run a test of a page as pytest-trio would; `autojump_clock` is the only fixture.

    Raises:
        PageError: it asks for another fixture, or sleeps in real time, as it would at the reader's, and its docstring
            does not say why that must be.
    """
    parameters = list(inspect.signature(test).parameters)
    if not inspect.iscoroutinefunction(test):
        test()
        return
    clock = MockClock(autojump_threshold=0) if parameters else None
    if parameters not in ([], ["autojump_clock"]):
        raise PageError(f"{test.__name__} asks for {parameters}; tests of a page have autojump_clock only")
    waits = Waits()
    trio.run(partial(test, *([clock] if clock else [])), clock=clock, instruments=[] if clock else [waits])
    if waits.seconds > 0.05 and "real time" not in (test.__doc__ or ""):
        raise PageError(f"{test.__name__} waits in real time; let it ask for autojump_clock")


def compare(shown: Block, actual: str, what: str) -> None:
    """Fail unless a block shows what is, but for what differs from run to run.

    Raises:
        Differs: with both texts.
    """
    if stable(shown.code) != stable(actual):
        raise Differs(what, shown, actual.strip())


def update(path: Path) -> None:
    """Rewrite what the page at `path` shows with what it is: messages and sessions, never code."""
    while True:
        page = Page.read(path)
        try:
            page.check()
        except Differs as error:
            lines = page.text.splitlines()
            start = error.shown.line - 1
            end = start + error.shown.code.count("\n")
            path.write_text("\n".join([*lines[:start], *stable(error.actual).splitlines(), *lines[end:]]) + "\n")
        else:
            return


def stable(text: str) -> str:
    """A text without request ids, and without blanks at line ends."""
    text = re.sub(r"urn:uuid:[-0-9a-f…]+", "urn:uuid:…", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
