"""What an application tells of itself: its OpenAPI document, and the page that shows it.

This file owns when the document is made and made again, how both are served, and where the page's scripts come from:
from a package that is installed, never from the internet. What is in the document is `_openapi`'s.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ._compile import compile_plan
from ._endpoint import Endpoint, Mounted
from ._openapi import Route, document
from ._options import Level, Unset
from ._path_types import path_types
from ._pattern import parse
from ._plan import Plan
from ._registered import INJECTABLE, Registered
from ._request import Request
from ._response import HTML, Response
from ._routes import Table
from ._source import locate
from .errors import HTTPError, RegistrationError

OPENAPI_URL: Final = "/openapi.json"
DOCS_URL: Final = "/docs"

PACKAGE: Final = "drf_spectacular_sidecar"
"""Swagger UI as its makers build it, in a package that follows its releases month by month. It is made for Django,
which it installs; we take its files and import neither."""

ASSETS: Final = Path("static", PACKAGE, "swagger-ui-dist")

File = Literal["swagger-ui.css", "swagger-ui-bundle.js", "oauth2-redirect.html", "oauth2-redirect.js", "start.js"]

TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".html": "text/html"}

START: Final = """\
"use strict";
// A file of its own, as the page's security policy allows no script within it.
// Dark where its reader prefers that; an older Swagger UI, which has no such colours, stays light.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();
window.ui = SwaggerUIBundle({
  url: document.currentScript.dataset.url,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // it would be a server of somebody else's
  oauth2RedirectUrl: new URL(document.currentScript.dataset.redirect, location.href).href,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{base}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The document that it shows is <a href="{url}">here</a>.</noscript>
<script src="{base}/swagger-ui-bundle.js"></script>
<script src="{base}/start.js" data-url="{url}" data-redirect="{base}/oauth2-redirect.html"></script>
</body>
</html>
"""

HEADERS: Final = {
    # Nothing from elsewhere, and no script but the files. Swagger UI writes styles into the page: those are allowed.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

MISSING: Final = "The page needs files that are not installed here:  pip install 'trivet[docs]'"


def is_page(endpoint: Endpoint) -> bool:
    """Whether a route is one of these, which the application has by itself."""
    return endpoint.handler.__module__ == __name__


class Documentation:
    """The document of one application, and its pages.

    Args:
        table: the application's routes.
        title: of the application.
        version: of the application.
        openapi_url: where the document is; `None`: nowhere.
        docs_url: where the page is; `None`: nowhere.

    Raises:
        RegistrationError: one of these is wrong.
    """

    def __init__(
        self,
        table: Table[Endpoint | Mounted],
        title: str,
        version: str,
        openapi_url: str | Unset | None,
        docs_url: str | Unset | None,
    ) -> None:
        for name, text, example in (("title", title, "Notes"), ("version", version, "1.0")):
            if not isinstance(text, str) or not text:
                raise RegistrationError(f'{name}={text!r} is not a text.\nWrite {name}="{example}".')
        if openapi_url is None and isinstance(docs_url, str):
            raise RegistrationError(
                f"docs_url={docs_url!r} is a page without a document to show: openapi_url is None.\n"
                "Let the document be served, or write docs_url=None."
            )
        self._table = table
        self._title = title
        self._version = version
        self._openapi_url = _checked("openapi_url", OPENAPI_URL, openapi_url)
        self._docs_url = None if openapi_url is None else _checked("docs_url", DOCS_URL, docs_url)
        self._asked = (isinstance(openapi_url, str), isinstance(docs_url, str))
        self._made_of: Sequence[Plan] = ()
        self._document: bytes = b""
        self._sent: tuple[str, bytes, str] | None = None
        """For a root path: what is sent, and its entity tag."""

    def add_pages(self, level: Level, *, asked: bool) -> None:
        """Add the pages to the table. They take the application's middleware and options, but not its dependencies:
        a browser that is to show the page has no token for it yet.

        Args:
            level: of the application.
            asked: those whose path the application gave. The others give way to whatever route takes their path, so
                that nothing that an application answers changes.

        Raises:
            RouteConflict: a page that was asked for is where a route is.
        """
        if self._openapi_url is not None and self._asked[0] is asked:
            self._add(level, {self._openapi_url: self._openapi()}, asked=asked)
        if self._docs_url is not None and self._asked[1] is asked:
            page = self._docs(self._openapi_url or OPENAPI_URL, self._docs_url)
            self._add(level, {self._docs_url: page, f"{self._docs_url}/{{name}}": docs_file}, asked=asked)

    def _add(self, level: Level, pages: Mapping[str, Callable[..., Any]], *, asked: bool) -> None:
        patterns = {path: parse(path, path_types(handler)) for path, handler in pages.items()}
        if not asked and not all(self._table.is_free("GET", pattern) for pattern in patterns.values()):
            return
        methods = frozenset({"GET"})
        for path, handler in pages.items():
            name, where, pattern = handler.__name__, locate(handler), patterns[path]
            entry = Registered(path, methods, handler, name, Level(), None, "", include_in_schema=False, where=where)
            plan = compile_plan(handler, pattern.fields, INJECTABLE)
            levels = (dataclasses.replace(level, dependencies=[]), entry.level)
            self._table.add(pattern, methods, Endpoint(entry, pattern, plan, levels), where)

    def _endpoints(self, prefix: str = "") -> Iterator[tuple[str, Endpoint]]:
        """All routes to be shown, those of mounted trivet applications included, each with its prefix."""
        for entry in self._table.entries():
            if isinstance(entry.value, Endpoint):
                if entry.value.registered.include_in_schema:
                    yield prefix, entry.value
                continue
            below = getattr(entry.value.app, "_documentation", None)
            if isinstance(below, Documentation):
                yield from below._endpoints(prefix + entry.value.prefix)

    def encoded(self) -> bytes:
        """The document as JSON. It is made when it is asked for, and again when routes or their plans have changed."""
        endpoints = list(self._endpoints())
        plans = [endpoint.plan for _, endpoint in endpoints]
        same = len(plans) == len(self._made_of) and all(a is b for a, b in zip(plans, self._made_of, strict=True))
        if not self._document or not same:
            routes = [_route(prefix, endpoint) for prefix, endpoint in endpoints]
            self._document = msgspec.json.encode(
                document(routes, title=self._title, version=self._version), enc_hook=str
            )
            self._made_of = plans
            self._sent = None
        return self._document

    def decoded(self) -> dict[str, Any]:
        """The document, nobody else's copy."""
        return msgspec.json.decode(self.encoded(), type=dict[str, Any])

    def _as_sent(self, root_path: str) -> tuple[bytes, str]:
        content = self.encoded()
        if self._sent is None or self._sent[0] != root_path:
            if root_path:
                content = msgspec.json.encode({**self.decoded(), "servers": [{"url": root_path}]})
            self._sent = root_path, content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return self._sent[1:]

    def _openapi(self) -> Callable[..., Any]:
        async def openapi_document(request: Request) -> Response:
            """The OpenAPI document of this application."""
            content, tag = self._as_sent(request.scope.get("root_path", ""))
            headers = {"etag": tag, "cache-control": "no-cache"}
            return _unless_known(Response(content, media_type="application/json", headers=headers), request)

        return openapi_document

    def _docs(self, openapi_url: str, docs_url: str) -> Callable[..., Any]:
        # Relative, so that they hold below any prefix, one that a proxy takes away included.
        base = escape(posixpath.basename(docs_url))
        url = escape(posixpath.relpath(openapi_url, posixpath.dirname(docs_url)))
        page = PAGE.format(title=escape(self._title), base=base, url=url)

        async def docs_page() -> Response:
            """The OpenAPI document, for people."""
            if _asset("swagger-ui-bundle.js") is None:
                raise HTTPError(501, MISSING)
            return HTML(page, headers=HEADERS)

        return docs_page


def docs_file(request: Request, name: File) -> Response:
    """What the page needs. A plain function, so that it reads in a worker thread."""
    content = START.encode() if name == "start.js" else None
    path = _asset(name)
    if path is None:
        raise HTTPError(501, MISSING)
    if content is None:
        content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    kind = TYPES[posixpath.splitext(name)[1]]
    return _unless_known(Response(content, media_type=kind, headers={**HEADERS, "etag": tag}), request)


def _asset(name: str) -> Path | None:
    """The file of the package; `None`: it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / ASSETS / name


def _unless_known(response: Response, request: Request) -> Response:
    """304 without the content, if the client has it (RFC 9110 section 13.1.2)."""
    if request.check(etag=response.headers["etag"]) is not None:
        response.status, response.body = 304, b""
        response.headers.pop("content-type", None)
    return response


def _checked(name: str, default: str, value: str | Unset | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, Unset):
        return default
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/") or set(value) & set("{}?#"):
        raise RegistrationError(f"{name}={value!r} is not a path.\nWrite {name}={default!r}, or {name}=None for none.")
    return value


def _route(prefix: str, endpoint: Endpoint) -> Route:
    registered, options = endpoint.registered, endpoint.resolve()
    return Route(
        prefix=prefix,
        pattern=endpoint.pattern,
        methods=registered.methods,
        handler=registered.handler,
        returned=endpoint.returned,
        plan=endpoint.plan,
        name=registered.name,
        summary=registered.summary,
        status=registered.status,
        timeout=options.timeout,
        max_body=options.max_body,
        limited=bool(options.limits),
        tags=options.tags,
        responses=options.responses,
    )
