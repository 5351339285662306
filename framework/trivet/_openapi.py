"""The OpenAPI 3.1 document of an application, from its routes' plans.

This file owns the shape of the document: which routes are operations, under which path and id, and what stands around
what they take (`_openapi_inputs`) and answer (`_openapi_results`). It is given routes as data, and serves nothing.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import _percent
from ._conflict import Relation, compare
from ._describe import Description, description_of
from ._language import TEXT
from ._openapi_inputs import body_of, faults_of, parameters_of
from ._openapi_results import problem_of, responses_of
from ._openapi_schemas import Schema, Schemas
from ._pattern import Field, Fixed, Pattern
from ._plan import Plan
from ._problem import PROBLEM, reason_phrase
from ._source import underlying

VERSION: Final = "3.1.1"

METHODS: Final = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")
"""Those that a Path Item of 3.1 has a place for."""

# Sections of a docstring that are for those who call the function in Python (Google's style).
_SECTIONS: Final = frozenset({"Args:", "Arguments:", "Raises:", "Returns:", "Yields:"})


@dataclass(frozen=True, slots=True)
class Route:
    """What the document is made of: one route at its place in the application."""

    prefix: str
    """Of the application that it is in, if that is mounted; literal text."""
    pattern: Pattern
    methods: frozenset[str]
    handler: Callable[..., Any]
    returned: Any
    """The annotation of what the handler returns."""
    plan: Plan
    name: str
    summary: str
    status: int | None
    timeout: float
    max_body: int | None
    limited: bool
    tags: Sequence[str]
    responses: Mapping[int, str]
    """Further statuses, and what each means."""


def document(routes: Iterable[Route], *, title: str, version: str) -> Schema:
    """The OpenAPI document of these routes, in their order.

    Raises:
        RegistrationError: a provider describes itself wrongly.
    """
    maker = _Maker()
    for route in routes:
        maker.add(route)
    maker.finish()
    components = {"schemas": maker.schemas.finish(), "securitySchemes": maker.schemes}
    tags = dict.fromkeys(tag for each in maker.operations for tag in each.content.get("tags", ()))
    made: Schema = {"openapi": VERSION, "info": {"title": title, "version": version}, "paths": maker.paths}
    if any(components.values()):
        made["components"] = {name: each for name, each in components.items() if each}
    if tags:
        made["tags"] = [{"name": tag} for tag in tags]
    return made


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    name: str
    content: Schema


class _Maker:
    """A document that is being made."""

    def __init__(self) -> None:
        self.schemas = Schemas()
        self.paths: Schema = {}
        self.schemes: Schema = {}
        self.operations: list[_Operation] = []
        # Paths that differ in the names of their fields only are the same one (3.1, "Path Templating").
        self._templates: dict[str, tuple[str, ...]] = {}
        self._routes: dict[str, list[Route]] = {}

    def add(self, route: Route) -> None:
        shape, fields = _template(route)
        known = self._templates.setdefault(shape, fields)
        path = shape.format(*(f"{{{name}}}" for name in known))
        item = self.paths.setdefault(path, {})
        self._routes.setdefault(path, []).append(route)
        for method in METHODS:
            if method not in route.methods:
                continue
            operation = self._operation(route, method, dict(zip(fields, known, strict=True)))
            first: Schema | None = item.get(method.lower())
            if first is not None:
                _merge(first, operation, _beside(route, fields))
                continue
            item[method.lower()] = operation
            self.operations.append(_Operation(method, path, route.name, operation))
        if not item:
            del self.paths[path]

    def _operation(self, route: Route, method: str, names: Mapping[str, str]) -> Schema:
        made: Schema = {"operationId": ""}  # comes when all are known; this is its place
        made.update(_words(route))
        if route.tags:
            made["tags"] = list(route.tags)
        if hasattr(route.handler, "__deprecated__"):  # PEP 702
            made["deprecated"] = True
        if parameters := parameters_of(route.plan, route.pattern, names, self.schemas):
            made["parameters"] = parameters
        if (body := body_of(route.plan, self.schemas)) is not None:
            made["requestBody"] = body
        described = [each for each in map(description_of, route.plan.providers) if each is not None]
        made["responses"] = self._responses(route, method, described)
        if security := self._security(described):
            made["security"] = security
        if route.timeout != math.inf:
            made["x-timeout"] = route.timeout
        return made

    def _responses(self, route: Route, method: str, described: Sequence[Description]) -> Schema:
        found = responses_of(route.returned, route.status, self.schemas)
        errors: dict[int, str] = dict(faults_of(route.plan, route.max_body))
        reasons = ["The server is busy."] if route.limited else []
        if route.timeout != math.inf:
            reasons.append(f"It took longer than {route.timeout:g} s, or the server is stopping.")
        if reasons:
            errors[503] = " ".join(reasons)
        for each in described:
            errors.update(each.responses)
        errors.update(route.responses)
        for status, description in errors.items():
            if status >= 400:
                found[str(status)] = problem_of(description, self.schemas)
            else:
                found.setdefault(str(status), {})["description"] = description or reason_phrase(status)
        for each in described:
            for status, headers in each.response_headers.items():
                for code in [status] if status else list(found):
                    _add_headers(found.get(str(code)), headers)
        if route.limited:
            _add_headers(found["503"], {"Retry-After": "After how many seconds to try again, if it was busy."})
        if method == "HEAD":
            for response in found.values():
                response.pop("content", None)
        return dict(sorted(found.items()))

    def _security(self, described: Sequence[Description]) -> list[Schema]:
        """The alternatives that satisfy all providers: anonymous first, where credentials are optional."""
        needed: dict[str, list[str]] = {}
        required: set[str] = set()
        for each in described:
            for name, scheme in each.security.items():
                while self.schemes.setdefault(name, dict(scheme)) != scheme:
                    name += "_"  # another of that name, which is not the same
                scopes = needed.setdefault(name, [])
                scopes += [scope for scope in each.scopes if scope not in scopes]
                if not each.optional:
                    required.add(name)
        if not needed:
            return []
        optional = [name for name in needed if name not in required]
        given = [set(some) for size in range(len(optional) + 1) for some in itertools.combinations(optional, size)]
        return [{name: needed[name] for name in needed if name in required | some} for some in given]

    def finish(self) -> None:
        """Say what can be said only when all operations are known."""
        for each in self.operations:
            there = self._routes[each.path]
            responses: Schema = each.content["responses"]
            for status, text in _misses(each.method, there):
                responses.setdefault(status, problem_of(text, self.schemas))
            each.content["responses"] = dict(sorted(responses.items()))
        self._name()

    def _name(self) -> None:
        """Give each operation an id: its route's name, and as much more as tells it from the others.

        An id depends on the routes, not on their order; and not on HEAD, whose operations take what is left.
        """
        heads = [each for each in self.operations if each.method == "HEAD"]
        waiting = [each for each in self.operations if each.method != "HEAD"]
        for spell in (_by_name, _by_method, _by_path):
            count = Counter(map(spell, waiting))
            self._give([each for each in waiting if count[spell(each)] == 1], spell)
            waiting = [each for each in waiting if count[spell(each)] > 1]
        self._give(waiting, _by_path)
        self._give(heads, _by_method)

    def _give(self, operations: Iterable[_Operation], spell: Callable[[_Operation], str]) -> None:
        taken = {each.content["operationId"] for each in self.operations}
        for each in operations:
            wanted = found = spell(each)
            number = 2
            while found in taken:
                found, number = f"{wanted}_{number}", number + 1
            each.content["operationId"] = found
            taken.add(found)


def _by_name(operation: _Operation) -> str:
    return _word(operation.name) or _by_path(operation)


def _by_method(operation: _Operation) -> str:
    return f"{_by_name(operation)}_{operation.method.lower()}"


def _by_path(operation: _Operation) -> str:
    return "_".join(filter(None, (_word(operation.name), operation.method.lower(), _word(operation.path))))


def _word(text: str) -> str:
    """A text as a name in a program, which is what ids become."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")


