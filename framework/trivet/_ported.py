"""What is written in other frameworks, and how the same is said here: only for messages, never on a request's path.

This file owns those words, so that an application that is ported fails at each of them with the remedy. It knows the
names only: none of these frameworks is imported.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

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
    # Without its scopes everybody who is recognized would be let through.
    "Security": "Depends alone would drop the scopes. Ask a scheme of trivet.contrib.security for them:\n\n"
    '    {name}: Annotated[..., Depends(oauth2.requires(provider, "scope"))]',
    "Path": "A path field needs no marker; bounds are msgspec's:\n\n    {name}: Annotated[int, msgspec.Meta(ge=1)]",
    "File": "A file is asked for by its type:\n\n    {name}: UploadFile",
    **dict.fromkeys(("Query", "Header", "Cookie", "Body", "Form", "FieldInfo"), _BOUNDS),
}
_TYPES: Final = {
    "Request": "Ask for trivet's:  from trivet import Request",
    "HTTPConnection": "Ask for trivet's:  from trivet import Request",
    "UploadFile": "Ask for trivet's:  from trivet import UploadFile",
    "WebSocket": "Ask for trivet's:  from trivet import WebSocket",
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

_SECURITY: Final = (
    "trivet's reads the same, and describes itself:\n\n    from trivet.contrib.security import {0}\n\n    {1}"
)
_PROVIDERS: Final = {
    "OAuth2PasswordBearer": _SECURITY.format("OAuth2Password", 'oauth2 = OAuth2Password(token_url="token")'),
    "OAuth2PasswordRequestForm": _SECURITY.format("PasswordForm", "form: Annotated[PasswordForm, Form()]"),
    "HTTPBearer": _SECURITY.format("Bearer", "bearer = Bearer()"),
    "HTTPBasic": _SECURITY.format("Basic", "basic = Basic()"),
    "APIKeyHeader": _SECURITY.format("APIKey", 'api_key = APIKey("X-API-Key")'),
    "APIKeyQuery": _SECURITY.format("APIKey", 'api_key = APIKey("key", where="query")'),
    "APIKeyCookie": _SECURITY.format("APIKey", 'api_key = APIKey("session", where="cookie")'),
}
_RESPONDING: Final = frozenset({"starlette", "fastapi", "litestar", "quart", "flask", "werkzeug", "sse_starlette"})
_RESPONSES: Final = {
    **dict.fromkeys(("JSONResponse", "ORJSONResponse", "UJSONResponse"), ("JSON", "JSON(value)")),
    "HTMLResponse": ("HTML", "HTML(text)"),
    "PlainTextResponse": ("Text", "Text(text)"),
    "RedirectResponse": ("Redirect", "Redirect(url)"),
    "StreamingResponse": ("Stream", "Stream(feed)"),
    "FileResponse": ("File", "File(path)"),
    "EventSourceResponse": ("EventStream", "EventStream(feed)"),
    "Response": ("Response", "Response(content, media_type=...)"),
}
_MOUNT: Final = 'app.mount("/prefix", router)'
_CATCH: Final = "@app.catch(ErrorType)"
_LIFESPAN: Final = "What starts and stops is one context manager:  App(lifespan=lifespan)"
_WRAP: Final = "app.wrap(CORSMiddleware, allow_origins=[...])"
_ROUTE: Final = '@app.route("/path", methods=["GET", "POST"])'
_ATTRIBUTES: Final = {
    **dict.fromkeys(("include_router", "register_blueprint", "blueprint"), f"A router is mounted:  {_MOUNT}"),
    **dict.fromkeys(
        ("exception_handler", "add_exception_handler", "errorhandler", "register_error_handler", "exception_handlers"),
        f"What becomes of an error is said by a catcher:  {_CATCH}",
    ),
    **dict.fromkeys(("on_event", "add_event_handler", "on_startup", "on_shutdown"), _LIFESPAN),
    **dict.fromkeys(("before_serving", "after_serving", "while_serving"), _LIFESPAN),
    "dependency_overrides": "An override ends with its block:  with app.override(provider, replacement): ...",
    "add_middleware": f"ASGI middleware is put around the whole:  {_WRAP}",
    **dict.fromkeys(
        ("before_request", "after_request", "teardown_request"),
        "What is done around requests is a middleware:  @app.middleware",
    ),
    **dict.fromkeys(("api_route", "add_api_route", "add_route", "add_url_rule"), f"It is called route:  {_ROUTE}"),
    **dict.fromkeys(
        ("websocket_route", "add_websocket_route", "add_api_websocket_route"),
        'It is called websocket:  @app.websocket("/path")',
    ),
    "url_path_for": 'It is called url_for:  app.url_for(handler, name="value")',
    "run": "An application is run from outside:  trivet run module:app",
    "routes": "They are listed from outside:  trivet routes module:app",
}
_NAMES: Final = {
    "FastAPI": "from trivet import App",
    "Starlette": "from trivet import App",
    "APIRouter": "from trivet import Router",
    "HTTPException": "from trivet import HTTPError",
    "Path": "A path field needs no marker:  item_id: int",
    "Security": 'Ask the scheme:  Depends(oauth2.requires(provider, "scope")), of trivet.contrib.security',
    "BackgroundTasks": "A task that outlives its request is the application's:  app.tasks.start_soon(fn, *args)",
    "WebSocketDisconnect": "from trivet import WebSocketClosed",
    "TestClient": "from trivet.testing import TestClient",
    "StaticFiles": "from trivet.contrib.static import StaticFiles",
    "status": 'A status is a number:  raise HTTPError(404, "no such item")',
    "ServerSentEvent": "from trivet import Event",
    **{name: f"from trivet import {ours}" for name, (ours, _) in _RESPONSES.items() if name != ours},
    **dict.fromkeys(
        ("RegistrationError", "InvalidInput", "InvalidMessage", "ClientDisconnected", "ResponseError", "Fault"),
        "from trivet.errors import {0}",
    ),
}

_STATE_READ: Final = (
    "app.state has no attribute {name!r}: it is the mapping that the lifespan has yielded.\n"
    'Write  app.state["{name}"],  or in a handler  request.state["{name}"].'
)
_STATE_SET: Final = (
    "app.state.{name} cannot be set: app.state is the mapping that the lifespan yields.\n"
    'Write  yield {{"{name}": ...}}  there, and  request.state["{name}"]  in a handler. Or let a dependency make it,\n'
    'once for the application:  Annotated[..., Depends(open_it, scope="app")]'
)


class State(dict[str, Any]):
    """What `app.state` is: a mapping, which says so to who treats it as a namespace, as it is elsewhere."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_STATE_READ.format(name=name), name=name, obj=self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(_STATE_SET.format(name=name), name=name, obj=self)


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


