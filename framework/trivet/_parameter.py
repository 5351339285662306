"""A parameter of a handler or provider, as it was written: its name, its annotation resolved, its default, its marker.

This file owns how a signature is read, and the errors that a signature can have before anybody asks where a value comes
from (`_signature`). It runs at registration only.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ._annotation import metadata, resolved
from ._extract import REQUIRED
from ._markers import Depends, Marker
from ._ported import framework_of, instead_of_marker, is_marker
from ._source import annotations_of, show
from .errors import RegistrationError


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


def _filled(fn: object) -> Mapping[str, Any]:
    """What a partial has filled in by name: it still stands in its signature, as a default."""
    return fn.keywords if isinstance(fn, functools.partial) else {}


def marker_of(parameter: Parameter) -> Depends | Marker | None:
    """The marker in the parameter's `Annotated`, if it has one.

    Raises:
        RegistrationError: it has two, a marker's class instead of a marker, or another framework's.
    """
    found: Depends | Marker | None = None
    for extra in metadata(parameter.annotation):
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
        if isinstance(extra, Depends | Marker):
            if found is not None:
                raise parameter.refuse(
                    f"is marked twice, with {found!r} and {extra!r}",
                    "Keep the one that says where the value comes from.",
                )
            found = extra
            continue
        if framework_of(extra):  # to ignore it would be to drop its bounds silently
            raise parameter.refuse(
                f"is marked with {_foreign(extra)}, which trivet does not read",
                instead_of_marker(parameter.name, extra),
            )
    return found


def dependency_of(parameter: Parameter) -> Depends | None:
    """The `Depends` in the parameter's `Annotated`, if it has one."""
    marker = marker_of(parameter)
    return marker if isinstance(marker, Depends) else None


def spell(annotation: Any) -> str:
    """An annotation as a reader would write it, without its marker."""
    if annotation is inspect.Parameter.empty:
        return "..."
    if typing.get_origin(annotation) is typing.Annotated:
        bare, *extras = typing.get_args(annotation)
        kept = [extra for extra in extras if not isinstance(extra, Depends | Marker)]
        return (
            spell(bare if not kept else typing.Annotated[(bare, *kept)])
            if len(kept) < len(extras)
            else _text(annotation)
        )
    return _text(annotation)


def _text(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
