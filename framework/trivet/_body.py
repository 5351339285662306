"""JSON bodies as data: is the content type right, does it parse, does it fit the type, and every fault if it does not.

This file owns the line between 400 (not JSON), 415 (not said to be JSON) and 422 (JSON that does not fit). It is given
bytes and reads none. msgspec decodes; only the list of *all* faults, where msgspec stops at the first, is ours.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from .errors import Fault, InvalidInput

T = TypeVar("T")

FAULTS_MAX: Final = 100
"""How many faults one answer lists: a body of a million wrong items must not become a larger answer."""


def check_content(content_type: str | None, content_encoding: str | None) -> None:
    """Refuse a body that does not claim to be JSON.

    `application/json` and `application/*+json` (RFC 6839) are; a `charset` other than UTF-8 is not (RFC 8259 section
    8.1). No content coding is undone here: a bomb would be (RFC 9110 section 8.4 has 415 for it).

    Raises:
        InvalidInput: 415.
    """
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        raise InvalidInput(415, "the content coding of the body is not supported: send it as it is")
    if content_type is None:
        raise InvalidInput(415, "the body has no Content-Type: send application/json")
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise InvalidInput(415, "the body is not JSON: send Content-Type: application/json")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise InvalidInput(415, "JSON is UTF-8: send it without another charset")


class JSONDecoder:
    """Decodes bodies into one type; compiled once, at registration."""

    __slots__ = ("_decoder", "annotation")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(annotation)

    def decode(self, raw: bytes) -> Any:
        """The value in `raw`.

        Raises:
            InvalidInput: 400 if it is not JSON, 422 with every fault if it does not fit the type.
        """
        if not raw.strip(b" \t\r\n"):
            raise InvalidInput(400, "the body is empty: JSON was expected")
        try:
            # msgspec accepts bytes that are not UTF-8 inside strings it skips; the RFC does not.
            raw.decode()
            try:
                return self._decoder.decode(raw)
            except msgspec.ValidationError as error:
                # It stops at the first misfit, before it has seen whether the rest is JSON at all.
                found = faults(msgspec.json.decode(raw), self.annotation, error)
                raise InvalidInput(422, "the body does not fit", found) from None
        except UnicodeDecodeError:
            raise InvalidInput(400, "the body is not UTF-8") from None
        except RecursionError:
            raise InvalidInput(400, "the body is nested too deeply") from None
        except msgspec.DecodeError as error:
            raise InvalidInput(400, f"the body is not JSON: {_public(str(error))}") from None


def faults(document: Any, annotation: Any, first: msgspec.ValidationError) -> list[Fault]:
    """Every place where the decoded `document` does not fit `annotation`; at least `first`."""
    try:
        found = list(itertools.islice(_walk(document, annotation, ""), FAULTS_MAX))
    except (msgspec.MsgspecError, RecursionError, TypeError, NameError):
        found = []  # a type that only msgspec itself can walk: its own first fault stands
    return found or [_fault("", first)]


def _walk(value: Any, annotation: Any, pointer: str) -> Iterator[Fault]:
    """The faults of `value` and of what it holds: containers are entered, all else is left to msgspec."""
    plain = _plain(annotation)
    fields = fields_of(plain)
    origin, args = typing.get_origin(plain), typing.get_args(plain)
    before = True
    if fields is not None and isinstance(value, dict):
        for fault in _walk_fields(typing.cast("dict[str, Any]", value), fields, pointer):
            before = False
            yield fault
    elif origin in (list, set, frozenset) and isinstance(value, list):
        for index, item in enumerate(typing.cast("typing.Sequence[Any]", value)):
            for fault in _walk(item, args[0], f"{pointer}/{index}"):
                before = False
                yield fault
    elif origin is dict and isinstance(value, dict):
        for key, item in typing.cast("dict[str, Any]", value).items():
            for fault in _walk(item, args[1], f"{pointer}/{_escape(key)}"):
                before = False
                yield fault
    if before:  # nothing inside is wrong, or there is no inside: the whole decides (bounds, __post_init__, tags)
        try:
            msgspec.convert(value, annotation)
        except msgspec.ValidationError as error:
            yield _fault(pointer, error)


def _walk_fields(value: dict[str, Any], fields: Mapping[str, tuple[Any, bool]], pointer: str) -> Iterator[Fault]:
    for name, (annotation, required) in fields.items():
        place = f"{pointer}/{_escape(name)}"
        if name in value:
            yield from _walk(value[name], annotation, place)
        elif required:
            yield Fault("body", place, "is required")


def _plain(annotation: Any) -> Any:
    """Without `Annotated` and without `| None`; a union of several stays whole."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(others) == 1:
            return _plain(others[0])
    return annotation


def fields_of(annotation: Any) -> Mapping[str, tuple[Any, bool]] | None:
    """The fields of a Struct, dataclass, TypedDict or attrs class by their name in JSON: type, and whether required.

    `None`: it has none that we can walk (a tagged or array-like Struct is msgspec's own business).
    """
    if not isinstance(annotation, type):
        return None
    return _fields_of_class(annotation)


def _fields_of_class(annotation: type[Any]) -> Mapping[str, tuple[Any, bool]] | None:
    if issubclass(annotation, msgspec.Struct):
        config = annotation.__struct_config__
        if config.array_like or config.tag is not None:
            return None
        return {each.encode_name: (each.type, each.required) for each in msgspec.structs.fields(annotation)}
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        missing = dataclasses.MISSING
        return {
            each.name: (hints[each.name], each.default is missing and each.default_factory is missing)
            for each in dataclasses.fields(annotation)
            if each.init
        }
    if typing.is_typeddict(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        required: frozenset[str] = annotation.__required_keys__
        return {name: (_unrequired(hint), name in required) for name, hint in hints.items()}
    return _attrs_fields(annotation)


def _attrs_fields(annotation: type) -> Mapping[str, tuple[Any, bool]] | None:
    attributes = getattr(annotation, "__attrs_attrs__", None)
    if attributes is None:
        return None
    hints = typing.get_type_hints(annotation, include_extras=True)
    # NOTHING is attrs' own sentinel; its repr is how msgspec's users meet it too, without importing attrs.
    return {each.name: (hints[each.name], repr(each.default) == "NOTHING") for each in attributes if each.init}


def _unrequired(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Required, typing.NotRequired):
        return typing.get_args(hint)[0]
    return hint


def _escape(key: str) -> str:
    """A reference token of a JSON Pointer (RFC 6901 section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


def _fault(pointer: str, error: msgspec.ValidationError) -> Fault:
    reason, _, path = str(error).partition(" - at `$")
    for token in path.rstrip("`").replace("[", ".").replace("]", "").split("."):
        if token:
            pointer += f"/{_escape(token)}"
    return Fault("body", pointer, _public(reason))


def _public(reason: str) -> str:
    """msgspec's text without what the client sent: it quotes bad enum and tag values."""
    for quote in (" '", ' "'):
        reason = reason.split(quote, 1)[0]
    reason = reason.removeprefix("JSON is malformed: ")
    return reason[:1].lower() + reason[1:]
