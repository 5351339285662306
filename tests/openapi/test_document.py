"""The OpenAPI document: what it says of an application, and that it is valid."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import pydantic
import pytest
from msgspec import Meta
from openapi_spec_validator import OpenAPIV31SpecValidator

import apps.counter.main
import apps.hello
import apps.notes
import apps.sleepers
import apps.tour
from tests.openapi import everything
from trivet import (
    App,
    Body,
    Depends,
    EventStream,
    Form,
    Header,
    Limit,
    Query,
    Request,
    Response,
    Router,
    Stream,
    Text,
    UploadFile,
)
from trivet._describe import Description
from trivet.contrib.security import APIKey, Bearer
from trivet.errors import RegistrationError

T = TypeVar("T")

EVERYTHING = everything.app.openapi()


def operation(path: str, method: str = "get", document: dict[str, Any] = EVERYTHING) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def parameters(path: str, method: str = "get") -> dict[str, Any]:
    return {each["name"]: each for each in operation(path, method).get("parameters", ())}


def schema(name: str, document: dict[str, Any] = EVERYTHING) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def only(handler: Callable[..., Any], method: str = "get", **options: Any) -> dict[str, Any]:
    """The operation of an application that has this handler only."""
    app = App()
    getattr(app, method)("/", **options)(handler)
    return operation("/", method, app.openapi())


@pytest.mark.parametrize(
    "app",
    [everything.app, apps.hello.app, apps.sleepers.app, apps.tour.app, apps.counter.main.app, apps.notes.app, App()],
    ids=["everything", "hello", "sleepers", "tour", "counter", "notes", "nothing"],
)
def test_it_is_valid(app: App) -> None:
    """The document is OpenAPI 3.1, whatever is in it."""
    assert list(OpenAPIV31SpecValidator(app.openapi()).iter_errors()) == []


def test_it_names_the_application() -> None:
    """Title and version are those of the application; by default the document has some."""
    assert (EVERYTHING["openapi"], EVERYTHING["info"]) == ("3.1.1", {"title": "Everything", "version": "2.1"})
    assert App().openapi()["info"] == {"title": "API", "version": "0.1.0"}
    assert EVERYTHING["tags"] == [{"name": "items"}, {"name": "team"}]


def test_routes_are_shown_below_their_prefixes() -> None:
    """Those of routers and of mounted trivet applications too; not those that are not to be shown."""
    assert {"/items", "/team/{member}", "/admin/", "/picture/{name}.png", "/files/{rest}"} <= set(EVERYTHING["paths"])
    assert not {"/hidden", "/docs", "/openapi.json"} & set(EVERYTHING["paths"])
    assert operation("/admin/")["x-timeout"] == 60


def test_literals_are_percent_encoded() -> None:
    """A path is a URL's, prefixes included, whichever way they were written."""
    app, inner = App(), App()
    inner.get("/grün")(lambda: "")
    app.get("/a b/{x}")(lambda x: "")
    app.mount("/caf%C3%A9", inner)
    assert list(app.openapi()["paths"]) == ["/a%20b/{x}", "/caf%C3%A9/gr%C3%BCn"]


def test_words_are_the_docstrings() -> None:
    """The first paragraph is the summary, the rest the description, as far as it is for clients."""
    assert operation("/items")["summary"] == "List items."
    assert operation("/items")["description"] == "Those that fit *all* of what is given."
    member = operation("/team/{member}")
    assert (member["summary"], member["description"]) == ("A member", "What is known.\n\nOf one of us.")
    assert "summary" not in operation("/untold")


def test_words_end_at_a_form_feed() -> None:
    """What follows a form feed is for readers of the code, as in FastAPI."""

    async def handler() -> None:
        """One.

        Two.
        \f
        Three.
        """

    found = only(handler)
    assert (found["summary"], found["description"]) == ("One.", "Two.")


