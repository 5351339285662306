"""A parameter of a handler or provider, as it was written: its name, its annotation resolved, its default, its marker.

This file owns how a signature is read, and the errors that a signature can have before anybody asks where a value comes
from (`_signature`). It runs at registration only.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, Final

import msgspec

from ._annotation import all_metadata, metadata, rebuilt, resolved, spelled, split_optional
from ._document import holds_pydantic, is_pydantic
from ._extract import REQUIRED
from ._inside import marked_field
from ._markers import Body, Depends, Marker
from ._ported import framework_of, instead_of_marker, is_marker
from ._source import annotations_of, show
from .errors import RegistrationError

_OF_PYDANTIC: Final = frozenset({"pydantic", "pydantic_core", "annotated_types"})


class Parameter:
    """One parameter of a signature with its annotation, in which no name and no alias is left to be resolved."""

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

    def refuse_default(self, reason: str) -> RegistrationError:
        """The error for its default, which is not of its type."""
        inner, _ = split_optional(self.annotation)
        return self.refuse(
            f"has a default, {self.default!r}, that is not what it takes ({reason})",
            "Give a default of the annotated type, or annotate it as optional:  "
            f"{self.name}: {spell(inner)} | None = None",
        )


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
    _check_model(fn, signature, hints)
    filled = _filled(fn)
    found: list[Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in filled:
            continue
        taken = Parameter(fn, parameter, hints.get(parameter.name, parameter.empty))
        try:
            taken.annotation = resolved(taken.annotation)
        except NameError as error:
            raise taken.refuse(
                f"is annotated with a type alias that names {error.name or str(error)!r}, which cannot be resolved",
                "Import it at run time, not under `if TYPE_CHECKING:`, in the module of the alias.",
            ) from None
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise taken.refuse(
                "collects arguments, but only named ones can be bound",
                "Name each value you want: `page: int = 1`. For all of them take the request: `request: Request`.",
            )
        if isinstance(taken.default, Depends | Marker):
            what = "a dependency" if isinstance(taken.default, Depends) else f"the marker {taken.default!r}"
            raise taken.refuse(
                f"has {what} as its default value",
                "Put it into the annotation:\n\n"
                f"    {taken.name}: Annotated[{spell(taken.annotation)}, {taken.default!r}]",
            )
        if is_marker(taken.default):
            raise taken.refuse(
                f"has {_foreign(taken.default)} as its default value, which trivet does not read",
                instead_of_marker(taken.name, taken.default),
            )
        found.append(taken)
    return found


def _foreign(marker: object) -> str:
    return f"{type(marker).__name__} of {framework_of(marker)}"


def _check_model(fn: Callable[..., Any], signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
    """Refuse a model as a provider whose constructor does not say what it takes. One that does is like any class."""
    if not inspect.isclass(fn) or not (
        is_pydantic(fn) or issubclass(fn, msgspec.Struct) or is_dataclass(fn) or hasattr(fn, "__attrs_attrs__")
    ):
        return
    for each in signature.parameters.values():
        # The sentinels of dataclasses and attrs for a default that is made anew each time.
        if each.name not in hints or repr(each.default) in ("<factory>", "NOTHING"):
            raise RegistrationError(
                f"a model is no provider: its constructor does not say what {each.name!r} is and where from:\n"
                f"{show(fn)}\nLet its fields be read from one place (Query(), Header(), Cookie() or Form()):\n\n"
                f"    {fn.__name__.lower()}: Annotated[{fn.__name__}, Query()]"
            )


def _filled(fn: object) -> Mapping[str, Any]:
    """What a partial has filled in by name: it still stands in its signature, as a default."""
    return fn.keywords if isinstance(fn, functools.partial) else {}


def marker_of(parameter: Parameter) -> Depends | Marker | None:
    """The marker in the parameter's `Annotated`, if it has one.

    Raises:
        RegistrationError: it has two, one where nobody reads it, a marker's class instead of a marker, another
            framework's, or a dependency with a default.
    """
    found: Depends | Marker | None = None
    read = metadata(parameter.annotation)
    for extra in read:
        _check_called(parameter, extra)
        if isinstance(extra, Depends | Marker):
            if found is not None:
                raise parameter.refuse(
                    f"is marked twice, with {found!r} and {extra!r}",
                    "Keep the one that says where the value comes from.",
                )
            found = extra
    _check_inside(parameter, [extra for extra in all_metadata(parameter.annotation) if not _among(extra, read)])
    _check_foreign(parameter, found, read)
    if isinstance(found, Depends) and parameter.default is not REQUIRED:
        raise parameter.refuse(
            f"is made by {found!r} and has the default {parameter.default!r}, which could never be used",
            "Drop the default; parameters that have one come after it, or let a `*` stand before it. What is to be\n"
            "there instead of a value, the provider returns.",
        )
    return found


def _among(extra: Any, extras: list[Any]) -> bool:
    return any(extra is each for each in extras)


def _check_called(parameter: Parameter, extra: Any) -> None:
    """Refuse a marker's class where a marker is meant."""
    if extra is Depends:
        raise parameter.refuse(
            "is marked with Depends itself, without a provider",
            f"Name what provides it:  {parameter.name}: Annotated[..., Depends(provider)]",
        )
    if inspect.isclass(extra) and issubclass(extra, Marker):
        raise parameter.refuse(
            f"is marked with {extra.__name__} itself, the class",
            f"Call it:  {parameter.name}: Annotated[..., {extra.__name__}()]",
        )


