"""Collecting registration errors instead of raising them: for `trivet check`, which reports all of them at once.

This file owns that switch, and nothing else. It is a context variable, so that importing an application under
`collect()` cannot disturb another thread that imports one in earnest.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import RegistrationError

_collected: ContextVar[list[RegistrationError] | None] = ContextVar("trivet_collected", default=None)


@contextmanager
def collect() -> Generator[list[RegistrationError]]:
    """Within the body, what is registered wrongly is left out and noted in the yielded list."""
    found: list[RegistrationError] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


@contextmanager
def collecting() -> Generator[None]:
    """Around one registration: raise its error, or note it if errors are being collected."""
    try:
        yield
    except RegistrationError as error:
        found = _collected.get()
        if found is None:
            raise
        found.append(error)
