"""How the log is told that a store fails: once when it begins, and once when it is over.

This file owns the words, the levels, and which errors come with their traceback. What begins again soon is told later,
since there are stores of which every second call fails. It knows no store. One that is away says so by its error (it is
an answer to clients, or knows when it makes sense to ask again): how it came to be raised tells nobody anything, so
that is one line. An error that only code makes is no outage, whatever the option for outages does with the request:
nobody would look for a bug behind a warning that some machine was away.
"""

from __future__ import annotations

import logging

import trio

from trivet import HTTPError
from trivet._damping import Damper

_OF_CODE = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError)


class Outage:
    """What is known of the one that goes on, if one does.

    Args:
        log: whom to tell.
        store: what fails.
        fate: what becomes of requests meanwhile, `"are admitted"`,
        past: and what became of them, `"were admitted"`.
    """

    __slots__ = ("_before", "_bug_told", "_damper", "_fate", "_log", "_past", "_store", "_told", "requests")

    def __init__(self, log: logging.Logger, store: str, fate: str, past: str) -> None:
        self._log = log
        self._store = store
        self._fate = fate
        self._past = past
        self._damper = Damper()
        self._told = self._bug_told = False
        self._before = 0
        """Requests that have met those before it of whose end nothing was told."""
        self.requests = 0
        """Those that have met it: 0: there is none."""

    def met(self, error: Exception) -> None:
        """A request has met it."""
        self.requests += 1
        bug = isinstance(error, _OF_CODE)
        if self._bug_told or (self._told and not bug):  # not for each request: an outage must not fill the log as well
            return
        # Asked at each request: an outage that begins soon after another one is told later, and not never.
        more = self._damper.passes(bug, trio.current_time())
        if more is None:
            return
        self._told, self._bug_told = True, bug
        if bug:
            self._log.error(
                "%s has a bug; until it works requests %s%s: %r", self._store, self._fate, more, error, exc_info=error
            )
        else:
            text = "it took too long" if isinstance(error, trio.TooSlowError) else str(error) or repr(error)
            self._log.warning(
                "%s failed; until it works again requests %s%s: %s",
                self._store,
                self._fate,
                more,
                text,
                exc_info=None if _is_foreseen(error) else error,
            )

    def over(self) -> None:
        """It works again."""
        requests = self._before + self.requests
        if self._told:
            self._log.info("%s works again; %d requests %s", self._store, requests, self._past)
        self._before = 0 if self._told else requests
        self.requests, self._told, self._bug_told = 0, False, False


def _is_foreseen(error: Exception) -> bool:
    return isinstance(error, HTTPError | trio.TooSlowError) or hasattr(error, "retry_after")