def _check_inside(parameter: Parameter, inside: list[Any]) -> None:
    """Refuse markers of a part of the type: the value comes from one place, and a provider would never run."""
    for extra in inside:
        _check_called(parameter, extra)
        if isinstance(extra, Depends | Marker):
            raise parameter.refuse(
                f"is marked with {extra!r} inside of its type, where it is not read",
                f"Mark the whole of it:  {parameter.name}: Annotated[{spelled(_unmarked(parameter.annotation))}, "
                f"{extra!r}]",
            )


def check_fields(parameter: Parameter) -> None:
    """Refuse a model with a marked field: it is read as one, and a provider would never run."""
    found = marked_field(parameter.annotation)
    if found is not None:
        field, marker = found
        raise parameter.refuse(
            f"is a model, and {field} is marked with {marker!r}, which is read of parameters only",
            f"Take it as a parameter of its own:  {field.rpartition('.')[2]}: Annotated[..., {marker!r}]",
        )


def _check_foreign(parameter: Parameter, marker: Depends | Marker | None, read: list[Any]) -> None:
    """Refuse what another library's `Annotated` says, unless it is pydantic that reads the value."""
    pydantic = isinstance(marker, Body | None) and holds_pydantic(parameter.annotation)
    for extra in read if isinstance(marker, Depends) else all_metadata(parameter.annotation):
        root = framework_of(extra)
        if root and not (pydantic and root in _OF_PYDANTIC):  # to ignore it would be to drop its bounds silently
            raise parameter.refuse(
                f"is marked with {_foreign(extra)}, which trivet does not read",
                instead_of_marker(parameter.name, extra),
            )


def dependency_of(parameter: Parameter) -> Depends | None:
    """The `Depends` in the parameter's `Annotated`, if it has one."""
    marker = marker_of(parameter)
    return marker if isinstance(marker, Depends) else None


def spell(annotation: Any) -> str:
    """An annotation as a reader would write it, without its markers."""
    return "..." if annotation is inspect.Parameter.empty else spelled(_unmarked(annotation))


def _unmarked(annotation: Any) -> Any:
    """Without markers, wherever they are."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner, *extras = args
        kept = [extra for extra in extras if not isinstance(extra, Depends | Marker)]
        return typing.Annotated[(_unmarked(inner), *kept)] if kept else _unmarked(inner)
    return rebuilt(annotation, [_unmarked(each) for each in args])
