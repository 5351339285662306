"""From `module:app` on a command line to the application. This file owns what that notation means."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from hypercorn.config import Config

from trivet.asgi import ASGIApp
from trivet.errors import TrivetError

DEFAULT_NAME = "app"


class LoadError(TrivetError):
    """What was named on the command line is not an application. The message says what was, and the remedy."""


def load(reference: str, *, wsgi_max_body_size: int = Config.wsgi_max_body_size) -> ASGIApp:
    """The application that `reference` names.

    Args:
        reference: `package.module:attribute.path`, `path/to/file.py:attribute`, or either without the attribute, which
            is then `app`. The current directory is searched first. `asgi:` and `wsgi:` in front, as hypercorn has it,
            say what kind of application it is.
        wsgi_max_body_size: bytes that are kept of a body for a WSGI application, which is called with all of it; more
            are answered with 400.

    Raises:
        LoadError: there is no such module or attribute, or it is no application.
        Exception: whatever the module raises while it is imported.
    """
    kind, rest = "asgi", reference
    for prefix in ("asgi:", "wsgi:"):
        if reference.startswith(prefix):
            kind, rest = prefix[:-1], reference.removeprefix(prefix)
    module_name, _, attribute = rest.partition(":")
    if not module_name:
        raise LoadError(f"{reference!r} names no module.\nWrite it as  module:app")
    module = _import(module_name)
    found = _attribute(module, attribute or DEFAULT_NAME, module_name)
    if kind == "wsgi":
        return _wsgi(found, reference, wsgi_max_body_size)
    _check(found, reference)
    return cast(ASGIApp, found)


def _import(name: str) -> ModuleType:
    directory = os.getcwd()
    if name.endswith(".py") or os.sep in name:
        path = Path(name).resolve()
        if not path.exists():
            raise LoadError(f"there is no file {name!r} (in {directory}).\nWrite its path, as in  path/to/main.py:app")
        if path.is_dir():
            raise LoadError(f"{name!r} is a directory.\nName the file in it:  {name.rstrip(os.sep)}/main.py:app")
        directory, name = str(path.parent), path.stem
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(missing + "."):
            raise  # the module exists, what it imports does not: its own traceback says it best
        raise LoadError(_no_module(name, missing, directory)) from None


def _no_module(name: str, missing: str, directory: str) -> str:
    message = f"there is no module {name!r}: Python finds no {missing!r} in {directory} or on its path."
    near = difflib.get_close_matches(missing, [path.stem for path in Path(directory).glob("*")], n=1)
    if near:
        return f"{message}\nDid you mean  {near[0]}:{DEFAULT_NAME}  ?"
    return f"{message}\nRun the command in the directory that holds it, or set PYTHONPATH."


def _attribute(module: ModuleType, path: str, module_name: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LoadError(_no_attribute(found, name, path, module_name)) from None
    return found


def _no_attribute(holder: Any, name: str, path: str, module_name: str) -> str:
    message = f"the module {module_name!r} has no {path!r}."
    # What was imported, the class App itself say, is not what was meant.
    values = {other: getattr(holder, other, None) for other in dir(holder) if not other.startswith("_")}
    names = [other for other, value in values.items() if not inspect.isclass(value) and not inspect.ismodule(value)]
    apps = [other for other in names if type(values[other]).__name__ in ("App", "Starlette", "Quart", "QuartTrio")]
    near = difflib.get_close_matches(name, apps, n=1) or apps or difflib.get_close_matches(name, names, n=1)
    if near:
        return f"{message}\nDid you mean  {module_name}:{near[0]}  ?"
    return f"{message}\nIt must hold the application:  {path} = App()"


def _check(found: Any, reference: str) -> None:
    kind = type(found).__name__
    if inspect.isclass(found):
        raise LoadError(
            f"{reference!r} is the class {found.__name__}, not an application.\n"
            f"Name an instance of it:  {DEFAULT_NAME} = {found.__name__}()"
        )
    if not callable(found):
        raise LoadError(
            f"{reference!r} is no application: it is a {kind}, and an ASGI application is called with "
            f"(scope, receive, send).\nName the object that was made with  App()"
        )
    try:
        count = len(inspect.signature(found).parameters)
    except (TypeError, ValueError):
        return  # written in C: it may well be right
    if count == 2:
        raise LoadError(
            f"{reference!r} takes two arguments, as a WSGI application does.\nRun it as  trivet run wsgi:{reference}"
        )
    if count == 0:
        raise LoadError(
            f"{reference!r} takes no arguments: it may make the application, but is not one.\n"
            f"Call it in the module, and name the result:  {DEFAULT_NAME} = {getattr(found, '__name__', 'make')}()"
        )


def _wsgi(found: Any, reference: str, max_body_size: int) -> ASGIApp:
    if not callable(found):
        raise LoadError(f"{reference!r} is no WSGI application: it is a {type(found).__name__}.")
    from hypercorn.middleware import TrioWSGIMiddleware

    middleware: Any = TrioWSGIMiddleware(cast(Any, found), max_body_size)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError("WSGI has no lifespan")
        await middleware(scope, receive, send)

    return app
