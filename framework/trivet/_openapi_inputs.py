"""What an operation of OpenAPI takes: its parameters and its body, from the plan of its handler.

This file owns how each source of a plan is documented, and which statuses a request gets whose values cannot be read.
It makes no schema (`_openapi_schemas`), and knows nothing of what a handler returns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from ._document import is_pydantic
from ._extract import ABSENT, REQUIRED, FileParam, ModelParam, RawParam, TextParam
from ._language import TEXT
from ._multipart import MULTIPART, URLENCODED
from ._openapi_schemas import Schema, Schemas
from ._pattern import Pattern
from ._plan import FormPlan, Plan

IGNORED: Final = frozenset({"accept", "content-type", "authorization"})
"""Headers that OpenAPI has other places for: "the parameter definition SHALL be ignored" (3.1, Parameter Object)."""

BINARY: Final[Schema] = {"type": "string", "format": "binary"}
"""A file, as tools of 3.0 know it and those of 3.1 still take it; 3.1 itself says nothing, by saying `{}`."""


def parameters_of(plan: Plan, pattern: Pattern, names: Mapping[str, str], schemas: Schemas) -> list[Schema]:
    """The parameters of an operation.

    Args:
        plan: of its handler.
        pattern: of its route.
        names: what each field of the path is called in the document.
        schemas: makes the schemas.
    """
    found = [_path_field(pattern, name, names[name], schemas) for name in pattern.fields]
    merged: dict[tuple[str, str], Schema] = {}
    for _, source in plan.head:
        for parameter in _documented(source, schemas):
            key = parameter["in"], parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
            if parameter["in"] == "header" and key[1] in IGNORED:
                continue
            # Two that read the same one: whoever requires it decides.
            first = merged.setdefault(key, parameter)
            if parameter.get("required"):
                first["required"] = True
    return [*found, *merged.values()]


def _path_field(pattern: Pattern, name: str, called: str, schemas: Schemas) -> Schema:
    converter = pattern.fields[name]
    schema = schemas.of_text(converter.type, converter)
    parameter: Schema = {"name": called, "in": "path", "required": True, "schema": schema}
    if converter.base is str:  # an empty segment matches no field
        schemas.later(lambda: schema.update(minLength=max(1, schema.get("minLength", 0))))
    schemas.later(partial(_lift, parameter))
    return parameter


def _documented(source: TextParam | ModelParam, schemas: Schemas) -> Iterator[Schema]:
    for each, schema in _fields(source, schemas):
        assert isinstance(each, TextParam)
        parameter: Schema = {"name": each.name, "in": each.where}
        if each.required and (source is each or source.default is REQUIRED):
            parameter["required"] = True
        parameter["schema"] = schema
        schemas.later(partial(_lift, parameter))
        yield parameter


def _lift(parameter: Schema) -> None:
    """Put where OpenAPI looks for it what a schema says of the parameter as a whole."""
    schema: Schema = parameter["schema"]
    if "$ref" not in schema:
        for name in ("description", "deprecated"):
            if name in schema:
                parameter[name] = schema.pop(name)
    parameter["schema"] = parameter.pop("schema")  # last, for readers


def _fields(
    source: TextParam | ModelParam | FileParam, schemas: Schemas
) -> Iterator[tuple[TextParam | FileParam, Schema]]:
    """What is read one by one, each with its schema."""
    if not isinstance(source, ModelParam):
        yield source, _with_default(_schema(source, schemas), source.default, schemas)
        return
    defaults = _defaults(source.annotation)
    for member in source.members:
        each = member.source
        if is_pydantic(source.annotation) and isinstance(each, TextParam):
            yield each, _pydantic_field(source.annotation, member.key, schemas)
        else:
            yield each, _with_default(_schema(each, schemas), defaults.get(member.key, ABSENT), schemas)


def _schema(source: TextParam | FileParam, schemas: Schemas) -> Schema:
    several = source.several is not None
    if isinstance(source, FileParam):
        return {"type": "array", "items": dict(BINARY)} if several else dict(BINARY)
    return schemas.of_text(source.annotation, source.converter, several=several)


def _pydantic_field(model: Any, name: str, schemas: Schemas) -> Schema:
    infos: Mapping[str, Any] = model.__pydantic_fields__
    aliased = (
        key
        for key, info in infos.items()
        if name in (info.validation_alias or info.alias, *getattr(info.validation_alias, "choices", ()))
    )
    return schemas.of_field(model, next(aliased, name))


def _with_default(schema: Schema, default: Any, schemas: Schemas) -> Schema:
    if default is not REQUIRED and default is not ABSENT and default is not None:
        schemas.later(lambda: schema.update(default=msgspec.to_builtins(default, enc_hook=str)))
    return schema


def _defaults(model: type[Any]) -> Mapping[str, Any]:
    """The defaults of a model's fields, as far as they are values."""
    if issubclass(model, msgspec.Struct):
        return {
            each.name: each.default for each in msgspec.structs.fields(model) if each.default is not msgspec.NODEFAULT
        }
    if dataclasses.is_dataclass(model):
        fields = dataclasses.fields(model)
        return {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}
    attributes: Iterable[Any] = getattr(model, "__attrs_attrs__", ())
    # attrs' sentinel and its factories are told by their names, so that attrs need not be there.
    plain = [each for each in attributes if type(each.default).__module__.partition(".")[0] not in ("attr", "attrs")]
    return {getattr(each, "alias", None) or each.name: each.default for each in plain}


