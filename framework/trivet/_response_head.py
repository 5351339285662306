"""The head of a response, made final.

This file owns what HTTP can carry: which statuses there are, which of them have no content, and what stands
    in
`Content-Type` and `Content-Length`. What cannot be carried is refused here, before a byte is sent; hypercorn
would send a part of it and then cut the connection or, over HTTP/2, send it as it is. Names and values have
been checked when they were set (`_headers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from ._headers import field_value
from .asgi import RawHeaders
from .errors import ResponseError

Field = tuple[bytes, bytes]

# RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
_NO_CONTENT = frozenset({204, 205, 304})


def checked_status(status: object) -> int:
    """The status as a plain `int` (`HTTPStatus.CREATED` is 201).

    Raises:
        ResponseError: it is no number, or not 200 to 599.
    """
    if type(status) is int and 200 <= status <= 599:
        return status
    if not isinstance(status, int) or isinstance(status, bool):
        raise ResponseError(
            f"{status!r} is not a status: a status is a number from 200 to 599.\n"
            'Write it as one:  Response("text", status=201)'
        )
    if not 200 <= status <= 599:
        reason = "1xx is for the server to send" if 100 <= status <= 199 else "HTTP has no such status"
        raise ResponseError(
            f"{int(status)} cannot be the status of a response: {reason} (RFC 9110 section 15).\nUse 200 to 599."
        )
    return int(status)


@lru_cache(maxsize=256)
def content_type(media_type: str, *, text: bool = False) -> Field:
    """The `Content-Type` field of a media type; `text`: the content was text, and is UTF-8 now.

    Raises:
        ValueError: it is not `type/subtype` with optional parameters, or cannot be sent.
    """
    value = field_value("content-type", media_type)
    kind, slash, subtype = value.partition(b";")[0].partition(b"/")
    if not slash or not kind.strip() or not subtype.strip():
        raise ValueError(
            f"{media_type!r} is not a media type.\n"
            'It has the form type/subtype:  Response(content, media_type="application/json")'
        )
    lower = value.lower()
    if text and lower.startswith(b"text/") and b"charset=" not in lower:
        value += b"; charset=utf-8"
    return (b"content-type", value)


# RFC 9110 sections 15.5.2 and 15.5.6: a 401 must say how to authenticate, a 405 which methods there are; these are the
# guesses that `_problem` makes, too.
_REQUIRED: Final[Mapping[int, Field]] = {401: (b"www-authenticate", b"Bearer"), 405: (b"allow", b"")}


def final_head(status: object, fields: Iterable[Field], length: int | None, method: str) -> tuple[int, RawHeaders]:
    """The head that `Response.start` describes.

    Args:
        status: as it was set.
        fields: the header, already checked field by field.
        length: of the body in bytes; `None`: not known, a stream.
        method: of the request.
    """
    status = checked_status(status)
    empty = status in _NO_CONTENT
    if empty and length != 0:
        raise ResponseError(
            f"{status} has no content (RFC 9110 section 15), but this response has "
            f"{'a stream' if length is None else f'{length} bytes'}.\n"
            f"Leave it away:  return Response(status={status})"
        )
    final: RawHeaders = []
    declared: bytes | None = None
    for field in fields:
        name = field[0]
        if name == b"content-length":
            if declared is not None:
                raise ResponseError("Content-Length was set twice.\nSet it once, or leave it to trivet.")
            declared = field[1]
        elif name == b"transfer-encoding":
            raise ResponseError(
                "Transfer-Encoding is the server's to set (RFC 9112 section 6.1).\n"
                'Leave it away:  del response.headers["transfer-encoding"]'
            )
        elif not (empty and name == b"content-type"):
            final.append(field)
    required = _REQUIRED.get(status) if status > 400 else None
    if required is not None and not any(name == required[0] for name, _ in final):
        final.append(required)
    if declared is not None and status != 304:  # in a 304 it is the length that a 200 would have had
        _check_length(declared, length, method)
    if status == 204 or status == 304:
        return status, final
    if length is not None and (declared is None or length):
        declared = b"%d" % length
    if declared is not None:
        final.append((b"content-length", declared))
    return status, final


def _check_length(declared: bytes, length: int | None, method: str) -> None:
    if not declared.isdigit() or len(declared) > 18:
        raise ResponseError(
            f"Content-Length is {declared.decode('latin-1')!r}, which is not a number of bytes.\n"
            "Leave it to trivet, which counts them."
        )
    # Only a handler of its own for HEAD knows the length of a body that it does not make.
    unmade = method == "HEAD" and length == 0
    if length is not None and not unmade and int(declared) != length:
        raise ResponseError(
            f"Content-Length is {int(declared)}, but the body has {length} bytes.\n"
            "Leave it to trivet, which counts them (it counts bytes, where len(text) counts characters)."
        )
