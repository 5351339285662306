"""What a parameter of a handler or provider asks for, read from its annotation, marker and default.

This file owns the rules of DESIGN "Inputs" (path by name; request, nursery and uploads by type; scalars and lists of
scalars from the query; models from the body; a marker wins over all but the path) and the message for each way to break
them. It runs at registration only.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal

from ._annotation import bare, split_optional
from ._convert import STR, Converter, converter_for
from ._document import decoder_for
from ._extract import (
    ABSENT,
    REQUIRED,
    BodyParam,
    Container,
    FileParam,
    FormParam,
    Injected,
    ModelField,
    ModelParam,
    PathParam,
    RawParam,
    Source,
    TextParam,
    Where,
    refuse_files,
)
from ._headers import field_name
from ._markers import Form, FormLimits, Marker
from ._models import Field, Shape, shape_of
from ._parameter import Parameter, marker_of, spell
from ._ported import instead_of_type

CONTAINERS: Final[Mapping[Any, Container]] = {list: list, set: set, frozenset: frozenset, tuple: tuple}

UPLOAD: Final = "upload"
"""The key of the type of files in a form: it is injectable by type, but one of the form's fields."""

_NO_LIMITS: Final = FormLimits()


def source_of(
    parameter: Parameter, fields: Mapping[str, Converter], injectable: Mapping[Any, str], *, provider: bool = False
) -> Source:
    """Where the value of `parameter` comes from.

    Args:
        parameter: what is asked for; not a dependency.
        fields: the route's path fields by name.
        injectable: types that stand for an object of the request, and the key of each.
        provider: it is a provider's, which other routes may have, too: with other path fields.

    Raises:
        RegistrationError: the rules give it no source.
    """
    marker = marker_of(parameter)
    if parameter.name in fields:
        return _path(parameter, fields[parameter.name], marker, provider=provider)
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        raise parameter.refuse(
            "has no annotation and no field of that name is in the path",
            f"Say what it is:  {parameter.name}: str  (query),  {parameter.name}: Request,\n"
            f"or put {{{parameter.name}}} into the path.",
        )
    reader = _Reader(parameter, injectable)
    if isinstance(marker, Marker):
        return reader.marked(marker)
    key = injectable.get(annotation) if _hashable(annotation) else None
    if key is not None and key != UPLOAD:
        return Injected(parameter.name, key)
    file = reader.file(annotation, parameter.name, reader.default)
    if file is not None:
        return FormParam(parameter.name, file, _NO_LIMITS)
    text = reader.text("query", parameter.name, annotation, reader.default)
    return text if text is not None else reader.body(marked=False)


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


