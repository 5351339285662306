"""A form that has been read: its fields and files by name.

This file owns how a form is read from a body that streams in: texts are kept, files go to `UploadFile`s as they come.
What a form may look like is `_multipart`'s decision; who deletes the files, the request's.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator, Mapping, Sequence

from ._headers import Headers
from ._markers import FormLimits
from ._multipart import Event as FormEvent
from ._multipart import FileStart, TextField, check_again, form_reader
from ._upload import Room, UploadFile


class FormData(Mapping[str, str | UploadFile]):
    """A form: a mapping from each name to its first value, a text or an `UploadFile`.

    `getlist` gives each value of a name, `multi_items` each field in the order they came.
    """

    __slots__ = ("_fields", "_index")

    def __init__(self, fields: Sequence[tuple[str, str | UploadFile]] = ()) -> None:
        self._fields = fields
        self._index: dict[str, list[str | UploadFile]] = {}
        for name, value in fields:
            self._index.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str | UploadFile:
        return self._index[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"FormData({list(self._fields)!r})"

    def getlist(self, name: str) -> list[str | UploadFile]:
        """Each value of `name`, in the order they came; empty when there is none."""
        return list(self._index.get(name, ()))

    def multi_items(self) -> list[tuple[str, str | UploadFile]]:
        """Each field, in the order they came."""
        return list(self._fields)


def check_form(form: FormData, limits: FormLimits) -> None:
    """Refuse a form that another has read, within limits of its own, if it breaks these. What they do not say holds.

    Raises:
        InvalidInput: 413.
    """
    fields = form.multi_items()
    texts = [(name, value) for name, value in fields if isinstance(value, str)]
    sizes = [value.size for _, value in fields if isinstance(value, UploadFile)]
    check_again(
        limits,
        parts=len(fields),
        files=len(sizes),
        text=sum(len(name.encode()) + len(value.encode()) for name, value in texts),
        largest=max(sizes, default=0),
    )


async def read_form(
    body: AsyncIterable[bytes], headers: Headers, limits: FormLimits, owned: list[UploadFile]
) -> FormData:
    """Read a form.

    Args:
        body: the body, as it comes.
        headers: of the request.
        limits: what it may hold.
        owned: is given each file as soon as it exists, so that whoever owns it deletes all, whatever happens here.

    Raises:
        InvalidInput: 400, 413 or 415; what `body` raises.
        OSError: a file cannot be written.
    """
    reader = form_reader(headers.get("content-type"), headers.get("content-encoding"), limits)
    filler = _Filler(owned)
    async for chunk in body:
        await filler.take(reader.feed(chunk))
    await filler.take(reader.end())
    return FormData(filler.fields)


class _Filler:
    """Puts what a form's reader finds where it belongs."""

    def __init__(self, owned: list[UploadFile]) -> None:
        self.fields: list[tuple[str, str | UploadFile]] = []
        self._owned = owned
        self._room = Room()
        self._file: UploadFile | None = None

    async def take(self, events: Iterator[FormEvent]) -> None:
        for event in events:
            if isinstance(event, TextField):
                self.fields.append((event.name, event.value))
            elif isinstance(event, FileStart):
                self._file = UploadFile(event.name, event.filename, event.content_type, event.headers, self._room)
                self._owned.append(self._file)
                self.fields.append((event.name, self._file))
            elif self._file is None:
                raise AssertionError("unreachable: a file's bytes follow its start")
            elif isinstance(event, bytes):
                await self._file._write(event)
            else:
                await self._file._complete()
                self._file = None
