"""What texts of a request can spell: a scalar, several, a file, or a model of those that is read field by field.

This file owns which types these are, the names that they have there, and that their defaults fit. Which parameters are
read so, and from where, is decided in `_signature`. It runs at registration only.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ._annotation import bare, resolved, split_optional
from ._constraints import sized
from ._convert import STR, Converter, converter_for
from ._document import is_pydantic
from ._extract import (
    ABSENT,
    REQUIRED,
    Container,
    FileParam,
    FormParam,
    Misfit,
    ModelField,
    ModelParam,
    TextParam,
    Where,
    refuse_files,
)
from ._fields import Field
from ._inside import fits
from ._models import AliasedParam, Shape, items_of, shape_of, takes_empty
from ._parameter import Parameter, check_fields, spell
from ._source import show
from .errors import RegistrationError


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
        if (found := items_of(inner)) is not None:
            inner, container = found
        if inner is not self.upload:
            return None
        nothing = container is not None and default == container([])
        if default not in (REQUIRED, ABSENT, None) and not nothing:
            wanted = f"{self.parameter.name}: {spell(split_optional(annotation)[0])} | None = None"
            raise self.parameter.refuse(
                f"is a file and has the default {default!r}", f"A file that need not be there is optional:  {wanted}"
            )
        return FileParam(name, container, default)

    def text(self, where: Where, name: str, annotation: Any, default: Any) -> TextParam | None:
        """The source of a scalar, an optional, or a list of scalars; `None`: it is something else."""
        inner, _ = split_optional(annotation)
        converter, container = converter_for(inner), None
        if converter is None:
            self._checkitems_of(bare(inner))
            found = items_of(bare(inner))
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

    def _checkitems_of(self, inner: Any) -> None:
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
        except TypeError as error:
            raise self._no_model(model, *map(str, error.args)) from None
        if shape is None:
            return None
        check_fields(self.parameter)
        if self.default not in (REQUIRED, None) and not fits(self.default, model):
            raise self.parameter.refuse_default(f"it is no {spell(model)}")
        members = tuple(self._member(where, model, shape, each) for each in shape.fields)
        spelt = {member.key: member.source.name for member in members if member.key != member.source.name}
        build = _naming(shape.build, spelt) if spelt else shape.build
        found = ModelParam(where, model, members, build, self.default)
        closed = shape.strict and where != "header"
        return dataclasses.replace(found, known=frozenset(found.names)) if closed else found

    def _no_model(self, model: Any, reason: str, remedy: str = "") -> RegistrationError:
        return self.parameter.refuse(
            f"is a model that is read field by field, and {reason}",
            remedy or f"Send it as JSON instead:  {self.parameter.name}: {spell(model)}",
        )

    def _member(self, where: Where, model: Any, shape: Shape, field: Field) -> ModelField:
        key = field.attribute or field.key
        name = field.name if field.name != key else sent_as(where, key)
        default = REQUIRED if field.required else ABSENT
        others = tuple(sent_as(where, each) if each == key else each for each in field.others)
        source: TextParam | FileParam | None = None
        if where == "form":
            source = self.file(field.annotation, name, default)
        if source is None and shape.texts:
            source = _of_pydantic(where, name, others, field, default)
        if source is None:
            source = self.text(where, name, field.annotation, default)
        if source is None:
            what = f"{spell(model)}.{field.key} ({spell(field.annotation)})"
            raise self._no_model(model, f"{what} is neither a scalar nor a list of scalars")
        return ModelField(field.key, source, field.attribute, others)


def _of_pydantic(where: Where, name: str, others: Sequence[str], field: Field, default: Any) -> TextParam:
    """The source of a field that pydantic converts, by rules of its own, which its users expect."""
    converter = STR
    if where == "form":
        base: Any = str if takes_empty(resolved(field.annotation)) else object
        converter = dataclasses.replace(STR, base=base, parse=refuse_files(STR.parse))
    found = items_of(bare(split_optional(resolved(field.annotation))[0]))
    several = None if found is None else found[1]
    source = TextParam(where, name, field.annotation, converter, several, default)
    if not others:
        return source
    more = tuple(dataclasses.replace(source, name=each) for each in others)
    return AliasedParam(where, name, field.annotation, converter, several, default, False, more)


def _naming(build: Callable[[dict[str, Any]], Any], names: Mapping[str, str]) -> Callable[[dict[str, Any]], Any]:
    """`build`, whose faults name a field as its clients do."""

    def built(given: dict[str, Any]) -> Any:
        try:
            return build(given)
        except Misfit as misfit:
            reasons = [(field.partition("/"), reason) for field, reason in misfit.reasons]
            raise Misfit([(names.get(key, key) + slash + rest, why) for (key, slash, rest), why in reasons]) from misfit

    return built


def sent_as(where: Literal["query", "header", "cookie", "form"], name: str) -> str:
    """A Python name as clients spell it there: a header has hyphens, and no name ends in the `_` of `from_`."""
    return name.rstrip("_").replace("_", "-") if where == "header" else name


class Agreement:
    """What each name in a query, the cookies and a form is read as.

    One function reads it as one thing. Two may read it differently, as a whole and by its parts, but for one of them it
    cannot be a file and for the other a text. What pydantic reads, it says itself.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], tuple[str, str, Callable[..., Any]]] = {}

    def check(self, source: object, fn: Callable[..., Any]) -> None:
        """Refuse a source that `fn` reads otherwise than it can be read.

        Raises:
            RegistrationError: with what else reads it.
        """
        part = source.part if isinstance(source, FormParam) else source
        if isinstance(part, ModelParam) and is_pydantic(part.annotation):
            return
        for each in part.fields if isinstance(part, ModelParam) else (part,):
            if isinstance(each, FileParam):
                self._check("form", each.name, "file", "a file" if each.several is None else "files", fn)
            elif isinstance(each, TextParam) and each.where != "header":
                what = spell(each.converter.base) if each.several is None else f"several {spell(each.converter.base)}"
                self._check(each.where, each.name, "text", what, fn)

    def _check(self, where: Where, name: str, kind: str, what: str, fn: Callable[..., Any]) -> None:
        for key, told in ((where, name, id(fn)), what), ((where, name, 0), kind):
            first, shown, user = self._known.setdefault(key, (told, what, fn))
            if first != told:
                place = {"query": "the query", "cookie": "the cookies"}.get(where, "the form")
                raise RegistrationError(
                    f"{name!r} in {place} is read as two things, {shown} and {what}:\n{show(user)}\n"
                    + (f"{show(fn)}\n" if fn is not user else "")
                    + "A request has one of that name: give one of them another, or another alias."
                )