class _Reader:
    """Finds the source of one parameter that is not a path field."""

    def __init__(self, parameter: Parameter, injectable: Mapping[Any, str]) -> None:
        self.parameter = parameter
        self.injectable = injectable
        _, optional = split_optional(parameter.annotation)
        self.default = None if optional and parameter.default is REQUIRED else parameter.default

    def marked(self, marker: Marker) -> Source:
        """By the parameter's marker."""
        parameter = self.parameter
        where = marker.where
        if where == "body":
            return self.body(marked=True)
        name = marker.alias or sent_as(where, parameter.name)
        if where == "header":
            self._check_header(name)
        part = self._part(where, name)
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

    def _part(self, where: Where, name: str) -> TextParam | ModelParam | FileParam | None:
        annotation = self.parameter.annotation
        if where == "form" and (file := self.file(annotation, name, self.default)) is not None:
            return file
        return self.text(where, name, annotation, self.default) or self._model(where)

    def file(self, annotation: Any, name: str, default: Any) -> FileParam | None:
        """The source of an `UploadFile`, an optional one, or a list of them; `None`: it is something else."""
        inner = bare(split_optional(annotation)[0])
        container: Container | None = None
        if (found := _items(inner)) is not None:
            inner, container = found
        if not _hashable(inner) or self.injectable.get(inner) != UPLOAD:
            return None
        if default not in (REQUIRED, ABSENT, None) and default != []:
            raise self.parameter.refuse(
                f"is a file and has the default {default!r}",
                f"A file that need not be there is optional:  {self.parameter.name}: UploadFile | None = None",
            )
        return FileParam(name, container, default)

    def text(self, where: Where, name: str, annotation: Any, default: Any) -> TextParam | None:
        """The source of a scalar, an optional, or a list of scalars; `None`: it is something else."""
        inner, _ = split_optional(annotation)
        converter, container = converter_for(inner), None
        if converter is None:
            self._check_items(bare(inner))
            found = _items(bare(inner))
            if found is None:
                return None
            converter, container = converter_for(found[0]), found[1]
            if converter is None:
                return None
        if where == "cookie" and container is not None:
            raise self.parameter.refuse(
                "is a list, and a cookie has one value", f"Read it as one text:  {name}: Annotated[str, Cookie()]"
            )
        self._check_default(converter, container, default)
        if where == "form":
            converter = dataclasses.replace(converter, parse=refuse_files(converter.parse))
        copied = isinstance(default, list | set | dict)
        return TextParam(where, name, annotation, converter, container, default, copied)

    def _check_items(self, inner: Any) -> None:
        if inner in (list, set, frozenset, tuple, dict, typing.List, typing.Dict, typing.Set, typing.Tuple):  # noqa: UP006
            name = getattr(inner, "__name__", str(inner)).lower()
            example = (
                f"{name}[str, int]" if "dict" in name else "tuple[str, ...]" if "tuple" in name else f"{name}[str]"
            )
            raise self.parameter.refuse(
                f"is a container without item type ({name})", f"Say what it holds:  {self.parameter.name}: {example}"
            )

    def _check_default(self, converter: Converter, container: Container | None, default: Any) -> None:
        if default is REQUIRED or default is None or default is ABSENT:
            return
        items = [default] if container is None or isinstance(default, str) else default
        try:
            if container is not None and isinstance(default, str):
                raise TypeError("one text is not several")
            for item in items:
                converter.parse(converter.format(item))
        except (ValueError, TypeError) as error:
            raise self.parameter.refuse(
                f"has a default, {self.parameter.default!r}, that is not what it takes ({converter.name}: {error})",
                "Give a default of the annotated type, or annotate it as optional:  "
                f"{self.parameter.name}: {spell(self.parameter.annotation)} | None = None",
            ) from None

    def _check_header(self, name: str) -> None:
        try:
            field_name(name)
        except ValueError as error:
            raise self.parameter.refuse(
                f"is read from the header {name!r}, which can be no header's name ({str(error).partition(':')[0]})",
                f'Say the name:  {self.parameter.name}: Annotated[..., Header(alias="x-name")]',
            ) from None

    def _model(self, where: Where) -> ModelParam | None:
        model = bare(split_optional(self.parameter.annotation)[0])
        shape = shape_of(model)
        if shape is None:
            return None
        members = tuple(ModelField(each.key, self._member(where, model, shape, each)) for each in shape.fields)
        known = frozenset(member.source.name for member in members) if shape.strict and where != "header" else None
        return ModelParam(where, model, members, shape.build, self.default, known)

    def _member(self, where: Where, model: type[Any], shape: Shape, field: Field) -> TextParam | FileParam:
        name = field.name if field.name != field.key else sent_as(where, field.key)
        default = REQUIRED if field.required else ABSENT
        source: TextParam | FileParam | None = None
        if where == "form":
            source = self.file(field.annotation, name, default)
        if source is None and shape.texts:  # pydantic converts texts by rules of its own, which its users expect
            found = _items(bare(split_optional(field.annotation)[0]))
            source = TextParam(where, name, field.annotation, STR, None if found is None else found[1], default)
        if source is None:
            source = self.text(where, name, field.annotation, default)
        if source is None:
            raise self.parameter.refuse(
                f"is a model that is read field by field, and {model.__name__}.{field.key} "
                f"({spell(field.annotation)}) is neither a scalar nor a list of scalars",
                f"Send it as JSON instead:  {self.parameter.name}: {model.__name__}",
            )
        return source

    def body(self, *, marked: bool) -> BodyParam | RawParam:
        """The body, as JSON or msgpack of the annotated type, or as it came."""
        parameter = self.parameter
        annotation = parameter.annotation
        if marked and bare(split_optional(annotation)[0]) is bytes:
            return RawParam(parameter.name, self.default)
        remedy = instead_of_type(annotation) or (
            "A scalar (str, int, float, bool, UUID, date, datetime, an Enum, a Literal, a class with parse(text)) or\n"
            "a list of them is read from the query; a msgspec Struct, dataclass, TypedDict, attrs or pydantic class\n"
            "from the JSON body; anything else comes from a provider:  "
            f"{parameter.name}: Annotated[{spell(annotation)}, Depends(provider)]"
        )
        if annotation is bytes:
            remedy = f"If it is the body as it comes, say so:  {parameter.name}: Annotated[bytes, Body()]"
        try:
            decoder = decoder_for(annotation, scalars=marked)
        except (TypeError, NameError, RecursionError) as error:
            raise parameter.refuse(f"cannot be read from a JSON body ({error})", remedy) from None
        if decoder is None:
            raise parameter.refuse(f"has a type that trivet cannot bind ({spell(annotation)})", remedy)
        return BodyParam(parameter.name, decoder, self.default)


def sent_as(where: Literal["query", "header", "cookie", "form"], name: str) -> str:
    """A Python name as clients spell it there: a header has hyphens, and no name ends in the `_` of `from_`."""
    return name.rstrip("_").replace("_", "-") if where == "header" else name


def _items(inner: Any) -> tuple[Any, Container] | None:
    """The item type of a list, set, frozenset or `tuple[T, ...]`, and what makes the container."""
    origin, args = typing.get_origin(inner), typing.get_args(inner)
    if origin in CONTAINERS and (origin is not tuple or (len(args) == 2 and args[1] is ...)):
        return args[0], CONTAINERS[origin]
    return None


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
