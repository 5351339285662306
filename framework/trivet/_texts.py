"""What texts of a request can spell: a scalar, several, a file, or a model of those that is read field by field.

This file owns which types these are, the names that they have there, and that their defaults fit. Which parameters are
read so, and from where, is decided in `_signature`. It runs at registration only.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal

from ._annotation import bare, split_optional
from ._constraints import sized
from ._convert import STR, Converter, converter_for
from ._extract import ABSENT, REQUIRED, Container, FileParam, ModelField, ModelParam, TextParam, Where, refuse_files
from ._fields import Field
from ._inside import fits
from ._models import Shape, shape_of
from ._parameter import Parameter, check_fields, spell

CONTAINERS: Final[Mapping[Any, Container]] = {list: list, set: set, frozenset: frozenset, tuple: tuple}


class TextReader:
    """Finds what of one parameter texts spell.

    Args:
        parameter: it.
        upload: the type of files in a form.
    """

    def __init__(self, parameter: Parameter, upload: Any) -> None:
        self.parameter = parameter
        self.upload = upload
        _, optional = split_optional(parameter.annotation)
        self.default = None if optional and parameter.default is REQUIRED else parameter.default

    def part(self, where: Where, name: str) -> TextParam | ModelParam | FileParam | None:
        """The source of what is marked to be read from there; `None`: it cannot be."""
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
        if inner is not self.upload:
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
            container = sized(inner, container)
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
        what = converter.name
        items = [default] if container is None or isinstance(default, str) else default
        try:
            if container is not None and isinstance(default, str):
                raise TypeError("one text is not several")
            found = [converter.parse(converter.format(item)) for item in items]
            what = "the whole"
            if container is not None:
                container(found)
        except (ValueError, TypeError) as error:
            raise self.parameter.refuse_default(f"{what}: {error}") from None

    def _model(self, where: Where) -> ModelParam | None:
        model = bare(split_optional(self.parameter.annotation)[0])
        try:
            shape = shape_of(model)
        except NameError as error:
            raise self.parameter.refuse(
                f"is a model whose fields cannot be read ({error})",
                "Import what they name at run time, not under `if TYPE_CHECKING:`, in the module of the model.",
            ) from None
        if shape is None:
            return None
        check_fields(self.parameter)
        if self.default not in (REQUIRED, None) and not fits(self.default, model):
            raise self.parameter.refuse_default(f"it is no {spell(model)}")
        members = tuple(ModelField(each.key, self._member(where, model, shape, each)) for each in shape.fields)
        known = frozenset(member.source.name for member in members) if shape.strict and where != "header" else None
        return ModelParam(where, model, members, shape.build, self.default, known)

    def _member(self, where: Where, model: Any, shape: Shape, field: Field) -> TextParam | FileParam:
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
                f"is a model that is read field by field, and {spell(model)}.{field.key} "
                f"({spell(field.annotation)}) is neither a scalar nor a list of scalars",
                f"Send it as JSON instead:  {self.parameter.name}: {spell(model)}",
            )
        return source


def sent_as(where: Literal["query", "header", "cookie", "form"], name: str) -> str:
    """A Python name as clients spell it there: a header has hyphens, and no name ends in the `_` of `from_`."""
    return name.rstrip("_").replace("_", "-") if where == "header" else name


def _items(inner: Any) -> tuple[Any, Container] | None:
    """The item type of a list, set, frozenset or `tuple[T, ...]`, and what makes the container."""
    origin, args = typing.get_origin(inner), typing.get_args(inner)
    if origin in CONTAINERS and (origin is not tuple or (len(args) == 2 and args[1] is ...)):
        return args[0], CONTAINERS[origin]
    return None
