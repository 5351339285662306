"""What a parameter of a handler or provider asks for, read from its annotation, marker and default.

This file owns the rules of DESIGN "Inputs" (path by name; request, nursery and uploads by type; scalars and lists of
scalars from the query; models from the body; a marker wins over all but the path) and the message for each way to break
them. It runs at registration only.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from ._annotation import bare, class_of, members, split_optional
from ._convert import Converter, converter_for
from ._document import decoder_for, holds_pydantic
from ._extract import REQUIRED, BodyParam, FileParam, FormParam, Injected, ModelParam, PathParam, RawParam, Source
from ._headers import field_name
from ._inside import fits, undecodable
from ._markers import Form, FormLimits, Marker
from ._parameter import Parameter, check_fields, marker_of, spell
from ._ported import instead_of_type
from ._texts import TextReader, sent_as

UPLOAD: Final = "upload"
"""The key of the type of files in a form: it is injectable by type, but one of the form's fields."""

_NO_LIMITS: Final = FormLimits()


def source_of(
    parameter: Parameter,
    fields: Mapping[str, Converter],
    injectable: Mapping[Any, str],
    *,
    provider: bool = False,
    socket: bool = False,
) -> Source:
    """Where the value of `parameter` comes from.

    Args:
        parameter: what is asked for; not a dependency.
        fields: the route's path fields by name.
        injectable: types that stand for an object of the request, and the key of each.
        provider: it is a provider's, which other routes may have, too: with other path fields.
        socket: the route is a WebSocket: for the message.

    Raises:
        RegistrationError: the rules give it no source.
    """
    marker = marker_of(parameter)
    if parameter.name in fields:
        return _path(parameter, fields[parameter.name], marker, provider=provider)
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        likely = f"{parameter.name}: str  (query),  {parameter.name}: Request"
        if socket:
            likely = f"{parameter.name}: WebSocket,  {parameter.name}: str  (query)"
        raise parameter.refuse(
            "has no annotation and no field of that name is in the path",
            f"Say what it is:  {likely},\nor put {{{parameter.name}}} into the path.",
        )
    texts = TextReader(parameter, next((each for each, key in injectable.items() if key == UPLOAD), None))
    if isinstance(marker, Marker):
        return _marked(parameter, marker, texts)
    key = injectable.get(annotation) if _hashable(annotation) else None
    if key is not None and key != UPLOAD:
        return Injected(parameter.name, key)
    inner = bare(split_optional(annotation)[0])
    if _hashable(inner) and injectable.get(inner, UPLOAD) != UPLOAD:
        raise parameter.refuse(
            f"is of the type {spell(annotation)}, and what stands for the request is asked for by its type alone",
            f"It is always there:  {parameter.name}: {spell(inner)}",
        )
    file = texts.file(annotation, parameter.name, texts.default)
    if file is not None:
        return FormParam(parameter.name, file, _NO_LIMITS)
    text = texts.text("query", parameter.name, annotation, texts.default)
    return text if text is not None else _body(parameter, texts.default, marked=False)


def _path(parameter: Parameter, field: Converter, marker: object, *, provider: bool) -> PathParam:
    if marker is not None:
        raise parameter.refuse(
            f"is a path field and marked with {marker!r}",
            f'Name one of them differently:  {parameter.name}_: Annotated[..., {type(marker).__name__}(alias="'
            f'{parameter.name}")]',
        )
    if parameter.default is not REQUIRED and not provider:
        raise parameter.refuse(
            "is a path field and has a default, which could never be used",
            f"Drop the default, or take {{{parameter.name}}} out of the path.",
        )
    _check_field(parameter, field)
    return PathParam(parameter.name)


def _check_field(parameter: Parameter, field: Converter) -> None:
    """Refuse a parameter that is annotated as something else than what the path field gives."""
    if parameter.annotation in (inspect.Parameter.empty, Any, object):
        return
    inner, _ = split_optional(parameter.annotation)
    converter = converter_for(inner)
    if converter is None:
        raise parameter.refuse(
            f"is a path field, and {spell(parameter.annotation)} is not a type that a segment of a path can spell",
            f"Annotate it as a scalar:  {parameter.name}: str,\nor take {{{parameter.name}}} out of the path.",
        )
    if converter.base != field.base:
        raise parameter.refuse(
            f"is a path field of type {field.name}, which is what this would be given too",
            f"Let all who take it agree:  {parameter.name}: {field.name}",
        )