def body_of(plan: Plan, schemas: Schemas) -> Schema | None:
    """The body that an operation takes, if its handler or a provider reads one."""
    if plan.form is not None:
        schema = _form(plan.form, schemas)
        # Files travel in multipart forms only; a form without any may come as either.
        types = (MULTIPART,) if plan.form.multipart else (URLENCODED, MULTIPART)
        required = any(part.required for _, part in plan.form.fields)
        # A part of a multipart form that has no name is malformed; an urlencoded field may have none.
        named = {**schema, "propertyNames": {"minLength": 1}}
        return _body({each: {"schema": named if each == MULTIPART else schema} for each in types}, required=required)
    if plan.body is None:
        return None
    source = plan.body[1]
    if isinstance(source, RawParam):
        return _body({"application/octet-stream": {"schema": dict(BINARY)}}, required=source.required)
    schema = schemas.of(source.annotation)
    return _body({each: {"schema": schema} for each in source.decoder.media_types}, required=source.required)


def _body(content: Schema, *, required: bool) -> Schema:
    return {"required": True, "content": content} if required else {"content": content}


def _form(form: FormPlan, schemas: Schemas) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    closed = False
    for _, part in form.fields:
        for each, schema in _fields(part, schemas):
            properties[each.name] = schema
            if each.required and (part is each or part.default is REQUIRED) and each.name not in required:
                required.append(each.name)
        closed = closed or (isinstance(part, ModelParam) and part.known is not None)
    whole: Schema = {"type": "object", "properties": properties}
    if required:
        whole["required"] = required
    if closed:
        whole["additionalProperties"] = False
    return whole


def faults_of(plan: Plan, max_body: int | None) -> Iterator[tuple[int, str]]:
    """The statuses of requests that cannot be read, and what each means; paths aside, which are matched before."""
    reads = plan.body is not None or plan.form is not None
    raw = plan.body is not None and isinstance(plan.body[1], RawParam)
    if plan.queries or (reads and not raw):
        yield (
            400,
            "The query or the body is malformed."
            if plan.queries and reads
            else ("The query is malformed." if plan.queries else "The body is malformed."),
        )
    if reads:
        yield 408, "The body took too long to come."
    if plan.form is not None or (reads and max_body is not None):
        yield 413, "The body is too large."
    if reads:
        yield 415, "The body is of a type, or has a coding, that is not read here."
    if (reads and not raw) or any(_can_fail(source) for _, source in plan.head):
        yield 422, "A value does not fit; `errors` says which, and why."


def _can_fail(source: TextParam | ModelParam) -> bool:
    """Whether there are texts that it refuses. A model may have a check of its own."""
    if isinstance(source, ModelParam) or source.required or source.converter.language != TEXT:
        return True
    # A second one is refused, but for headers, where two are one with a comma between.
    return source.several is None and source.where != "header"
