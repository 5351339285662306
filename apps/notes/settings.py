"""What is set from outside: by the environment, or by whoever makes the application."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Final

from argon2 import PasswordHasher

DATABASE_URL: Final = "sqlite:notes.db"
"""In the working directory, unless the environment's NOTES_DATABASE_URL says otherwise."""

REDIS_TIMEOUT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one application."""

    database_url: str = DATABASE_URL
    """`sqlite:PATH`, `sqlite:` (temporary), or `postgresql://user:password@host/database`."""

    hasher: PasswordHasher = field(default_factory=PasswordHasher)
    """How passwords are hashed."""

    redis_url: str | None = None
    """`redis://host:port`: the limits hold for all workers together. Without it each counts for itself."""

    redis_timeout: float = REDIS_TIMEOUT
    """Seconds that it has for an answer, after which nobody signs in."""


async def settings() -> Settings:
    """The settings of the environment; a provider, so that another can be put in its place."""
    return Settings(
        database_url=os.environ.get("NOTES_DATABASE_URL", DATABASE_URL),
        redis_url=os.environ.get("NOTES_REDIS_URL"),
        redis_timeout=_seconds("NOTES_REDIS_TIMEOUT", REDIS_TIMEOUT),
    )


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}={text} is no number of seconds; write for example  {name}={default:g}")
    return seconds
