"""What a session holds, as a value and as bytes: msgpack, of any type that msgspec knows.

This file owns the form, and what "changed" means: other bytes. It is told from the contents themselves, so that a list
in a list that is changed in place counts too, and the same put in again does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, get_origin

import msgspec

from trivet.errors import RegistrationError

from ._session import Session, SessionError, TypedSession

T = TypeVar("T")


class Contents(Generic[T]):
    """How contents of one type are made, written and read.

    Args:
        kind: the type; called without arguments it gives those of a new session.

    Raises:
        RegistrationError: it cannot be called so, or is nothing that msgpack can carry there and back.
    """

    def __init__(self, kind: Callable[[], T]) -> None:
        if not callable(kind):
            raise RegistrationError(
                # Not what it is: it may be the secret.
                f"what a session holds is told by a type, not by {type(kind).__name__}.\n"
                'Name the secret:  Sessions(secret="...");  a type comes first:  Sessions(Cart, secret="...")'
            )
        self.fresh = kind
        self.is_mapping = (get_origin(kind) or kind) is dict
        self._encoder = msgspec.msgpack.Encoder()
        try:
            self.empty = self._encoder.encode(kind())
            shape: Any = dict[str, Any] if kind is dict else kind
            self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(shape)
            self._decoder.decode(self.empty)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            name = getattr(kind, "__name__", repr(kind))
            raise RegistrationError(
                f"{name} cannot be what a session holds: {error}.\n"
                "A session begins with what the type gives without arguments: give each field a default, of a type "
                "that msgspec knows.\n\n"
                f"    class {name}(msgspec.Struct):\n        user: int | None = None\n        items: list[str] = []"
            ) from error

    def session(self, data: T) -> TypedSession[T]:
        """What handlers are given."""
        if self.is_mapping:
            return cast("TypedSession[T]", Session(cast("dict[str, Any]", data)))
        return TypedSession(data)

    def encode(self, data: T) -> bytes:
        """The bytes that are kept.

        Raises:
            SessionError: there is something in it that no bytes can stand for.
        """
        try:
            return self._encoder.encode(data)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SessionError(self._explain(data, error)) from error

    def decode(self, contents: bytes) -> T:
        """What the bytes stand for.

        Raises:
            ValueError: nothing of this type, which had other fields when they were written.
        """
        return self._decoder.decode(contents)

    def check(self, contents: bytes) -> None:
        """Refuse what the next request could not read.

        Raises:
            SessionError: an attribute has a value that its annotation does not allow, which Python does not mind.
        """
        try:
            self._decoder.decode(contents)
        except ValueError as error:
            raise SessionError(
                f"the session does not fit its own type any more: {error}.\n"
                "The next request could not read it. Keep what the annotation says, or annotate what is kept."
            ) from error

    def _explain(self, data: T, error: Exception) -> str:
        where = "the session"
        for key, value in cast("dict[Any, Any]", data).items() if isinstance(data, dict) else ():
            try:
                self._encoder.encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError) as inner:
                where, error = f"session[{key!r}]", inner
                break
        return (
            f"{where} holds something that cannot be kept: {error}.\n"
            'Keep what it can be found by, or texts and numbers of it:  session["user"] = user.id'
        )
