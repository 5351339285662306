"""The schemas of an OpenAPI document: JSON Schema 2020-12, which OpenAPI 3.1 takes as it is.

This file owns which schema a type has, and the names of components. msgspec and pydantic write the schemas; what is
added here is what a text of the request cannot be or must be (`_convert`), which they do not know. Where a schema
stands in the document is not this file's business: it hands out dictionaries that `finish` fills.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import inspect as inspection

from ._annotation import split_optional
from ._convert import Converter
from ._document import holds_pydantic, is_pydantic
from ._language import Integers, Opaque

Schema: TypeAlias = dict[str, Any]

Mode: TypeAlias = Literal["validation", "serialization"]
"""What comes, or what goes: a model of pydantic's may have a form for each."""

REF: Final = "#/components/schemas/{}"

_COMPONENTS: Final = (
    inspection.StructType,
    inspection.TypedDictType,
    inspection.DataclassType,
    inspection.NamedTupleType,
    inspection.EnumType,
)

PROBLEM: Final[Schema] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "A URI of the kind of problem.", "default": "about:blank"},
        "title": {"type": "string", "description": "What went wrong in general."},
        "status": {"type": "integer", "description": "The status of the response."},
        "detail": {"type": "string", "description": "What went wrong this time."},
        "instance": {"type": "string", "description": "The id of the request, as it stands in the log of the server."},
        "errors": {
            "type": "array",
            "description": "With 422: each value that does not fit.",
            "items": {
                "type": "object",
                "properties": {
                    "in": {"enum": ["path", "query", "header", "cookie", "body", "form"]},
                    "name": {"type": "string", "description": "Its name; in a body a JSON Pointer (RFC 6901)."},
                    "reason": {"type": "string"},
                },
                "required": ["in", "name", "reason"],
            },
        },
    },
    "required": ["type", "title", "status"],
}


class Schemas:
    """Collects the types of a document. Each schema it gives is empty until `finish`."""

    def __init__(self) -> None:
        self._asked: list[tuple[Any, Schema]] = []
        self._of_pydantic: list[tuple[Any, Mode, Schema]] = []
        self._of_fields: list[tuple[Any, str, Schema]] = []
        self._within: dict[Any, tuple[str, Schema]] = {}
        """Pydantic's models in types of msgspec's, each with what stands for its name there until it has one."""
        self._problems: list[Schema] = []
        self._later: list[Callable[[], None]] = []

    def of(self, annotation: Any, mode: Mode = "validation") -> Schema:
        """The schema of a type; what nobody can describe is `{}`, which allows all."""
        schema: Schema = {}
        if holds_pydantic(annotation):
            self._of_pydantic.append((annotation, mode, schema))
        else:
            self._asked.append((annotation, schema))
        return schema

    def of_field(self, model: Any, key: str) -> Schema:
        """The schema of a pydantic model's field, with what its `Field` says."""
        schema: Schema = {}
        self._of_fields.append((model, key, schema))
        self.later(lambda: _drop_null(schema))
        return schema

    def of_text(self, annotation: Any, converter: Converter, *, several: bool = False) -> Schema:
        """The schema of a scalar, or several, that texts of the request spell: null is none of them."""
        if isinstance(inspect.getattr_static(converter.base, "parse", None), classmethod):
            # Its texts are its own affair, whatever msgspec would make of the class.
            return {"type": "array", "items": {"type": "string"}} if several else {"type": "string"}
        schema = self.of(split_optional(annotation)[0])
        self.later(lambda: _as_text(schema.get("items", {}) if several else schema, converter))
        return schema

    def problem(self) -> Schema:
        """The schema of a problem."""
        schema: Schema = {}
        self._problems.append(schema)
        return schema

    def later(self, fn: Callable[[], None]) -> None:
        """Call `fn` when the schemas are there."""
        self._later.append(fn)

    def finish(self) -> Mapping[str, Schema]:
        """Fill in all schemas that were handed out, and return the components that they name."""
        known = [(annotation, schema) for annotation, schema in self._asked if _describable(annotation)]
        found, components = self._msgspec([annotation for annotation, _ in known])
        for each in (*components.values(), *found):
            _type_of_enum(each)
        defined = self._pydantic(components)
        self._fields(components, defined)
        names = {name: schema["$ref"].rpartition("/")[2] for name, schema in self._within.values()}
        for (_, schema), each in zip(known, found, strict=True):
            schema.update(_renamed(each, names))
        components = {**_renamed(components, names), **defined}
        if self._problems:
            name = _free("Problem", components)
            components[name] = PROBLEM
            for schema in self._problems:
                schema["$ref"] = REF.format(name)
        for fn in self._later:
            fn()
        return dict(sorted(components.items()))

    def _msgspec(self, annotations: Sequence[Any]) -> tuple[list[Schema], dict[str, Schema]]:
        """The schemas of these types, and the components that they name.

        msgspec cannot tell types apart that have one qualified name, made by a function for example, or generics whose
        arguments have one name: it raises KeyError. They are asked for in different calls then.
        """
        found: list[Schema] = []
        components: dict[str, Schema] = {}
        called: dict[Any, str] = {}
        waiting = [list(annotations)]
        while waiting:
            together = waiting.pop()
            classes = _named(together)
            try:
                schemas, defined = msgspec.json.schema_components(
                    [*together, *classes], schema_hook=self._foreign, ref_template=REF.format("{name}")
                )
            except KeyError:
                half = len(together) // 2
                waiting += [together[half:], together[:half]]
                continue
            refs = schemas[len(together) :]
            here = {each: ref["$ref"].rpartition("/")[2] for each, ref in zip(classes, refs, strict=True)}
            for each, name in here.items():
                if each not in called:
                    called[each] = _free(name, {**components, **dict.fromkeys(called.values())})
            names = {name: called[each] for each, name in here.items()}
            found += [_renamed(each, names) for each in schemas[: len(together)]]
            components.update({names[name]: _renamed(each, names) for name, each in defined.items()})
        return found, components

    def _pydantic(self, taken: Mapping[str, Schema]) -> dict[str, Schema]:
        if not self._of_pydantic:
            return {}
        pydantic: Any = importlib.import_module("pydantic")
        adapted = [(_adapter(pydantic, each, mode), mode, schema) for each, mode, schema in self._of_pydantic]
        inputs = [(n, mode, adapter) for n, (adapter, mode, _) in enumerate(adapted) if adapter is not None]
        found, defined = pydantic.TypeAdapter.json_schemas(inputs, ref_template=REF.format("{model}"))
        definitions: dict[str, Schema] = defined.get("$defs", {})
        # Two libraries have names of their own: where they clash, it is pydantic's that gives way.
        names = {name: _free(name, taken) for name in definitions}
        for n, mode, _ in inputs:
            adapted[n][2].update(_renamed(found[n, mode], names))
        return {names[name]: _renamed(each, names) for name, each in definitions.items()}

    def _fields(self, taken: Mapping[str, Schema], defined: dict[str, Schema]) -> None:
        """Fill in the fields of pydantic's models: each as it stands in its model, where alone its `Field` applies."""
        of_model: dict[Any, Mapping[str, Schema]] = {}
        for model, key, schema in self._of_fields:
            if model not in of_model:
                adapter = _adapter(importlib.import_module("pydantic"), model, "validation")
                # By their own names: an alias may be a choice, and two fields may have one another's.
                template = REF.format("{model}")
                found: dict[str, Any] = (
                    {} if adapter is None else adapter.json_schema(by_alias=False, ref_template=template)
                )
                names: dict[str, str] = {}
                definitions: dict[str, Schema] = found.get("$defs", {})
                for name, each in definitions.items():
                    names[name] = name if defined.get(name) == each else _free(name, {**taken, **defined})
                    defined[names[name]] = each
                of_model[model] = _renamed(found.get("properties", {}), names)
            schema.update(of_model[model].get(key, {}))
            if model.__pydantic_fields__[key].title is None:
                schema.pop("title", None)  # the name again

    def _foreign(self, annotation: type[Any]) -> Schema:
        """What msgspec does not know within a type of its own: only what is sent can have such a thing."""
        if not is_pydantic(annotation):
            return {}  # then msgspec refuses, see `_describable`
        if annotation not in self._within:
            self._within[annotation] = (f"pydantic:{len(self._within)}", self.of(annotation, "serialization"))
        return {"$ref": REF.format(self._within[annotation][0])}