def _template(route: Route) -> tuple[str, tuple[str, ...]]:
    """The path with `{}` for each field, literals percent-encoded, and the names of the fields."""
    parts: list[str] = []
    for each in route.pattern.segments:
        if isinstance(each, Fixed):
            parts.append(_percent.encode(each.text))
        else:
            assert isinstance(each, Field)
            parts.append(f"{_percent.encode(each.prefix)}{{}}{_percent.encode(each.suffix)}")
    if route.pattern.tail == "path":
        parts.append("{}")
    prefix = "/".join(_percent.encode(_percent.decode(part)) for part in route.prefix.split("/"))
    return prefix + "".join(f"/{part}" for part in parts), tuple(route.pattern.fields)


def _words(route: Route) -> Iterator[tuple[str, str]]:
    """Summary and description: from the docstring, where the route does not say."""
    function = underlying(route.handler)
    text = inspect.getdoc(function) if inspect.isfunction(function) else None
    lines = (text or "").partition("\f")[0].strip().splitlines()
    end = next((n for n, line in enumerate(lines) if line.strip() in _SECTIONS), len(lines))
    first, _, rest = "\n".join(lines[:end]).strip().partition("\n\n")
    summary = route.summary or " ".join(first.split())
    if summary:
        yield "summary", summary
    if route.summary:
        rest = f"{first}\n\n{rest}"
    if rest.strip():
        yield "description", rest.strip()


