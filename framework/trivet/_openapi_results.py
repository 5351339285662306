"""What an operation of OpenAPI answers, from the annotation of what its handler returns.

This file owns how each kind of result is documented; `_results` owns what becomes of it. It knows nothing of what a
request must bring, nor of the errors that follow from it.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, NewType

from ._openapi_schemas import Schema, Schemas
from ._problem import PROBLEM, reason_phrase

ANY_STATUS: Final = "default"
"""The status is chosen when the handler runs."""

ANY_TYPE: Final = "*/*"


class Answer(NamedTuple):
    """One way to answer."""

    status: str
    media: str | None = None
    """`None`: without content."""
    schema: Schema | None = None
    description: str = ""


# By name, as the classes are on several floors: the nearest base that is one of trivet's decides.
KINDS: Final[Mapping[str, tuple[Answer, ...]]] = {
    "Response": (Answer(ANY_STATUS, description="The handler makes the response."),),
    "Text": (Answer("200", "text/plain", {"type": "string"}),),
    "HTML": (Answer("200", "text/html", {"type": "string"}),),
    "Redirect": (Answer("3XX", description="See `Location`."),),
    "Stream": (Answer("200", ANY_TYPE, {}, "Sent bit by bit."),),
    "EventStream": (Answer("200", "text/event-stream", {"type": "string"}, "Server-sent events."),),
    "File": (
        Answer("200", ANY_TYPE, {}),
        Answer("206", ANY_TYPE, {}),
        Answer("304"),
        Answer("403", PROBLEM, None, "The file may not be read."),
        Answer("404", PROBLEM, None, "There is no such file."),
        Answer("412", PROBLEM, None, "The file is not as `If-Match` or `If-Unmodified-Since` wants it."),
        Answer("416", PROBLEM, None, "The file does not have this range."),
    ),
}


def responses_of(returned: Any, status: int | None, schemas: Schemas) -> dict[str, Schema]:
    """The Responses Object for what a handler returns.

    Args:
        returned: its annotation, resolved; `inspect.Parameter.empty`: it has none.
        status: the route's `status=`.
        schemas: makes the schemas.
    """
    responses: dict[str, Schema] = {}
    contents: dict[tuple[str, str], list[Schema]] = {}
    for answer in _answers(returned, status, schemas):
        response = responses.setdefault(answer.status, {"description": answer.description or _phrase(answer.status)})
        if answer.status == "3XX":
            response["headers"] = {"Location": {"schema": {"type": "string"}}}
        if answer.media is not None:
            schema = schemas.problem() if answer.media == PROBLEM else {} if answer.schema is None else answer.schema
            contents.setdefault((answer.status, answer.media), []).append(schema)
    for (code, media), found in contents.items():
        content = responses[code].setdefault("content", {})
        content[media] = {"schema": found[0] if len(found) == 1 else {"anyOf": found}}
    return responses


def _phrase(status: str) -> str:
    return reason_phrase(int(status)) if status.isdecimal() else "The status is chosen when the handler runs."


def _answers(returned: Any, status: int | None, schemas: Schemas) -> Iterator[Answer]:
    plain = "200" if status is None else str(status)
    base = _bare(returned)
    origin = typing.get_origin(base)
    if base is None or base is types.NoneType:
        yield Answer("204" if status is None else plain)
    elif base in (typing.NoReturn, typing.Never):
        return
    elif base in (inspect.Parameter.empty, Any, object):
        yield Answer(ANY_STATUS)
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(base):
            yield from _answers(member, status, schemas)
    elif base is tuple or origin is tuple:
        yield from _of_tuple(typing.get_args(base), schemas)
    elif (kind := _kind(origin or base)) is not None:
        yield from _of_response(kind, typing.get_args(base), schemas)
    elif _is_text(base):
        yield Answer(plain, "text/plain", schemas.of(returned, "serialization"))
    elif isinstance(base, type) and issubclass(base, bytes | bytearray | memoryview):
        yield Answer(plain, "application/octet-stream", {})
    else:
        yield Answer(plain, "application/json", schemas.of(returned, "serialization"))


def _of_tuple(args: tuple[Any, ...], schemas: Schemas) -> Iterator[Answer]:
    """`(status, value)` or `(status, value, headers)`; a `Literal` says which status."""
    if len(args) not in (2, 3) or args[1] is ...:
        yield Answer(ANY_STATUS)
        return
    first = _bare(args[0])
    statuses = [str(each) for each in typing.get_args(first)] if typing.get_origin(first) is typing.Literal else []
    for status in statuses or [ANY_STATUS]:
        for answer in _answers(args[1], None, schemas):
            yield answer._replace(status=status, description="")


def _of_response(kind: str, args: tuple[Any, ...], schemas: Schemas) -> Iterator[Answer]:
    if kind == "JSON":
        yield Answer("200", "application/json", schemas.of(args[0], "serialization") if args else {})
    else:
        yield from KINDS[kind]


def _kind(base: Any) -> str | None:
    """Which of trivet's responses a class is; `None`: it is no response."""
    for each in getattr(base, "__mro__", ()):
        if each.__module__.partition(".")[0] == "trivet" and (each.__name__ in KINDS or each.__name__ == "JSON"):
            return str(each.__name__)
    return None


def _is_text(base: Any) -> bool:
    if typing.get_origin(base) is typing.Literal:
        return all(isinstance(each, str) for each in typing.get_args(base))
    return isinstance(base, type) and issubclass(base, str)


def _bare(annotation: Any) -> Any:
    """Without `Annotated`, `NewType` and aliases."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def problem_of(description: str, schemas: Schemas) -> Schema:
    """A response that is a problem."""
    return {"description": description, "content": {PROBLEM: {"schema": schemas.problem()}}}