def _named(annotations: Iterable[Any]) -> list[Any]:
    """The classes within these types that become components of their own."""
    found: dict[Any, None] = {}
    seen: set[int] = set()
    waiting: list[object] = list(inspection.multi_type_info(annotations))
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple):
            waiting.extend(cast("tuple[object, ...]", each))
        elif isinstance(each, (inspection.Type, inspection.Field)) and id(each) not in seen:
            seen.add(id(each))
            if isinstance(each, _COMPONENTS):
                found[each.cls] = None
            waiting.extend(getattr(each, name) for name in each.__struct_fields__)
    return list(found)


def _adapter(pydantic: Any, annotation: Any, mode: Mode) -> Any:
    """Pydantic's view of a type; `None`: it cannot describe it, which is no reason to have no document."""
    try:
        adapter = pydantic.TypeAdapter(annotation)
        adapter.json_schema(mode=mode)
    except pydantic.PydanticUserError:
        return None
    return adapter


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A schema with its references as `names` has them."""
    if isinstance(value, list):
        return [_renamed(each, names) for each in cast("Iterable[Any]", value)]
    if not isinstance(value, dict):
        return value
    changed = {key: _renamed(each, names) for key, each in cast("dict[str, Any]", value).items()}
    ref = changed.get("$ref")
    if isinstance(ref, str):
        name = ref.rpartition("/")[2]
        changed["$ref"] = REF.format(names.get(name, name))
    return changed


def _describable(annotation: Any) -> bool:
    try:
        msgspec.json.schema(annotation, schema_hook=lambda each: {"title": ""} if is_pydantic(each) else {})
    except (TypeError, ValueError, NameError, RecursionError, KeyError):
        # KeyError: it has two types of one name in itself, see `Schemas._msgspec`.
        return False  # a handler may return what no body could be read as; that is no reason to have no document
    return True


def _type_of_enum(schema: Schema) -> None:
    """Say that all members are texts, which msgspec leaves to be seen."""
    if "type" not in schema and all(isinstance(each, str) for each in schema.get("enum", (None,))):
        schema["type"] = "string"


def _drop_null(schema: Schema) -> None:
    members = schema.get("anyOf", ())
    others = [each for each in members if each != {"type": "null"}]
    if 1 == len(others) < len(members):
        del schema["anyOf"]
        schema.update({key: value for key, value in others[0].items() if key not in schema})
    if schema.get("default", ...) is None:
        del schema["default"]


def _as_text(schema: Schema, converter: Converter) -> None:
    """Say of the schema of one text what its converter refuses."""
    language = converter.language
    bounds = language.within if isinstance(language, Opaque) else language
    if isinstance(bounds, Integers) and schema.get("type") == "integer":
        for name in ("exclusiveMinimum", "exclusiveMaximum"):
            schema.pop(name, None)
        schema.update(minimum=bounds.low, maximum=bounds.high)
    elif converter.base is datetime:
        schema["format"] = "date-time"
