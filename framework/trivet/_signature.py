"""What a parameter of a handler or provider asks for, read from its annotation and default.

This file owns the rules of DESIGN "Inputs" (path by name; request and nursery by type; scalars and lists of scalars
from the query; models from the JSON body) and the message for each way to break them. It runs at registration only.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from ._body import JSONDecoder
from ._convert import Converter, converter_for
from ._extract import REQUIRED, BodyParam, Depends, Injected, PathParam, QueryParam, Source
from ._source import annotations_of, show
from .errors import RegistrationError

CONTAINERS: Final[Mapping[Any, Callable[[list[Any]], Collection[Any]]]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
}


# Whose markers a ported handler may still bear. To ignore them would be to drop its constraints silently.
_FOREIGN: Final = frozenset({"fastapi", "pydantic", "pydantic_core", "annotated_types", "litestar"})


class Parameter:
    """One parameter of a signature with its resolved annotation."""

    __slots__ = ("annotation", "default", "fn", "name", "positional")

    def __init__(self, fn: Callable[..., Any], parameter: inspect.Parameter, annotation: Any) -> None:
        self.fn = fn
        self.name = parameter.name
        self.annotation = annotation
        self.default: Any = REQUIRED if parameter.default is parameter.empty else parameter.default
        self.positional = parameter.kind is parameter.POSITIONAL_ONLY

    def refuse(self, what: str, remedy: str) -> RegistrationError:
        """The error for this parameter: what came, where, and the remedy."""
        return RegistrationError(f"parameter {self.name!r} {what}:\n{show(self.fn)}\n{remedy}")


def parameters_of(fn: Callable[..., Any]) -> list[Parameter]:
    """The parameters of `fn`, in order, annotations resolved.

    Raises:
        RegistrationError: `*args` or `**kwargs`, which name nothing to bind, or an annotation that does not resolve.
    """
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"{fn!r} has no signature to read: {error}\nPass a function.") from None
    hints = annotations_of(fn)
    filled = _filled(fn)
    found: list[Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in filled:
            continue
        taken = Parameter(fn, parameter, hints.get(parameter.name, parameter.empty))
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise taken.refuse(
                "collects arguments, but only named ones can be bound",
                "Name each value you want: `page: int = 1`. For all of them take the request: `request: Request`.",
            )
        if isinstance(taken.default, Depends):
            raise taken.refuse(
                "has a dependency as its default value",
                "Put it into the annotation:\n\n"
                f"    {taken.name}: Annotated[{_spell(taken.annotation)}, {taken.default!r}]",
            )
        found.append(taken)
    return found


def _filled(fn: object) -> Mapping[str, Any]:
    """What a partial has filled in by name: it still stands in its signature, as a default."""
    return fn.keywords if isinstance(fn, functools.partial) else {}


def dependency_of(parameter: Parameter) -> Depends | None:
    """The `Depends` in the parameter's `Annotated`, if it has one."""
    if typing.get_origin(parameter.annotation) is typing.Annotated:
        for extra in typing.get_args(parameter.annotation)[1:]:
            if isinstance(extra, Depends):
                return extra
            root = type(extra).__module__.partition(".")[0]
            if root in _FOREIGN:
                raise parameter.refuse(
                    f"is marked with {type(extra).__name__} of {root}, which trivet does not read",
                    "Where a value comes from is told by its type; bounds are msgspec's:\n\n"
                    f"    {parameter.name}: Annotated[int, msgspec.Meta(ge=1)]",
                )
            if extra is Depends:
                raise parameter.refuse(
                    "is marked with Depends itself, without a provider",
                    f"Name what provides it:  {parameter.name}: Annotated[..., Depends(provider)]",
                )
    return None


def source_of(parameter: Parameter, fields: Mapping[str, Converter], injectable: Mapping[Any, str]) -> Source:
    """Where the value of `parameter` comes from.

    Args:
        parameter: what is asked for; not a dependency.
        fields: the route's path fields by name.
        injectable: types that stand for an object of the request, and the key of each.

    Raises:
        RegistrationError: the rules give it no source.
    """
    if parameter.name in fields:
        if parameter.default is not REQUIRED:
            raise parameter.refuse(
                "is a path field and has a default, which could never be used",
                f"Drop the default, or take {{{parameter.name}}} out of the path.",
            )
        _check_field(parameter, fields[parameter.name])
        return PathParam(parameter.name)
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        raise parameter.refuse(
            "has no annotation and no field of that name is in the path",
            f"Say what it is:  {parameter.name}: str  (query),  {parameter.name}: Request,\n"
            f"or put {{{parameter.name}}} into the path.",
        )
    key = injectable.get(annotation) if _hashable(annotation) else None
    if key is not None:
        return Injected(parameter.name, key)
    inner, optional = split_optional(annotation)
    default = None if optional and parameter.default is REQUIRED else parameter.default
    converter = converter_for(inner)
    if converter is not None:
        return _query(parameter, converter, None, default)
    return _list_or_body(parameter, inner, default)


