"""A session as handlers hold it: its contents, and what can become of it.

This file owns what handlers can do. Whether anything came with the request, and when it is written, is for `_visit` to
say, which each session asks; a session without one keeps nothing, and is for tests.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class SessionError(RuntimeError):
    """The application's fault: contents that cannot be kept, or a change that comes too late (500)."""


class Hold(Protocol):
    """What a session asks of the request that it came with."""

    @property
    def new(self) -> bool: ...
    def touch(self) -> None: ...
    def change(self) -> None: ...
    def begin_anew(self) -> None: ...
    def end(self) -> object: ...
    async def write(self) -> None: ...


class TypedSession(Generic[T]):
    """A session whose contents are of a type of yours: `Annotated[TypedSession[Visit], Depends(sessions)]`.

    It is written when the handler has returned, if its contents are not what they were, however they were changed. When
    the request fails, or nobody is there for the answer, nothing is written.

    Args:
        data: the contents. Sessions are made by `Sessions`; one that you make, to override that in a test, keeps
            nothing.
    """

    __provided_by__ = "Depends(sessions)"

    def __init__(self, data: T) -> None:
        self._data = data
        self._hold: Hold | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # what is in it is nobody's business who reads a log

    @property
    def data(self) -> T:
        """The contents, to be read and changed in place; or assign others."""
        if self._hold is not None:
            self._hold.touch()
        return self._data

    @data.setter
    def data(self, data: T) -> None:
        if self._hold is not None:
            self._hold.change()
        self._data = data

    @property
    def new(self) -> bool:
        """Whether nothing came with this request: no session, or one that is over, or forged."""
        if self._hold is None:
            return True
        self._hold.touch()
        return self._hold.new

    def rotate(self) -> None:
        """Go on under another identifier, with the same contents, and count `lifetime` anew; the old one ends.

        Call it whenever somebody logs in or may do more than before. Else whoever has planted a session in the browser
        beforehand would be logged in with it (session fixation).

        Raises:
            SessionError: the response's head has gone out.
        """
        if self._hold is not None:
            self._hold.begin_anew()

    def clear(self) -> None:
        """End the session: nothing is kept of it, and the browser forgets it. What is put in later is a new one.

        Of a session in a signed cookie the server keeps nothing that it could forget: whoever has a copy of the cookie
        can use it until it is over. Where that matters, keep sessions in a store.

        Raises:
            SessionError: the response's head has gone out.
        """
        fresh: Any = type(self._data)() if self._hold is None else self._hold.end()
        self._data = fresh

    async def save(self) -> None:
        """Write now what has changed, to go out with whatever response this request gets, an error too.

        Only for what must be kept although the request is going to fail: all else is written by itself.

        Raises:
            SessionError: the contents cannot be kept, or the response's head has gone out.
            HTTPError: 503, the store does not answer.

        Cancellation: it has been written or not.
        """
        if self._hold is not None:
            self._hold.change()
            await self._hold.write()


class Session(TypedSession[dict[str, Any]], MutableMapping[str, Any]):
    """A session as a mapping: `session["user"] = 7`. What it can hold is what msgpack can: texts, numbers, bytes,
    lists, mappings and times; another type comes back as one of those.

    Args:
        data: as of `TypedSession`.
    """

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__({} if data is None else data)

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a key of a session is str, not {type(key).__name__}.\nWrite  session[{str(key)!r}] = ...")
        self._changing()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._changing()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def clear(self) -> None:
        """End the session; see `TypedSession.clear`."""
        super().clear()  # of the two bases the first one's: not item by item

    def _changing(self) -> dict[str, Any]:
        if self._hold is not None:
            self._hold.change()
        return self._data
