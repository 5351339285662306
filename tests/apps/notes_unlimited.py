"""The notes service without limits on how often, and with passwords in no time: for tests that ask very often."""

from __future__ import annotations

from argon2 import PasswordHasher

from apps.notes import api
from apps.notes.main import create_app
from apps.notes.settings import Settings


async def unlimited() -> None:
    """Let everybody in."""


app = create_app(Settings("sqlite:", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)))
for limit in (api.registrations, api.logins, api.logins_of_one, api.writes):
    app.override(limit, unlimited)