def _beside(route: Route, fields: Sequence[str]) -> str:
    what = route.summary or dict(_words(route)).get("summary") or route.name
    types = ", ".join(f"`{name}` is {route.pattern.fields[name]}" for name in fields)
    return f"Where {types}: {what}"


def _misses(method: str, routes: Sequence[Route]) -> Iterator[tuple[str, str]]:
    """What becomes of requests whose fields of the path are not what this method's routes there take."""
    taking = [each for each in routes if method in each.methods]
    others = [each.pattern for each in routes if method not in each.methods]
    if any(_takes_all(each.pattern) for each in taking):
        return
    if not any(_takes_all(each) for each in others):
        yield "404", "There is nothing at this path: a field of it does not fit."
    inside = (Relation.EQUIVALENT, Relation.MORE_SPECIFIC)
    if any(all(compare(other, each.pattern) not in inside for each in taking) for other in others):
        yield "405", "A field of the path does not fit, and only other methods take it."


def _takes_all(pattern: Pattern) -> bool:
    """Whether no text of a field is refused."""
    return all(converter.language == TEXT for converter in pattern.fields.values())


def _merge(first: Schema, other: Schema, what: str) -> None:
    """Add an operation to another of the same path and method: OpenAPI has no place for two.

    What tells them apart in a request, the types of the path's fields, becomes one type that takes both.
    """
    first["description"] = f"{first.get('description', '')}\n\n{what}".strip()
    for one, two in zip(first.get("parameters", ()), other.get("parameters", ()), strict=False):
        if one["in"] == two["in"] == "path":
            one["schema"] = {"anyOf": [one["schema"], two["schema"]]}
    for status, response in other["responses"].items():
        known = first["responses"].setdefault(status, response)
        for media, content in response.get("content", {}).items():
            there = known.setdefault("content", {}).setdefault(media, content)
            if there is not content and media != PROBLEM:
                there["schema"] = {"anyOf": [there["schema"], content["schema"]]}


def _add_headers(response: Schema | None, headers: Mapping[str, str]) -> None:
    if response is not None:
        known: Schema = response.setdefault("headers", {})
        for name, description in headers.items():
            known.setdefault(name, {"description": description, "schema": {"type": "string"}})