def _check_field(parameter: Parameter, field: Converter) -> None:
    """Refuse a parameter that is annotated as something else than what the path field gives."""
    if parameter.annotation in (inspect.Parameter.empty, Any, object):
        return
    inner, _ = split_optional(parameter.annotation)
    converter = converter_for(inner)
    if converter is None:
        raise parameter.refuse(
            f"is a path field, and {_spell(parameter.annotation)} is not a type that a segment of a path can spell",
            f"Annotate it as a scalar:  {parameter.name}: str,\nor take {{{parameter.name}}} out of the path.",
        )
    if converter.base != field.base:
        raise parameter.refuse(
            f"is a path field of type {field.name}, which is what this would be given too",
            f"Let all who take it agree:  {parameter.name}: {field.name}",
        )


def _list_or_body(parameter: Parameter, inner: Any, default: Any) -> Source:
    bare = inner
    while typing.get_origin(bare) is typing.Annotated:
        bare = typing.get_args(bare)[0]
    origin, args = typing.get_origin(bare), typing.get_args(bare)
    if bare in (list, set, frozenset, tuple, dict, typing.List, typing.Dict, typing.Set, typing.Tuple):  # noqa: UP006
        name = getattr(bare, "__name__", str(bare)).lower()
        example = f"{name}[str, int]" if "dict" in name else "tuple[str, ...]" if "tuple" in name else f"{name}[str]"
        raise parameter.refuse(
            f"is a container without item type ({name})", f"Say what it holds:  {parameter.name}: {example}"
        )
    if origin in CONTAINERS and (origin is not tuple or (len(args) == 2 and args[1] is ...)):
        converter = converter_for(args[0])
        if converter is not None:
            return _query(parameter, converter, CONTAINERS[origin], default)
    return _body(parameter, default)


def _query(
    parameter: Parameter,
    converter: Converter,
    container: Callable[[list[Any]], Collection[Any]] | None,
    default: Any,
) -> QueryParam:
    if default is not REQUIRED and default is not None:
        items = [default] if container is None or isinstance(default, str) else default
        try:
            if container is not None and isinstance(default, str):
                raise TypeError("one text is not several")
            for item in items:
                converter.parse(converter.format(item))
        except (ValueError, TypeError) as error:
            raise parameter.refuse(
                f"has a default, {parameter.default!r}, that is not what it takes ({converter.name}: {error})",
                "Give a default of the annotated type, or annotate it as optional:  "
                f"{parameter.name}: {_spell(parameter.annotation)} | None = None",
            ) from None
    copied = isinstance(default, list | set | dict)
    return QueryParam(parameter.name, converter, container, default, copied)


def _body(parameter: Parameter, default: Any) -> BodyParam:
    annotation = parameter.annotation
    remedy = (
        "A scalar (str, int, float, bool, UUID, date, datetime, an Enum, a Literal, a class with parse(text)) or\n"
        "a list of them is read from the query; a msgspec Struct, dataclass, TypedDict or attrs class from the JSON\n"
        "body; anything else comes from a provider:  "
        f"{parameter.name}: Annotated[{_spell(annotation)}, Depends(provider)]"
    )
    try:
        known = _is_document(msgspec.inspect.type_info(annotation))
        decoder = JSONDecoder(annotation) if known else None
    except (TypeError, NameError, RecursionError) as error:
        raise parameter.refuse(f"cannot be read from a JSON body ({error})", remedy) from None
    if decoder is None and hasattr(annotation, "model_validate"):
        raise parameter.refuse(
            f"is a pydantic model ({_spell(annotation)}), which trivet does not read",
            f"Make it a msgspec Struct:\n\n    class {_spell(annotation)}(msgspec.Struct):\n        ...",
        )
    if decoder is None:
        raise parameter.refuse(f"has a type that trivet cannot bind ({_spell(annotation)})", remedy)
    return BodyParam(parameter.name, decoder, default)


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


def split_optional(annotation: Any) -> tuple[Any, bool]:
    """`T | None` as `(T, True)`, inside `Annotated` too; anything else as it is."""
    if typing.get_origin(annotation) is typing.Annotated:
        bare, *extras = typing.get_args(annotation)
        inner, optional = split_optional(bare)
        return (typing.Annotated[(inner, *extras)], True) if optional else (annotation, False)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        args = typing.get_args(annotation)
        others = [arg for arg in args if arg is not type(None)]
        if len(others) < len(args):
            return (others[0] if len(others) == 1 else typing.Union[tuple(others)]), True  # noqa: UP007
    return annotation, False


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _spell(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "..."
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
