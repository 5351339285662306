"""From what a handler returns to a response.

This file owns the conversions: which value becomes which response, and what to say about one that cannot. It
does not know which handler returned it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Generic, TypeVar, cast

import msgspec

from ._encode import encode
from ._ported import instead_of_response
from ._response import Response, Text, with_status
from ._response_head import checked_status, content_type
from .errors import ResponseError

T_co = TypeVar("T_co", covariant=True)

JSON_TYPE = content_type("application/json")

# What cannot be encoded: a type that nobody knows, a lone surrogate, a number out of range, a cycle.
UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)

# Looked up by exact type, in front of all questions of inheritance. Another kind is added when the first of it has been
# encoded: what becomes of a value is decided by its type. Bounded, for it keeps classes alive.
json_kinds: set[type] = {dict, list}
KINDS_MAX = 256


class JSON(Response, Generic[T_co]):
    """A value, as JSON.

    Only needed to set a status, a header or a media type, or to send what would be read otherwise
    (`JSON(None)`, `JSON("text")`, a tuple). It is encoded here, so that a value that cannot be encoded is an
    error at this line.

    Args:
        value: whatever msgspec encodes: a Struct, dataclass, attrs object, dict, list, number, date, UUID,
            Enum, ...; pydantic models, which pydantic encodes, by alias.
        status: 200 to 599.
        headers: the header fields.
        media_type: of the content, `application/json` or one that ends with `+json`.

    Raises:
        ResponseError: the value cannot be encoded; or as `Response`.
        ValueError: as `Response`.
    """

    __slots__ = ()

    def __init__(
        self,
        value: T_co,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        # Each part is set here, not by the base, whose questions about the content cost more than the rest.
        try:
            self.body = encode(value)
        except UNENCODABLE as error:
            raise ResponseError(explain(value, error)) from error
        self.status = checked_status(status)
        self._headers = None
        self._type = JSON_TYPE if media_type == "application/json" else content_type(media_type)
        if headers is not None:
            self._update(headers)


def to_response(value: object, status: int | None = None) -> Response:
    """Convert what a handler, or a catcher, returned.

    `str` is plain text, `bytes` an octet stream, `None` an empty 204, a tuple `(status, value)` or `(status,
    value, headers)`, a `Response` itself; all else is JSON. A tuple's status and headers are put on a copy if
    its value is a `Response`.

    Args:
        value: what was returned.
        status: the route's `status=`, which applies to plain values: not to a `Response`, nor to a tuple,
            which has its own. With `None` it stands, and the body is empty.

    Raises:
        ResponseError: the value cannot be sent; the message names its type and the remedy.
        ValueError: a tuple's headers have something that cannot be sent.
    """
    kind = type(value)
    if kind is str:
        return Text(cast(str, value)) if status is None else Text(cast(str, value), status=status)
    if kind in json_kinds:
        return JSON(value) if status is None else JSON(value, status=status)
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status=204 if status is None else status)
    if isinstance(value, tuple):
        return _from_tuple(cast(tuple[object, ...], value))
    if isinstance(value, str):
        return Text(value, status=200 if status is None else status)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Response(cast(bytes, value), status=200 if status is None else status)
    response = JSON(value, status=200 if status is None else status)
    if len(json_kinds) < KINDS_MAX:
        json_kinds.add(kind)
    return response


def _from_tuple(value: tuple[object, ...]) -> Response:
    if not 2 <= len(value) <= 3 or not isinstance(value[0], int) or isinstance(value[0], bool):
        came = ", ".join(type(item).__name__ for item in value)
        remedy = "To send its items as JSON:  return list(value)"
        if 2 <= len(value) <= 3 and type(value[1]) is int:  # Flask's order
            remedy = f"The status comes first:  return {value[1]}, value{', headers' * (len(value) - 2)}"
        raise ResponseError(
            f"a handler returned the tuple ({came}); one is (status, value) or (status, value, headers).\n{remedy}"
        )
    status, content = value[0], value[1]
    headers = value[2] if len(value) == 3 else None
    if headers is not None and not isinstance(headers, Mapping):
        raise ResponseError(
            f"the headers in a tuple that a handler returned are a mapping, not {type(headers).__name__}.\n"
            'Write:  return 201, value, {"x-name": "value"}'
        )
    fields = cast("Mapping[str, str] | None", headers)
    if isinstance(content, tuple):
        raise ResponseError(
            "a handler returned a tuple within a tuple.\nTo send the inner one as JSON:  return status, list(value)"
        )
    if isinstance(content, Response):
        return with_status(content, status, fields)
    response = to_response(content, status)
    if fields is not None:
        for name, text in fields.items():
            response.headers[name] = text
    return response


def explain(value: object, error: BaseException) -> str:
    """What to say about a value that cannot be encoded."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"a value of type {name} cannot be sent as JSON: {error}.\n{_remedy(value)}"


def _remedy(value: object) -> str:
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited, which the message says better
        return "An async function was called but not awaited:  return await function()"
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "To send it bit by bit, loop over it in a function that is given a sink:  return Stream(feed)"
    if isinstance(value, BaseException):
        return "An error is raised, not returned:  raise HTTPError(404)"
    if ported := instead_of_response(value):
        return ported
    if isinstance(value, type) or callable(value):
        return "Was a call forgotten?  return function()"
    if hasattr(value, "__pydantic_serializer__"):
        return "It is pydantic that writes its models:  value.model_dump_json()  has the same error."
    return (
        "Return str, bytes, None, a Response, or what msgspec encodes: a dict, list, dataclass, Struct.\n"
        'An object of another kind needs a line that says what of it is sent:  return {"name": value.name}'
    )
