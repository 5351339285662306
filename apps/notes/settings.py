"""What is set from outside: by the environment, or by whoever makes the application."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from argon2 import PasswordHasher

DATABASE_URL: Final = "sqlite:notes.db"
"""In the working directory, unless the environment's NOTES_DATABASE_URL says otherwise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one application."""

    database_url: str = DATABASE_URL
    """`sqlite:PATH`, `sqlite:` (temporary), or `postgresql://user:password@host/database`."""

    hasher: PasswordHasher = field(default_factory=PasswordHasher)
    """How passwords are hashed."""

    redis_url: str | None = None
    """`redis://host:port`: the limits hold for all workers together. Without it each counts for itself."""


async def settings() -> Settings:
    """The settings of the environment; a provider, so that another can be put in its place."""
    return Settings(
        database_url=os.environ.get("NOTES_DATABASE_URL", DATABASE_URL),
        redis_url=os.environ.get("NOTES_REDIS_URL"),
    )