def instead_of_provider(provider: object) -> str:
    """What to write instead of another framework's security scheme; empty: it is none."""
    name = provider.__name__ if isinstance(provider, type) else type(provider).__name__
    return _PROVIDERS.get(name, "") if framework_of(provider) else ""


def instead_of_response(value: object) -> str:
    """What to return instead of another framework's response; empty: it is none."""
    for base in type(value).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _RESPONDING and base.__name__ in _RESPONSES:
            name, call = _RESPONSES[base.__name__]
            return (
                f"It is a response of {root}'s; return trivet's:\n\n    from trivet import {name}\n\n    return {call}"
            )
    return ""


def instead_of_attribute(name: str) -> str:
    """What to write instead of this attribute of an application or a router; empty: nothing known."""
    return _ATTRIBUTES.get(name, "")


def instead_of_name(name: str) -> str:
    """What to write instead of importing this name from trivet; empty: nothing known."""
    return _NAMES.get(name, "").format(name)


def explain_loop(error: BaseException) -> None:
    """Note on an error that code of asyncio raises here what runs here instead. Said once, however often it is logged.

    Of asyncio's own words there are two: "no running event loop", and since Python 3.14 "no current event loop".
    """
    if isinstance(error, RuntimeError) and "event loop" in str(error) and not getattr(error, "__notes__", None):
        error.add_note(
            "This runs on Trio, of which asyncio knows nothing: trio.sleep(...) stands for asyncio.sleep(...),\n"
            "a nursery (async with trio.open_nursery() as nursery) for gather and create_task."
        )
