"""Where a callable was written and how its signature reads: the raw material of registration's error messages.

This file owns the unwrapping of decorated, partial and instance callables, and the resolution of annotations given as
strings. It decides nothing about binding.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from .errors import Location, RegistrationError

# What was resolved in frames that are gone by now: an override in a test compiles a plan again, long after its handler
# was defined inside of a function.
_remembered: WeakKeyDictionary[Any, Mapping[str, Any]] = WeakKeyDictionary()


def underlying(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function below decorators (`__wrapped__`), `functools.partial` and instances with `__call__`."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif (wrapped := getattr(fn, "__wrapped__", None)) is not None:
            fn = wrapped
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif inspect.isfunction(fn) or inspect.isclass(fn) or not callable(fn):
            return fn
        else:
            call = type(fn).__call__
            if not inspect.isfunction(call):
                return fn
            fn = call


def identity(fn: Any) -> Any:
    """What tells `fn` from other callables in a dictionary: `fn` itself (two equal bound methods are one callable), or
    its id where it cannot be hashed, as an instance of a dataclass with `__call__` cannot."""
    try:
        hash(fn)
    except TypeError:
        return id(fn)
    return fn


def name_of(fn: Callable[..., Any]) -> str:
    """The name a reader knows `fn` by."""
    if isinstance(fn, functools.partial):
        return name_of(fn.func)
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def locate(fn: Callable[..., Any]) -> Location:
    """File and line of `fn`: of its decorator if it has one, as Python reports functions."""
    code = getattr(underlying(fn), "__code__", None)
    if code is not None:
        return Location(name_of(fn), _short(code.co_filename), code.co_firstlineno)
    try:
        file = inspect.getsourcefile(underlying(fn)) or "?"
        line = inspect.getsourcelines(underlying(fn))[1]
    except (TypeError, OSError, SyntaxError):  # a class is looked for by parsing its file, which may not be Python's
        file, line = "?", 0
    return Location(name_of(fn), _short(file), line)


def _short(file: str) -> str:
    """Relative to the working directory where that is shorter: what a terminal makes clickable."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # another drive (Windows)
        return file
    return file if relative.startswith("..") else relative


def caller(name: str) -> Location:
    """The line outside of this package that is being run: where the application calls us."""
    package = os.path.dirname(__file__)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == package:
        frame = frame.f_back
    if frame is None:
        return Location(name, "?", 0)
    return Location(name, _short(frame.f_code.co_filename), frame.f_lineno)


def show(fn: Callable[..., Any]) -> str:
    """The signature as written, with its place: the first line of most registration errors."""
    where = locate(fn)
    asynchronous = is_async(fn) or inspect.isasyncgenfunction(underlying(fn))
    prefix = "async def" if asynchronous else "class" if inspect.isclass(fn) else "def"
    try:
        signature = str(_as_written(inspect.signature(fn), getattr(underlying(fn), "__module__", "typing")))
    except (TypeError, ValueError):
        signature = "(...)"
    signature = re.sub(r" at 0x[0-9a-fA-F]+", "", signature)  # of a default value that has no better text
    return f"    {prefix} {where.name.rpartition('.')[2]}{signature}\n    {_place(where)}"


def _place(where: Location) -> str:
    return f"{where.file}:{where.line}" if where.line else "(built in)"


class _Bare(str):
    """An annotation, shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _as_written(signature: inspect.Signature, module: str) -> inspect.Signature:
    """With annotations as their author wrote them, who has imported names of `typing` and of ours, and needs no prefix
    for those of `module`."""
    known = re.compile(rf"(?<![\w.'\"])(typing|collections\.abc|trivet|{re.escape(module)})\.")

    def bare(annotation: Any) -> Any:
        if annotation is inspect.Signature.empty:
            return annotation
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        return _Bare(known.sub("", text))

    parameters = [each.replace(annotation=bare(each.annotation)) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=bare(signature.return_annotation))


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling `fn` gives a coroutine."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn):
        return True
    call = getattr(fn, "__call__", None)  # noqa: B004 - the method itself is wanted: instances with an async __call__
    return not inspect.isclass(fn) and inspect.iscoroutinefunction(call)


def annotations_of(fn: Callable[..., Any]) -> Mapping[str, Any]:
    """The resolved annotations of `fn`, `Annotated` kept.

    Strings (`from __future__ import annotations`) are resolved in the function's module and, failing that, in the
    frames that are registering it: a handler defined inside a function may name classes defined beside it.

    Raises:
        RegistrationError: a name cannot be resolved; the message shows which, and the remedy.
    """
    target = underlying(fn)
    if inspect.isclass(target):
        target = target.__init__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        found = _with_frames(target)
        if found is not None:
            _remembered[target] = found
            return found
        if target in _remembered:
            return _remembered[target]
        raise RegistrationError(_unresolved(fn, error)) from None
    except RegistrationError:  # a marker's own, in an annotation that was a string until now
        raise
    except Exception as error:
        raise RegistrationError(
            f"the annotations of this cannot be evaluated: {error}\n{show(fn)}\n"
            "Correct it: trivet reads annotations when the handler is registered."
        ) from error


def _with_frames(target: Any) -> Mapping[str, Any] | None:
    file = getattr(getattr(target, "__code__", None), "co_filename", None)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == file:
            try:
                return typing.get_type_hints(target, localns=dict(frame.f_locals), include_extras=True)
            except NameError:
                pass
        frame = frame.f_back
    return None


def _unresolved(fn: Callable[..., Any], error: NameError) -> str:
    name = error.name or str(error)
    return (
        f"the annotation {name!r} cannot be resolved:\n{show(fn)}\n"
        f"If {name!r} is imported under `if TYPE_CHECKING:`, import it at run time: trivet reads it to bind "
        "the request.\nIf it is defined further down, move it above the handler."
    )
