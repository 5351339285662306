"""The body as a document of one type: which decoder reads it, by its content type and by what the type is.

This file owns that choice: JSON and msgpack for all that msgspec knows, pydantic itself for whatever holds a pydantic
model. Where the line runs between 400, 415 and 422 is `_body`'s. It is given bytes and reads none.
"""

from __future__ import annotations

import importlib
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import msgspec

from ._body import JSONDecoder, Syntax, decoded, syntax_of, utf8
from ._faults import escape, pointed_out
from .errors import Fault, InvalidInput

_CLASS: Final = re.compile(r"<class '(?:[^']*\.)?([^'.]+)'>")

MEDIA_TYPES: Final = ("application/json", "application/msgpack")


class DocumentDecoder:
    """Decodes bodies into one type; compiled once, at registration.

    Args:
        annotation: what msgspec or pydantic can decode.

    Raises:
        TypeError: neither can.
    """

    __slots__ = ("_readers", "annotation")

    media_types: ClassVar[Sequence[str]] = MEDIA_TYPES
    """What a client may send; the first is what we show."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._readers: dict[Syntax, Callable[[bytes], Any]]
        if holds_pydantic(annotation):
            adapter = Pydantic(annotation)
            self._readers = {"json": adapter.json, "msgpack": adapter.msgpack}
        else:
            packed: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(annotation)
            self._readers = {
                "json": JSONDecoder(annotation).decode,
                "msgpack": lambda raw: decoded(raw, packed.decode, msgspec.msgpack.decode, annotation, "msgpack"),
            }

    def check(self, content_type: str | None, content_encoding: str | None) -> Syntax:
        """How the body is written.

        Raises:
            InvalidInput: 415.
        """
        return syntax_of(content_type, content_encoding, ("json", "msgpack"))

    def decode(self, raw: bytes, syntax: Syntax = "json") -> Any:
        """The value in `raw`.

        Raises:
            InvalidInput: 400 if it is not what its content type says, 422 with every fault if it does not fit the type.
        """
        return self._readers[syntax](raw)


def is_pydantic(annotation: Any) -> bool:
    """Whether this is a pydantic model (or dataclass), told without importing pydantic."""
    return isinstance(annotation, type) and hasattr(annotation, "__pydantic_validator__")


def holds_pydantic(annotation: Any) -> bool:
    """Whether a pydantic model is anywhere in a type."""
    if is_pydantic(annotation):
        return True
    if typing.get_origin(annotation) is typing.Annotated:
        return holds_pydantic(typing.get_args(annotation)[0])
    return any(holds_pydantic(each) for each in typing.get_args(annotation))


def decoder_for(annotation: Any, *, scalars: bool) -> DocumentDecoder | None:
    """The decoder of a type that is read from a body; `None`: it is not meant for one.

    There may be types inside of it that nobody can decode, see `_inside`.

    Args:
        annotation: the type.
        scalars: a scalar, or a union with one, is meant for a body too: its parameter says so.

    Raises:
        TypeError, NameError, RecursionError: the type cannot be read at all.
    """
    if holds_pydantic(annotation):
        return DocumentDecoder(annotation)
    info = msgspec.inspect.type_info(annotation)
    return DocumentDecoder(annotation) if scalars or _is_document(info) else None


_DOCUMENTS: Final = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
    msgspec.inspect.ListType,
    msgspec.inspect.SetType,
    msgspec.inspect.FrozenSetType,
    msgspec.inspect.TupleType,
    msgspec.inspect.VarTupleType,
    msgspec.inspect.DictType,
)


def _is_document(info: msgspec.inspect.Type) -> bool:
    """Whether a type can only mean a body.

    msgspec decodes far more: any class (and leaves it to hooks that we do not have), and scalars. Those are refused
    here rather than read from a body by surprise.
    """
    if isinstance(info, msgspec.inspect.Metadata):
        return _is_document(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        members = [each for each in info.types if not isinstance(each, msgspec.inspect.NoneType)]
        return all(_is_document(each) for each in members)
    return isinstance(info, _DOCUMENTS)


class Pydantic:
    """A type that pydantic validates, for bodies and for what is read field by field."""

    __slots__ = ("_adapter", "_error")

    def __init__(self, annotation: Any) -> None:
        # It is installed, or nobody could have derived a model from its class; we do not ask for it ourselves.
        pydantic: Any = importlib.import_module("pydantic")
        try:
            self._adapter: Any = pydantic.TypeAdapter(annotation)
        except pydantic.PydanticUserError as error:
            raise TypeError(_CLASS.sub(r"\1", str(error).partition("\n")[0].partition(". ")[0])) from None
        self._error: type[ValueError] = pydantic.ValidationError

    def json(self, raw: bytes) -> Any:
        """The value of a JSON document."""
        utf8(raw)
        return self._body(self._adapter.validate_json, raw)

    def msgpack(self, raw: bytes) -> Any:
        """The value of a msgpack document."""
        return self._body(self._adapter.validate_python, decoded(raw, msgspec.msgpack.decode, None, Any, "msgpack"))

    def _body(self, validate: Callable[[Any], Any], given: Any) -> Any:
        try:
            return validate(given)
        except self._error as error:
            faults = [Fault("body", pointer, reason) for pointer, reason in self._reasons(error)]
            raise InvalidInput(422, "the body does not fit", faults) from None

    def build(self, given: dict[str, Any] | str) -> tuple[Any, list[tuple[str, str]]]:
        """The model of these texts; or `None`, and why not: the name of each wrong field, and the reason."""
        try:
            return self._adapter.validate_python(given), []
        except self._error as error:
            return None, [(pointer.strip("/"), reason) for pointer, reason in self._reasons(error)]

    def _reasons(self, error: Any) -> list[tuple[str, str]]:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        for each in found:
            if each["type"] == "json_invalid" and "number out of range" in each["msg"]:  # as msgspec's is in `_body`
                return [("", "a number is out of range")]
            if each["type"] == "json_invalid":
                raise InvalidInput(400, "the body is not JSON") from None
        return pointed_out(
            ("".join(f"/{escape(str(token))}" for token in each["loc"]), each["msg"][:1].lower() + each["msg"][1:])
            for each in found
        )
