"""Types as annotations spell them: aliases and type variables replaced, `Annotated` and `| None` taken off.

This file owns how an annotation is taken apart and put together again. What a type means, and which types there may be,
it does not know. It runs at registration, and where a document does not fit.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NewType, TypeVar

_UNIONS: Final = (typing.Union, types.UnionType)
_NOTHING: Final[Mapping[Any, Any]] = {}


def resolved(annotation: Any) -> Any:
    """`annotation` with what each alias and `NewType` in it stands for.

    Whoever reads an annotation finds the same then however it was named: `type User = Annotated[str, Depends(user)]` is
    a dependency. An alias that names itself stays where it does so: there is no end to what it stands for.

    Raises:
        NameError: an alias names what is not there.
    """
    return substituted(annotation, _NOTHING)


def substituted(annotation: Any, variables: Mapping[Any, Any]) -> Any:
    """`resolved`, with a value for each of these type variables."""
    return _substituted(annotation, variables, ())


def _substituted(annotation: Any, variables: Mapping[Any, Any], within: tuple[Any, ...]) -> Any:
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, annotation)
    if isinstance(annotation, NewType):
        return _substituted(annotation.__supertype__, variables, within)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    alias = annotation if _is_alias(annotation) else origin
    if _is_alias(alias):
        if alias in within:
            return annotation
        given = [_substituted(each, variables, within) for each in args]
        return _substituted(alias.__value__, dict(zip(alias.__type_params__, given, strict=False)), (*within, alias))
    if origin is typing.Annotated:
        inner, *extras = args
        changed = _substituted(inner, variables, within)
        return annotation if changed is inner else typing.Annotated[(changed, *extras)]
    return rebuilt(annotation, [_substituted(each, variables, within) for each in args])


def rebuilt(annotation: Any, args: Sequence[Any]) -> Any:
    """`annotation` with other arguments; the same object if they are the same. `Annotated` is not meant."""
    if all(each is arg for each, arg in zip(args, typing.get_args(annotation), strict=True)):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (typing.Literal, Callable):
        return annotation
    if origin in _UNIONS:
        return typing.Union[tuple(args)]  # noqa: UP007
    return origin[args[0] if len(args) == 1 else tuple(args)]


def _is_alias(annotation: Any) -> bool:
    # typing's from Python 3.12 on, else typing_extensions'.
    return type(annotation).__name__ == "TypeAliasType"


def bare(annotation: Any) -> Any:
    """Without `Annotated`."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def members(annotation: Any) -> tuple[Any, ...]:
    """What a union is of, `None` aside, each without `Annotated`; of anything else, that."""
    annotation = bare(annotation)
    if typing.get_origin(annotation) not in _UNIONS:
        return (annotation,)
    found = (each for arg in typing.get_args(annotation) for each in members(arg))
    return tuple(each for each in found if each is not type(None))


def split_optional(annotation: Any) -> tuple[Any, bool]:
    """`T | None` as `(T, True)`, inside `Annotated` too; anything else as it is."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *extras = typing.get_args(annotation)
        inner, optional = split_optional(inner)
        return (typing.Annotated[(inner, *extras)], True) if optional else (annotation, False)
    if typing.get_origin(annotation) in _UNIONS:
        args = typing.get_args(annotation)
        others = [arg for arg in args if arg is not type(None)]
        if len(others) < len(args):
            return (others[0] if len(others) == 1 else typing.Union[tuple(others)]), True  # noqa: UP007
    return annotation, False


def metadata(annotation: Any) -> list[Any]:
    """What `Annotated` says of the whole, through `| None` too: `Annotated[int, Query()] | None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *extras = typing.get_args(annotation)
        return [*extras, *metadata(inner)]
    inner, optional = split_optional(annotation)
    return metadata(inner) if optional else []


def all_metadata(annotation: Any) -> Iterator[Any]:
    """What `Annotated` says anywhere in a type."""
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        yield from args[1:]
        args = args[:1]
    for each in args:
        yield from all_metadata(each)


def spelled(annotation: Any) -> str:
    """As a reader would write it, who has imported all names in it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (None, type(None), ...):
        return "..." if annotation is ... else "None"
    if origin is typing.Annotated:
        return f"Annotated[{', '.join([spelled(args[0]), *map(repr, args[1:])])}]"
    if origin in _UNIONS:
        return " | ".join(map(spelled, args))
    cls = class_of(annotation)
    if cls is None or origin is Callable:
        return str(annotation).replace("typing.", "")
    return f"{cls.__name__}[{', '.join(map(spelled, args))}]" if args else cls.__name__


def class_of(annotation: Any) -> type[Any] | None:
    """The class, also of a generic one with arguments, `Page[Item]`; `None`: it is no class."""
    found = typing.get_origin(annotation) or annotation
    known = isinstance(found, type) and found not in (typing.Annotated, *_UNIONS)
    return typing.cast("type[Any]", found) if known else None


def hints_of(annotation: Any) -> Mapping[str, Any]:
    """The annotations of a class, its bases' among them, with what stands for the type variables of a generic one."""
    cls = typing.cast("type[Any]", class_of(annotation))
    hints = typing.get_type_hints(cls, include_extras=True)
    variables = _variables(cls, typing.get_args(annotation))
    if not any(variables.values()):
        return {name: resolved(hint) for name, hint in hints.items()}
    owners = {name: each for each in reversed(cls.__mro__) for name in inspect.get_annotations(each)}
    return {name: substituted(hint, variables.get(owners.get(name, cls), _NOTHING)) for name, hint in hints.items()}


def _variables(cls: type[Any], args: tuple[Any, ...]) -> dict[type[Any], Mapping[Any, Any]]:
    """What stands for the type variables of a class and of each of its bases: two may mean different things by `T`."""
    own = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))  # one without arguments means any
    found: dict[type[Any], Mapping[Any, Any]] = {cls: own}
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = class_of(base)
        if origin is not None and origin not in (object, typing.Generic):
            given = tuple(substituted(each, own) for each in typing.get_args(base))
            found = {**_variables(origin, given), **found}
    return found