def test_parameters_are_those_of_the_plan() -> None:
    """Each with its place, name, type and bounds; a model's fields one by one; required ones said to be."""
    found = parameters("/items")
    assert list(found) == ["text", "limit", "colors", "since", "at", "ratio", "id"]
    assert {each["in"] for each in found.values()} == {"query"}
    assert found["limit"] == {
        "name": "limit",
        "in": "query",
        "description": "How many at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    }
    assert found["text"]["schema"] == {"type": "string", "maxLength": 20}
    assert found["since"]["schema"] == {"type": "string", "format": "date"}
    assert found["at"]["schema"] == {"type": "string", "format": "date-time"}
    assert found["ratio"]["schema"] == {"type": "number", "default": 0.5}
    assert found["id"]["schema"] == {"type": "array", "items": {"type": "string", "format": "uuid"}, "default": []}
    heads = parameters("/heads")
    assert {name: (each["in"], each.get("required", False)) for name, each in heads.items()} == {
        "page-size": ("header", False),
        "x-name": ("header", True),
        "session": ("cookie", False),
        "x-tag": ("header", False),
    }
    assert heads["page-size"]["schema"]["default"] == 5


def test_path_fields_are_required_and_never_empty() -> None:
    """An int has the bounds that its texts have; a class of the application's own is a text."""
    item = parameters("/items/{item_id}")["item_id"]
    assert item == {
        "name": "item_id",
        "in": "path",
        "required": True,
        "description": "Its number.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999999999999999999},
    }
    assert parameters("/files/{rest}")["rest"]["schema"] == {"type": "string", "minLength": 1}
    assert parameters("/by-version/{version}")["version"]["schema"] == {"type": "string"}


def test_pydantic_fields_are_described_by_pydantic() -> None:
    """In a query and in a body, with what its `Field` says."""
    low, high = parameters("/range").values()
    assert low["description"] == "Where it starts."
    assert (low["schema"]["minimum"], low["schema"]["maximum"], low["required"]) == (0, 10, True)
    assert high["schema"]["type"] == "integer"
    assert "required" not in high
    body = operation("/orders", "post")["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Order"}
    assert schema("Order")["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/Line"}


class Tone(enum.Enum):
    """Of a search, and of what it finds."""

    LOW = "low"


class Search(pydantic.BaseModel):
    """Aliases of every kind: pydantic says of none of them that it applies outside of a model."""

    words: str = pydantic.Field(alias="q", description="What to look for.", max_length=9)
    first: int = pydantic.Field(alias="second", ge=1)
    second: int = pydantic.Field(3, validation_alias="first", title="The other", ge=2)
    tone: Tone = Tone.LOW
    tones: list[Tone] | None = None


class Found(pydantic.BaseModel):
    """A result."""

    tone: Tone


def test_fields_of_pydantic_may_have_aliases() -> None:
    """Each is described under the name it is sent by, as its model has it; an Enum is a component for all."""

    async def search(search: Annotated[Search, Query()]) -> Found: ...

    app = App()
    app.get("/")(search)
    document = app.openapi()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    found = {each["name"]: each for each in operation("/", document=document)["parameters"]}
    assert found["q"]["description"] == "What to look for."
    assert {name: each["schema"] for name, each in found.items()} == {
        "q": {"type": "string", "maxLength": 9},
        "second": {"type": "integer", "minimum": 1},
        "first": {"type": "integer", "minimum": 2, "default": 3, "title": "The other"},
        "tone": {"$ref": "#/components/schemas/Tone", "default": "low"},
        "tones": {"type": "array", "items": {"$ref": "#/components/schemas/Tone"}},
    }
    assert sorted(document["components"]["schemas"]) == ["Found", "Problem", "Tone"]


def test_a_parameter_can_be_deprecated() -> None:
    """`Meta` says so; OpenAPI has it at the parameter."""

    async def handler(
        old: Annotated[int, Meta(extra_json_schema={"deprecated": True}, description="Was.", examples=[3])] = 1,
    ) -> None: ...

    (found,) = only(handler)["parameters"]
    assert (found["deprecated"], found["description"], found["schema"]["examples"]) == (True, "Was.", [3])


def test_two_who_read_one_parameter_document_it_once() -> None:
    """And it is required if one of them requires it."""

    async def provider(page: int) -> None: ...

    async def handler(p: Annotated[None, Depends(provider)], page: int = 1) -> None: ...

    (found,) = only(handler)["parameters"]
    assert found["required"] is True


def test_bodies_come_as_their_types() -> None:
    """A document as JSON or msgpack, raw bytes as such, a form by whether it has files."""

    def body(path: str) -> dict[str, Any]:
        found: dict[str, Any] = operation(path, "post")["requestBody"]
        return found

    item = {"schema": {"$ref": "#/components/schemas/Item"}}
    assert body("/items") == {"required": True, "content": {"application/json": item, "application/msgpack": item}}
    assert "required" not in body("/count")
    assert list(body("/raw")["content"]) == ["application/octet-stream"]
    assert list(body("/profile")["content"]) == ["application/x-www-form-urlencoded", "multipart/form-data"]
    form = body("/profile")["content"]["application/x-www-form-urlencoded"]["schema"]
    assert form == {
        "type": "object",
        "properties": {
            "nick": {"type": "string", "minLength": 1},
            "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 0},
        },
        "required": ["nick"],
    }
    assert list(body("/photos")["content"]) == ["multipart/form-data"]
    files = body("/photos")["content"]["multipart/form-data"]["schema"]
    assert files["required"] == ["title", "photo"]
    assert files["properties"]["photo"] == {"type": "string", "format": "binary"}
    assert files["properties"]["more"]["items"] == {"type": "string", "format": "binary"}


def test_a_form_that_knows_all_its_fields_says_so() -> None:
    """A model that forbids unknown fields makes the form one that has no others."""

    class Closed(msgspec.Struct, forbid_unknown_fields=True):
        a: int

    async def handler(form: Annotated[Closed, Form()]) -> None: ...

    content = only(handler, "post")["requestBody"]["content"]
    assert content["application/x-www-form-urlencoded"]["schema"]["additionalProperties"] is False


class Note(msgspec.Struct):
    text: str


async def as_text() -> str: ...
async def as_bytes() -> bytes: ...
async def as_nothing() -> None: ...
async def as_model() -> Note: ...
async def as_optional() -> Note | None: ...
async def as_either() -> str | list[Note]: ...
async def as_known_tuple() -> tuple[Literal[200, 201], Note]: ...
async def as_empty_tuple() -> tuple[Literal[202], None, dict[str, str]]: ...
async def as_tuple() -> tuple[int, str]: ...
async def as_response() -> Response: ...
async def as_own_response() -> Csv: ...
async def as_stream() -> Stream: ...
async def as_events() -> EventStream: ...
async def as_events_or_nothing() -> EventStream | None: ...
async def as_anything() -> Any: ...
async def as_literal() -> Literal["a", "b"]: ...
async def as_unknown() -> Callable[[], None]: ...  # what nobody can describe


class Csv(Text):
    """A response of an application's own."""


NOTE = {"$ref": "#/components/schemas/Note"}


@pytest.mark.parametrize(
    ("handler", "status", "expected"),
    [
        (as_text, None, {"200": {"text/plain": {"type": "string"}}}),
        (as_text, 202, {"202": {"text/plain": {"type": "string"}}}),
        (as_bytes, None, {"200": {"application/octet-stream": {}}}),
        (as_nothing, None, {"204": {}}),
        (as_nothing, 202, {"202": {}}),
        (as_model, None, {"200": {"application/json": NOTE}}),
        (as_model, 201, {"201": {"application/json": NOTE}}),
        (as_optional, None, {"200": {"application/json": NOTE}, "204": {}}),
        (
            as_either,
            None,
            {"200": {"text/plain": {"type": "string"}, "application/json": {"type": "array", "items": NOTE}}},
        ),
        (as_known_tuple, None, {"200": {"application/json": NOTE}, "201": {"application/json": NOTE}}),
        (as_empty_tuple, None, {"202": {}}),
        (as_tuple, None, {"default": {"text/plain": {"type": "string"}}}),
        (as_response, None, {"default": {}}),
        (as_own_response, None, {"200": {"text/plain": {"type": "string"}}}),
        (as_stream, None, {"200": {"*/*": {}}}),
        (as_events, 201, {"200": {"text/event-stream": {"type": "string"}}}),
        (as_events_or_nothing, None, {"200": {"text/event-stream": {"type": "string"}}, "204": {}}),
        (as_anything, None, {"default": {}}),
        (as_literal, None, {"200": {"text/plain": {"enum": ["a", "b"], "type": "string"}}}),
        (as_unknown, None, {"200": {"application/json": {}}}),
    ],
)
def test_results_are_what_the_annotation_says(
    handler: Callable[..., Any], status: int | None, expected: dict[str, Any]
) -> None:
    """Status and content as `_results` makes them of a value of that type."""
    options = {} if status is None else {"status": status}
    responses = only(handler, timeout=None, **options)["responses"]
    found = {
        code: {media: content["schema"] for media, content in each.get("content", {}).items()}
        for code, each in responses.items()
    }
    assert found == expected
    assert all(each["description"] for each in responses.values())


def test_security_is_what_providers_say() -> None:
    """All that a route's providers ask for is needed, each scheme stands once, with the scopes of all."""
    assert operation("/items", "post")["security"] == [{"token": []}]
    assert operation("/items/{item_id}", "delete")["security"] == [{"token": ["admin"]}]
    assert EVERYTHING["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert operation("/items/{item_id}", "delete")["responses"]["401"]["headers"] == {
        "WWW-Authenticate": {"description": "What is asked for.", "schema": {"type": "string"}}
    }
    assert "security" not in operation("/items")


@dataclass(frozen=True)
class Guard:
    """A provider that describes itself as a test wants."""

    name: str
    header: str
    limit: bool = False

    def __call__(self) -> None: ...

    def describe(self) -> Description:
        if self.limit:
            return Description(responses={429: "Later."}, response_headers={0: {"RateLimit": "Left."}})
        return Description(security={self.name: {"type": "apiKey", "in": "header", "name": self.header}})


def test_two_schemes_of_one_name_are_two() -> None:
    """What two providers call the same and is not is not mistaken for it."""
    app = App()
    app.get("/a", dependencies=[Depends(Guard("key", "x-a"))])(as_nothing)
    app.get("/b", dependencies=[Depends(Guard("key", "x-b"))])(as_nothing)
    document = app.openapi()
    assert [operation(path, document=document)["security"] for path in ("/a", "/b")] == [[{"key": []}], [{"key_": []}]]
    assert {name: each["name"] for name, each in document["components"]["securitySchemes"].items()} == {
        "key": "x-a",
        "key_": "x-b",
    }


def test_a_header_of_every_response_is_on_every_response() -> None:
    """A rate limit's, with status 0."""
    found = only(as_nothing, dependencies=[Depends(Guard("", "", limit=True))])["responses"]
    assert set(found) == {"204", "429", "503"}
    assert all(list(each["headers"]) == ["RateLimit"] for each in found.values())


def test_a_provider_that_describes_itself_wrongly_is_refused() -> None:
    """The message says what to return."""

    class Wrong:
        def __call__(self) -> None: ...

        def describe(self) -> str:
            return "wrong"

    app = App(dependencies=[Depends(Wrong())])
    app.get("/")(as_nothing)
    with pytest.raises(RegistrationError, match="not a Description"):
        app.openapi()


def test_timeouts_are_said() -> None:
    """As `x-timeout` and 503, where there is one."""
    assert (operation("/items")["x-timeout"], "503" in operation("/items")["responses"]) == (10, True)
    member = operation("/team/{member}")
    assert ("x-timeout" in member, list(member["responses"])) == (False, ["200", "410", "418"])


def test_limits_are_said() -> None:
    """As 503 with `Retry-After`, beside what else is 503; what has no limit has no such header."""
    limited = only(as_nothing, limit=Limit(1), timeout=None)["responses"]["503"]
    assert (limited["description"], list(limited["headers"])) == ("The server is busy.", ["Retry-After"])
    both = only(as_nothing, limit=Limit(1), timeout=2)["responses"]["503"]
    assert both["description"] == "The server is busy. It took longer than 2 s, or the server is stopping."
    assert "headers" not in only(as_nothing, timeout=2)["responses"]["503"]


def test_a_deprecated_handler_is_a_deprecated_operation() -> None:
    """PEP 702's decorator says it to callers in Python and over HTTP."""
    assert operation("/items/{item_id}", "delete")["deprecated"] is True
    assert "deprecated" not in operation("/items")


# ---- ids


def ids(app: App) -> dict[str, str]:
    return {
        f"{method} {path}": each["operationId"]
        for path, item in app.openapi()["paths"].items()
        for method, each in item.items()
    }


def test_ids_are_the_names_of_routes() -> None:
    """As little as tells them apart: the name; with its method; with its path."""
    app, notes = App(), Router()

    async def show() -> None: ...

    app.route("/one", methods=["PUT", "GET"])(show)
    app.get("/two", name="two")(show)
    notes.get("/list", name="index")(show)
    app.mount("/notes", notes)
    app.get("/", name="index")(show)
    app.get("/lambda")(lambda: "")
    assert ids(app) == {
        "put /one": "show_put",
        "get /one": "show_get",
        "get /two": "two",
        "get /notes/list": "index_get_notes_list",
        "get /": "index_get",
        "get /lambda": "lambda",
    }


def test_ids_do_not_depend_on_order_or_head() -> None:
    """A HEAD that is registered beside a GET changes nothing, nor does which route came first."""

    def made(*, head: bool, backwards: bool) -> dict[str, str]:
        app = App()

        async def show(number: int) -> None: ...
        async def other(number: int) -> None: ...

        routes = [
            ("/a/{number}", ["GET"], show),
            ("/b/{number}", ["GET", "POST"], show),
            ("/c/{number}", ["GET"], other),
        ]
        for path, methods, handler in reversed(routes) if backwards else routes:
            app.route(path, methods=[*methods, "HEAD"] if head else methods)(handler)
        return dict(sorted((where, each) for where, each in ids(app).items() if not where.startswith("head")))

    plain = made(head=False, backwards=False)
    assert plain == made(head=True, backwards=False) == made(head=False, backwards=True)
    assert plain["get /c/{number}"] == "other"
    assert len(set(ids(everything.app).values())) == len(ids(everything.app))


def test_head_is_documented_where_it_is_registered() -> None:
    """Not where it only comes with GET; it has no content."""
    assert "head" not in EVERYTHING["paths"]["/items"]
    head = operation("/many", "head")
    assert head["operationId"] == "many_head"
    assert not any("content" in each for each in head["responses"].values())


# ---- paths that OpenAPI cannot tell apart


def test_routes_of_one_shape_share_a_path() -> None:
    """`{key:int}` and `{name}` are one path to OpenAPI: its operations use one name, and each says what else is
    there."""
    item = EVERYTHING["paths"]["/by/{key}"]
    assert set(item) == {"get", "delete"}
    assert "/by/{name}" not in EVERYTHING["paths"]
    assert item["delete"]["parameters"][0]["name"] == "key"
    assert item["get"]["summary"] == "By number."
    assert item["get"]["description"] == "Where `name` is str: By name."
    assert set(item["get"]["responses"]["200"]["content"]) == {"application/json", "text/plain"}
    assert len(item["get"]["parameters"][0]["schema"]["anyOf"]) == 2


def test_a_field_that_does_not_fit_is_404_or_405() -> None:
    """404 where no method takes it, 405 where another one does, and neither where the field may be any text."""
    app = App()

    async def of_number(key: int) -> None: ...
    async def of_small(key: Annotated[int, Meta(le=9)]) -> None: ...
    async def of_text(key: str) -> None: ...

    app.get("/a/{key}")(of_number)
    app.put("/a/{key}")(of_small)
    app.get("/b/{key}")(of_number)
    app.put("/b/{key}")(of_text)
    document = app.openapi()
    found = {
        f"{method} {path}": [status for status in each["responses"] if status in ("404", "405")]
        for path, item in document["paths"].items()
        for method, each in item.items()
    }
    assert found == {
        "get /a/{key}": ["404"],
        "put /a/{key}": ["404", "405"],
        "get /b/{key}": ["405"],
        "put /b/{key}": [],
    }


# ---- names of components


class Made(pydantic.BaseModel):
    """What goes has more in it than what comes."""

    count: int = 1

    @pydantic.computed_field
    def double(self) -> int:
        return 2 * self.count


class Sent(pydantic.BaseModel):
    kids: list[Sent]


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Page(msgspec.Struct):
    items: list[Made]
    newest: Made | None = None
    numbers: Numbers | None = None
    sent: dict[str, Sent] = {}


def result(handler: Callable[..., Any], media: str = "application/json") -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of what it returns, and all components."""
    app = App()
    app.post("/")(handler)
    document = app.openapi()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    found: dict[str, Any] = operation("/", "post", document)["responses"]["200"]["content"][media]["schema"]
    return found, document["components"]["schemas"]


def test_what_pydantic_sends_is_described_as_it_is_sent() -> None:
    """With what it computes, which nobody can send to us; one schema if the two forms are the same."""

    async def changed(body: Made) -> list[Made]: ...

    found, components = result(changed)
    assert found == {"type": "array", "items": {"$ref": "#/components/schemas/Made-Output"}}
    assert list(components["Made-Input"]["properties"]) == ["count"]
    assert components["Made-Output"]["required"] == ["double"]
    assert operation("/orders", "post")["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }


def test_what_pydantic_sends_is_described_within_other_types() -> None:
    """A Struct may hold models: they are components like any other."""

    async def paged() -> Page: ...

    found, components = result(paged)
    assert found == {"$ref": "#/components/schemas/Page"}
    made = {"$ref": "#/components/schemas/Made"}
    fields = components["Page"]["properties"]
    assert fields["items"] == {"type": "array", "items": made}
    assert fields["newest"]["anyOf"] == [made, {"type": "null"}]
    assert fields["sent"]["additionalProperties"] == {"$ref": "#/components/schemas/Sent"}
    assert components["Numbers"]["type"] == "array"
    assert "double" in components["Made"]["properties"]


def test_what_pydantic_cannot_describe_is_anything() -> None:
    """It can be sent all the same, and the rest of the document is as good as ever."""

    async def mixed() -> dict[str, Made | Page]: ...

    found, components = result(mixed)
    assert (found, set(components)) == ({}, {"Problem"})


def test_types_of_one_name_are_two_components() -> None:
    """From two modules, from msgspec and pydantic, and our own `Problem`."""
    mine = msgspec.defstruct("Problem", [("text", str)])
    first = pydantic.create_model("Thing", a=(int, ...))
    second = msgspec.defstruct("Thing", [("b", int)])

    async def problem(body: Annotated[mine, Body()]) -> None: ...  # type: ignore[valid-type]
    async def one(body: first) -> None: ...  # type: ignore[valid-type]
    async def two(body: second) -> None: ...  # type: ignore[valid-type]

    for handler, given in ((problem, mine), (one, first), (two, second)):
        handler.__annotations__["body"] = given
    app = App()
    for handler in (problem, one, two):
        app.post(f"/{handler.__name__}")(handler)
    document = app.openapi()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert set(document["components"]["schemas"]) == {"Problem", "Problem_", "Thing", "Thing_"}
    assert list(schema("Problem", document)["properties"]) == ["text"]
    assert list(schema("Thing", document)["properties"]) == ["b"]
    assert list(schema("Thing_", document)["properties"]) == ["a"]
    body = operation("/one", "post", document)["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Thing_"}


class Boxed(msgspec.Struct, Generic[T]):
    value: T


def test_types_that_msgspec_cannot_tell_apart_are_two_components() -> None:
    """Classes that a function makes have one qualified name, and generics of them too; each keeps its own schema."""
    first, second = msgspec.defstruct("Twin", [("a", int)]), msgspec.defstruct("Twin", [("b", int)])
    app = App()

    def add(path: str, given: Any) -> None:
        async def handler(body: Any) -> None: ...

        handler.__annotations__["body"] = Annotated[given, Body()]
        app.post(path)(handler)

    add("/one", Boxed[first])  # type: ignore[valid-type]
    add("/two", Boxed[second])  # type: ignore[valid-type]
    add("/three", second)
    add("/four", list[Boxed[first]])  # type: ignore[valid-type]
    add("/both", tuple[first, second])  # type: ignore[valid-type]
    document = app.openapi()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []

    def body(path: str) -> dict[str, Any]:
        media = operation(path, "post", document)["requestBody"]["content"]["application/json"]
        found: dict[str, Any] = media["schema"]
        return found

    def referred(found: dict[str, Any]) -> dict[str, Any]:
        return schema(found["$ref"].rpartition("/")[2], document)

    assert list(referred(referred(body("/one"))["properties"]["value"])["properties"]) == ["a"]
    assert list(referred(referred(body("/two"))["properties"]["value"])["properties"]) == ["b"]
    assert body("/three") == referred(body("/two"))["properties"]["value"]
    assert body("/four")["items"] == body("/one")
    assert body("/both") == {}, "two of them in one type are more than msgspec can say"
    assert len(document["components"]["schemas"]) == 5


# ---- when it is made


def test_it_is_made_again_when_routes_have_come() -> None:
    """Until the application starts routes may come; each document has those that are there."""
    app = App()
    assert app.openapi()["paths"] == {}
    app.get("/later")(as_nothing)
    assert list(app.openapi()["paths"]) == ["/later"]


def test_an_override_shows_and_goes_again() -> None:
    """The document is that of the providers in force."""

    def real(real_name: str) -> None: ...
    def fake(fake_name: int) -> None: ...

    app = App(dependencies=[Depends(real)])
    app.get("/")(as_nothing)

    def names() -> list[str]:
        return [each["name"] for each in operation("/", document=app.openapi())["parameters"]]

    with app.override(real, fake):
        assert names() == ["fake_name"]
    assert names() == ["real_name"]


def test_it_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for again it is the same, and nobody's to change for others."""
    app = App()
    app.get("/")(as_nothing)
    first = app.openapi()
    monkeypatch.setattr("trivet._docs.document", None)
    second = app.openapi()
    assert first == second
    second.clear()
    assert app.openapi() == first


def test_a_handler_inside_a_function_is_described() -> None:
    """Annotations that are strings are resolved when it is registered; later their names are gone."""

    def register() -> App:
        class Inner(msgspec.Struct):
            b: int

        app = App()

        @app.get("/")
        async def handler() -> Inner: ...  # type: ignore[empty-body]

        return app

    document = register().openapi()
    assert operation("/", document=document)["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Inner"
    }


def test_a_file_in_a_form_model_and_markers_of_each_kind() -> None:
    """What is injected is no parameter; what each marker names is."""

    async def handler(
        request: Request,
        photo: Annotated[UploadFile | None, Form(alias="picture")],
        q: Annotated[int, Query(alias="page")],
        agent: Annotated[str, Header(alias="X-Agent")],
    ) -> None: ...

    found = only(handler, "post")
    assert [(each["in"], each["name"]) for each in found["parameters"]] == [("query", "page"), ("header", "X-Agent")]
    assert list(found["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]) == ["picture"]


def test_optional_credentials_are_an_alternative() -> None:
    """Anonymous first; what another provider requires stands in each."""
    bearer, key = Bearer(), APIKey("x-key")

    async def handler(
        user: Annotated[str | None, Depends(bearer.optional)], service: Annotated[str, Depends(key)]
    ) -> None: ...

    async def visitor(user: Annotated[str | None, Depends(bearer.optional)]) -> None: ...

    app = App()
    app.get("/both")(handler)
    app.get("/visitor")(visitor)
    document = app.openapi()
    name = next(each for each in document["components"]["securitySchemes"] if each != "bearer")
    assert operation("/both", document=document)["security"] == [{name: []}, {"bearer": [], name: []}]
    assert operation("/visitor", document=document)["security"] == [{}, {"bearer": []}]
