"""Bodies as data: is the content type right, do they parse, do they fit the type, and every fault if they do not.

This file owns the line between 400 (not JSON), 415 (not said to be JSON) and 422 (JSON that does not fit); msgpack has
the same. It is given bytes and reads none. msgspec decodes; only the list of *all* faults, where msgspec stops at the
first, is ours.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from .errors import Fault, InvalidInput

T = TypeVar("T")

FAULTS_MAX: Final = 100
"""How many faults one answer lists: a body of a million wrong items must not become a larger answer."""
LOOKS_MAX: Final = 10_000
"""How many members of wrong containers are looked at one by one, which costs far more than decoding them did."""
DEPTH_MAX: Final = 16
"""How deep faults are told apart: each level may look at all that is below it once more."""
TOKEN_MAX: Final = 100
"""Characters of a key in a pointer: a key of a megabyte must not be repeated in each of a hundred faults."""


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
            raise InvalidInput(422, "the body does not fit", [Fault("body", "", "has a number out of range")]) from None
        raise InvalidInput(400, f"the body is not {name}: {_public(str(error))}") from None
    except UnicodeDecodeError:  # a text of msgpack; JSON was looked at before
        raise InvalidInput(400, f"the body is not {name}: a text in it is not UTF-8") from None


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
        utf8(raw)
        return decoded(raw, self._decoder.decode, msgspec.json.decode, self.annotation, "JSON")


def faults(document: Any, annotation: Any, first: msgspec.ValidationError) -> list[Fault]:
    """Every place where the decoded `document` does not fit `annotation`, up to the bounds above; at least `first`."""
    try:
        found = list(itertools.islice(_Walk().faults(document, annotation, "", 0), FAULTS_MAX))
    except (msgspec.MsgspecError, RecursionError, TypeError, NameError):
        found = []  # a type that only msgspec itself can walk: its own first fault stands
    return found or [_fault("", first)]


def pointed_out(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """As many pointers and reasons as one answer lists."""
    return list(itertools.islice(found, FAULTS_MAX))


class _Walk:
    """One search for faults, which looks closer only where msgspec finds one.

    A part that fits costs one call, however large it is. Of a part that does not, at most `LOOKS_MAX` members are
    looked at one by one, `DEPTH_MAX` levels deep; beyond that the first fault stands for all.
    """

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks = LOOKS_MAX

    def faults(self, value: Any, annotation: Any, pointer: str, depth: int) -> Iterator[Fault]:
        """The faults of `value` and of what it holds."""
        self._looks -= 1
        try:
            msgspec.convert(value, annotation, str_keys=True)
            return
        except msgspec.ValidationError as error:
            first = error
        inside = False
        for fault in self._inside(value, _plain(annotation), pointer, depth) if depth < DEPTH_MAX else ():
            inside = True
            yield fault
        if not inside:  # or there is no inside: the whole decides (bounds, __post_init__, tags)
            yield _fault(pointer, first)

    def _inside(self, value: Any, plain: Any, pointer: str, depth: int) -> Iterator[Fault]:
        fields = fields_of(plain)
        if fields is not None and isinstance(value, dict):
            yield from _field_names(typing.cast("dict[str, Any]", value), plain, fields, pointer)
        for token, member, annotation in _members(value, plain, fields):
            if self._looks <= 0:
                return
            yield from self.faults(member, annotation, f"{pointer}/{escape(token)}", depth + 1)


def _members(value: Any, plain: Any, fields: Mapping[str, tuple[Any, bool]] | None) -> Iterator[tuple[str, Any, Any]]:
    """What a container holds, as far as each member has a type of its own: name, value, annotation."""
    origin, args = typing.get_origin(plain), typing.get_args(plain)
    if fields is not None and isinstance(value, dict):
        found = typing.cast("dict[str, Any]", value)
        yield from ((name, found[name], annotation) for name, (annotation, _) in fields.items() if name in found)
    elif origin in (list, set, frozenset) and isinstance(value, list):
        items = typing.cast("typing.Sequence[Any]", value)
        yield from ((str(index), item, args[0]) for index, item in enumerate(items))
    elif origin is dict and isinstance(value, dict):
        yield from ((key, item, args[1]) for key, item in typing.cast("dict[str, Any]", value).items())


def _field_names(
    value: dict[str, Any], plain: type[Any], fields: Mapping[str, tuple[Any, bool]], pointer: str
) -> Iterator[Fault]:
    for name, (_, required) in fields.items():
        if required and name not in value:
            yield Fault("body", f"{pointer}/{escape(name)}", "is required")
    if issubclass(plain, msgspec.Struct) and plain.__struct_config__.forbid_unknown_fields:
        for name in value:
            if name not in fields:
                yield Fault("body", f"{pointer}/{escape(name)}", "is not a known field")


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
        return typed_dict_fields(annotation)
    return _attrs_fields(annotation)


def _attrs_fields(annotation: type) -> Mapping[str, tuple[Any, bool]] | None:
    attributes = getattr(annotation, "__attrs_attrs__", None)
    if attributes is None:
        return None
    hints = typing.get_type_hints(annotation, include_extras=True)
    # NOTHING is attrs' own sentinel; its repr is how msgspec's users meet it too, without importing attrs.
    return {each.name: (hints[each.name], repr(each.default) == "NOTHING") for each in attributes if each.init}


def typed_dict_fields(annotation: type[Any]) -> dict[str, tuple[Any, bool]]:
    """The keys of a TypedDict: type, and whether required.

    `__required_keys__` alone does not know: where annotations are strings, it has not seen `NotRequired`.
    """
    required: frozenset[str] = annotation.__required_keys__
    found: dict[str, tuple[Any, bool]] = {}
    for name, hint in typing.get_type_hints(annotation, include_extras=True).items():
        origin = typing.get_origin(hint)
        bare = typing.get_args(hint)[0] if origin in (typing.Required, typing.NotRequired) else hint
        found[name] = bare, origin is typing.Required or (name in required and origin is not typing.NotRequired)
    return found


def escape(key: str) -> str:
    """A reference token of a JSON Pointer (RFC 6901 section 3); a long one is cut."""
    key = key if len(key) <= TOKEN_MAX else f"{key[:TOKEN_MAX]}…"
    return key.replace("~", "~0").replace("/", "~1")


def _fault(pointer: str, error: msgspec.ValidationError) -> Fault:
    """msgspec's own fault. It names a place as "$.a[0]", and one below a key that it does not name as "$[...]"."""
    reason, _, place = str(error).rpartition(" - at ") if " - at " in str(error) else (str(error), "", "")
    if place.startswith("`key` in "):
        reason = f"a key does not fit: {reason[:1].lower()}{reason[1:]}"
        place = place.removeprefix("`key` in ")
    named = place.strip("`$").partition("[...]")[0]
    for token in named.replace("[", ".").replace("]", "").split("."):
        if token:
            pointer += f"/{escape(token)}"
    return Fault("body", pointer, _public(reason))


def _public(reason: str) -> str:
    """msgspec's text without what the client sent: it quotes bad enum and tag values."""
    if reason.startswith(("Invalid enum value ", "Invalid value ")):
        reason = "Is not one of the allowed values"
    reason = reason.removeprefix("JSON is malformed: ").removeprefix("MessagePack data is malformed: ")
    return reason[:1].lower() + reason[1:]
