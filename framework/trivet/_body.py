"""Bodies as data: is the content type right, do they parse, do they fit the type, and every fault if they do not.

This file owns the line between 400 (not JSON), 415 (not said to be JSON) and 422 (JSON that does not fit); msgpack has
the same. It is given bytes and reads none. msgspec decodes; which faults there are beside the first, `_faults` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ._annotation import resolved
from ._faults import faults, public
from .errors import Fault, InvalidInput

Syntax: TypeAlias = Literal["json", "msgpack"]

_MSGPACK: Final = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})


def check_coding(content_encoding: str | None) -> None:
    """Refuse a body with a content coding: none is undone here, for a bomb would be (RFC 9110 section 8.4).

    Raises:
        InvalidInput: 415.
    """
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        raise InvalidInput(415, "the content coding of the body is not supported: send it as it is")


def media_type(content_type: str) -> tuple[str, str]:
    """A content type as its media type, in lower case, and its parameters, as they came."""
    media, _, parameters = content_type.partition(";")
    return media.strip().lower(), parameters


def syntax_of(content_type: str | None, content_encoding: str | None, accepted: Sequence[Syntax] = ("json",)) -> Syntax:
    """How a body is written, told by its content type.

    `application/json` and `application/*+json` (RFC 6839) are JSON; a `charset` other than UTF-8 is not (RFC 8259
    section 8.1). msgpack is known by the three names that its users have.

    Raises:
        InvalidInput: 415, it is not written in one of `accepted`, or does not say.
    """
    check_coding(content_encoding)
    if content_type is None:
        raise InvalidInput(415, "the body has no Content-Type: send application/json")
    media, parameters = media_type(content_type)
    if media in _MSGPACK and "msgpack" in accepted:
        return "msgpack"
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise InvalidInput(415, "the body is not JSON: send Content-Type: application/json")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise InvalidInput(415, "JSON is UTF-8: send it without another charset")
    return "json"


def utf8(raw: bytes) -> None:
    """Refuse bytes that are no JSON text whatever they spell.

    Raises:
        InvalidInput: 400.
    """
    if not raw.strip(b" \t\r\n"):
        raise InvalidInput(400, "the body is empty: JSON was expected")
    try:
        # msgspec accepts bytes that are not UTF-8 inside strings it skips; the RFC does not.
        raw.decode()
    except UnicodeDecodeError:
        raise InvalidInput(400, "the body is not UTF-8") from None


def decoded(
    raw: bytes,
    decode: Callable[[bytes], Any],
    untyped: Callable[[bytes], Any] | None,
    annotation: Any,
    name: str,
) -> Any:
    """What `decode` makes of `raw`.

    Args:
        raw: the body.
        decode: to the type.
        untyped: to whatever it holds, to find every fault in that; `None`: `decode` takes any type.
        annotation: the type.
        name: of the syntax, for messages.

    Raises:
        InvalidInput: 400 if it is not written in this syntax, 422 with every fault if it does not fit the type.
    """
    if not raw:
        raise InvalidInput(400, f"the body is empty: {name} was expected")
    try:
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            # It stops at the first misfit, before it has seen whether the rest can be read at all.
            found = faults(None if untyped is None else untyped(raw), annotation, error)
            raise InvalidInput(422, "the body does not fit", found) from None
    except RecursionError:
        raise InvalidInput(400, "the body is nested too deeply") from None
    except msgspec.DecodeError as error:
        if "out of range" in str(error):  # JSON (RFC 8259 section 6 sets no bounds), but no number of ours
            raise InvalidInput(422, "the body does not fit", [Fault("body", "", "a number is out of range")]) from None
        raise InvalidInput(400, f"the body is not {name}: {public(str(error))}") from None
    except UnicodeDecodeError:  # a text of msgpack; JSON was looked at before
        raise InvalidInput(400, f"the body is not {name}: a text in it is not UTF-8") from None


class JSONDecoder:
    """Decodes bodies into one type. To make one takes longer than to decode most bodies."""

    __slots__ = ("_decoder", "annotation")

    def __init__(self, annotation: Any) -> None:
        self.annotation = resolved(annotation)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self.annotation)

    def decode(self, raw: bytes) -> Any:
        """The value in `raw`.

        Raises:
            InvalidInput: 400 if it is not JSON, 422 with every fault if it does not fit the type.
        """
        utf8(raw)
        return decoded(raw, self._decoder.decode, msgspec.json.decode, self.annotation, "JSON")


def decoder_of(annotation: Any) -> JSONDecoder:
    """The decoder into a type that is known only when there is something to decode; it is kept.

    Raises:
        TypeError: nothing can be decoded into such a type.
    """
    try:
        hash(annotation)
    except TypeError:  # an `Annotated` with a list in it, say
        return JSONDecoder(annotation)
    return _kept(annotation)


_kept: Final = lru_cache(maxsize=256)(JSONDecoder)