def _marked(parameter: Parameter, marker: Marker, texts: TextReader) -> Source:
    where = marker.where
    if where == "body":
        return _body(parameter, texts.default, marked=True)
    name = marker.alias or sent_as(where, parameter.name)
    if where == "header":
        _check_header(parameter, name)
    part = texts.part(where, name)
    if part is None:
        kinds = "a scalar, a list of scalars, " + ("an UploadFile, " if where == "form" else "")
        raise parameter.refuse(
            f"is marked with {marker!r}, and {spell(parameter.annotation)} cannot be read from there",
            f"It is {kinds}or a model (a Struct, dataclass, TypedDict, attrs or pydantic class) of those.",
        )
    if isinstance(part, ModelParam) and marker.alias is not None:
        raise parameter.refuse(
            f"is a model, and each of its fields has a name of its own: {marker!r} names none of them",
            "Drop the alias; rename fields in the model:  msgspec.field(name=...)",
        )
    if isinstance(marker, Form):
        return FormParam(parameter.name, part, marker.limits)
    assert not isinstance(part, FileParam)
    return part


def _check_header(parameter: Parameter, name: str) -> None:
    try:
        field_name(name)
    except ValueError as error:
        raise parameter.refuse(
            f"is read from the header {name!r}, which can be no header's name ({str(error).partition(':')[0]})",
            f'Say the name:  {parameter.name}: Annotated[..., Header(alias="x-name")]',
        ) from None


def _body(parameter: Parameter, default: Any, *, marked: bool) -> BodyParam | RawParam:
    """The body, as JSON or msgpack of the annotated type, or as it came."""
    annotation = parameter.annotation
    if marked and bare(split_optional(annotation)[0]) is bytes:
        _check_default(parameter)
        return RawParam(parameter.name, default)
    remedy = (
        instead_of_type(annotation)
        or _provided(parameter)
        or (
            "A scalar (str, int, float, bool, UUID, date, datetime, an Enum, a Literal, a class with parse(text)) or\n"
            "a list of them is read from the query; a msgspec Struct, dataclass, TypedDict, attrs or pydantic class\n"
            "from the JSON body; anything else comes from a provider:  "
            f"{parameter.name}: Annotated[{spell(annotation)}, Depends(provider)]"
        )
    )
    if annotation is bytes:
        remedy = f"If it is the body as it comes, say so:  {parameter.name}: Annotated[bytes, Body()]"
    try:
        decoder = decoder_for(annotation, scalars=marked)
        unknown = None if holds_pydantic(annotation) else undecodable(annotation)
    except (TypeError, NameError, RecursionError) as error:
        raise parameter.refuse(f"cannot be read from a JSON body ({error})", remedy) from None
    if unknown is not None and (unknown[0] or unknown[1] not in members(annotation)):
        where = f"{unknown[0]} is" if unknown[0] else "it holds"
        raise parameter.refuse(
            f"cannot be read from a JSON body: {where} {spell(unknown[1])}, which nobody can decode", remedy
        )
    if decoder is None or unknown is not None:
        raise parameter.refuse(f"has a type that trivet cannot bind ({spell(annotation)})", remedy)
    check_fields(parameter)
    _check_default(parameter)
    return BodyParam(parameter.name, decoder, default, marked)


def _provided(parameter: Parameter) -> str:
    """The remedy for a type that only a provider gives, if the class says by which: `__provided_by__`."""
    annotation = bare(split_optional(parameter.annotation)[0])
    by = getattr(class_of(annotation), "__provided_by__", "")
    return f"A provider gives it:  {parameter.name}: Annotated[{spell(annotation)}, {by}]" if by else ""


def _check_default(parameter: Parameter) -> None:
    """Refuse a default that no body could have given, if it has one."""
    if parameter.default in (REQUIRED, None):
        return
    inner, _ = split_optional(parameter.annotation)
    if not fits(parameter.default, inner):
        raise parameter.refuse_default(f"it is no {spell(inner)}")


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
