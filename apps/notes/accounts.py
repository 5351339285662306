"""Users: their passwords and the tokens that stand for them.

This file owns what is secret and how it is kept: passwords by Argon2, tokens by a digest.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from .storage import Pool, Transaction

LIFETIME: Final = 30 * 24 * 3600
"""Seconds for which a token is good."""

AT_ONCE: Final = 2
"""Passwords that are hashed at the same time: each takes 64 MiB and a processor, on purpose."""


@dataclass(frozen=True, slots=True)
class User:
    """Who sends a request."""

    id: int
    name: str


class Passwords:
    """Hashes passwords and verifies them, in worker threads of which there are few.

    Args:
        hasher: the algorithm with its costs; argon2-cffi's choice (RFC 9106, section 4) by default.
        at_once: how many threads there are.
    """

    def __init__(self, hasher: PasswordHasher | None = None, at_once: int = AT_ONCE) -> None:
        self._hasher = hasher or PasswordHasher()
        self._limiter = trio.CapacityLimiter(at_once)
        self._nobodys = self._hasher.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        """What is kept of a password.

        Cancellation: it is not waited for; its thread counts as one of the few until it has ended.
        """
        return await trio.to_thread.run_sync(self._hasher.hash, password, abandon_on_cancel=True, limiter=self._limiter)

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether this is the password that `kept` was made of.

        Args:
            kept: `None`: there is no such user. It takes as long as if there were, so that nobody learns who is here.
            password: what was sent.
        """
        verify = partial(self._verify, self._nobodys if kept is None else kept, password)
        right = await trio.to_thread.run_sync(verify, abandon_on_cancel=True, limiter=self._limiter)
        return right and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was made with other costs than are asked for now."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerifyMismatchError, InvalidHashError):
            return False


async def register(pool: Pool, passwords: Passwords, name: str, password: str) -> User | None:
    """Add a user; `None`: the name is taken."""
    kept = await passwords.hash(password)  # before the transaction, which would wait for it
    async with pool.transaction(write=True) as tx:
        # The database decides, so that of two who want a name at the same time one gets it.
        row = await tx.one(
            "INSERT INTO users (name, password) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id", name, kept
        )
    return None if row is None else User(row[0], name)


async def sign_in(pool: Pool, passwords: Passwords, name: str, password: str) -> str | None:
    """Make a token for a user; `None`: name and password do not belong together."""
    row = None
    if "\0" not in name:  # PostgreSQL refuses it; nobody is called so
        async with pool.transaction(write=False) as tx:
            row = await tx.one("SELECT id, password FROM users WHERE name = $1", name)
    user, kept = row or (None, None)
    if not await passwords.verify(kept, password):
        return None
    renewed = await passwords.hash(password) if kept is not None and passwords.outdated(kept) else None
    token = secrets.token_urlsafe(32)
    async with pool.transaction(write=True) as tx:
        now = int(time.time())
        await tx.all("DELETE FROM tokens WHERE owner = $1 AND expires <= $2", user, now)
        await tx.all(
            "INSERT INTO tokens (digest, owner, expires) VALUES ($1, $2, $3)", _digest(token), user, now + LIFETIME
        )
        if renewed is not None:
            await tx.all("UPDATE users SET password = $1 WHERE id = $2", renewed, user)
    return token


async def whose(pool: Pool, token: str) -> User | None:
    """The user for whom a token was made; `None`: nobody, or not any more."""
    async with pool.transaction(write=False) as tx:
        row = await tx.one(
            "SELECT users.id, users.name FROM tokens JOIN users ON users.id = tokens.owner"
            " WHERE tokens.digest = $1 AND tokens.expires > $2",
            _digest(token),
            int(time.time()),
        )
    return None if row is None else User(*row)


async def sign_out(tx: Transaction, token: str) -> None:
    """Make a token worthless."""
    await tx.all("DELETE FROM tokens WHERE digest = $1", _digest(token))


def _digest(token: str) -> str:
    # A token is 256 random bits, so nothing slower is needed: there is no dictionary of them. And it is looked up by
    # the digest, whose timing says nothing about the token.
    return hashlib.sha256(token.encode()).hexdigest()
