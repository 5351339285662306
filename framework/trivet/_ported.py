"""What is written in other frameworks, and how the same is said here: only for messages, never on a request's path.

This file owns those words, so that an application that is ported fails at each of them with the remedy. It knows the
names only: none of these frameworks is imported.
"""

from __future__ import annotations

from typing import Any, Final

FRAMEWORKS: Final = frozenset({"fastapi", "starlette", "litestar", "pydantic", "pydantic_core", "annotated_types"})

# Of a parameter {name}. Bounds that would be ignored silently must be an error.
_BOUNDS: Final = (
    "Where a value comes from is told by its type, or by a marker of trivet's; bounds are msgspec's:\n\n"
    "    {name}: Annotated[int, Query(), msgspec.Meta(ge=1)]"
)
_DEPENDS: Final = (
    "Import it from trivet, and name what provides the value:\n\n    {name}: Annotated[..., Depends(provider)]"
)
_MARKERS: Final = {
    "Depends": _DEPENDS,
    "Security": _DEPENDS,
    "Path": "A path field needs no marker; bounds are msgspec's:\n\n    {name}: Annotated[int, msgspec.Meta(ge=1)]",
    "File": "A file is asked for by its type:\n\n    {name}: UploadFile",
    **dict.fromkeys(("Query", "Header", "Cookie", "Body", "Form", "FieldInfo"), _BOUNDS),
}
_TYPES: Final = {
    "Request": "Ask for trivet's:  from trivet import Request",
    "UploadFile": "Ask for trivet's:  from trivet import UploadFile",
    "Response": "A header of whichever response it will be is set on the request:\n\n"
    '    request.response_headers["x-name"] = "value"\n\n'
    "The rest is said by returning a response:  return JSON(value, status=202)",
    "BackgroundTasks": "A task that outlives its request is the application's:  app.tasks.start_soon(fn, *args)",
}
_PYDANTIC: Final = (
    "pydantic's types are read in its models:\n\n"
    "    class Search(pydantic.BaseModel):\n        ...\n\n"
    "    search: Annotated[Search, Query()]"
)
_OPTIONS: Final = {
    "response_model": "The annotation of the result documents it; nothing is taken away: return what is to be sent.",
    "response_class": "Return the response that it is:  return HTML(text)",
    "prefix": "It is said where the router is mounted:  app.mount(prefix, router)",
    "description": "It is read from the docstring, behind its first paragraph.",
    "deprecated": "Decorate the handler with warnings.deprecated (PEP 702).",
    "on_startup": "What starts and stops is one context manager:  App(lifespan=lifespan)",
    "on_shutdown": "What starts and stops is one context manager:  App(lifespan=lifespan)",
    "exception_handlers": "Register each:  @app.catch(ErrorType)",
}
_META: Final = (
    "Bounds and documentation are msgspec's, beside the marker:  Annotated[int, {marker}(), msgspec.Meta(ge=1)]"
)
_ARGUMENTS: Final = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "regex"), _META),
    **dict.fromkeys(("title", "description", "examples", "deprecated"), _META),
    "default": 'A default stands behind the annotation:  name: Annotated[str, {marker}()] = "x"',
    "embed": "Make a model of the fields that the body has.",
    "convert_underscores": 'Say the name:  {marker}(alias="x_name")',
    "use_cache": "A provider runs once for a request; for two values write two providers.",
    "scopes": "Ask the scheme:  Depends(oauth2.requires(provider, ...))",
}


def framework_of(value: object) -> str:
    """The framework whose class or object this is; empty: none of those that we know."""
    kind = value if isinstance(value, type) else type(value)
    root = str(kind.__module__).partition(".")[0]
    return root if root in FRAMEWORKS else ""


def is_marker(value: object) -> bool:
    """Whether it is a marker of another framework, as it may stand in the place of a default value."""
    return bool(framework_of(value)) and type(value).__name__ in _MARKERS


def instead_of_marker(name: str, marker: object) -> str:
    """What to write instead of another framework's marker (or constraint) of the parameter `name`."""
    return _MARKERS.get(type(marker).__name__, _BOUNDS).format(name=name)


def instead_of_type(annotation: Any) -> str:
    """What to write instead of a parameter of this type, which another framework would inject; empty: nothing known."""
    if not isinstance(annotation, type):
        return ""
    if framework_of(annotation) == "pydantic":
        return _PYDANTIC
    ours = annotation.__module__.partition(".")[0] == "trivet"  # its Response, which is not injected either
    return _TYPES.get(annotation.__name__, "") if ours or framework_of(annotation) else ""


def instead_of_option(name: str) -> str:
    """How to say what this option says elsewhere; empty: nothing known."""
    return _OPTIONS.get(name, "")


def instead_of_argument(marker: str, name: str) -> str:
    """How to say what this argument of a marker says elsewhere; empty: nothing known."""
    return _ARGUMENTS.get(name, "").format(marker=marker)
