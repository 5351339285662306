"""Markers: query, headers and cookies by name, one by one or as models, and the answer to what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

from trivet import App, Body, Cookie, Depends, Form, Header, HTTPError, Query, Request, UploadFile
from trivet.testing import TestClient

both_doors = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


T = TypeVar("T")


class Color(Enum):
    RED = "red"


class Filters(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    tags: list[str] = msgspec.field(default_factory=list[str])
    color: Color | None = None
    from_: str | None = msgspec.field(default=None, name="from")


@dataclass
class Page:
    number: int
    size: int = 20
    seen: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        if self.number * self.size > 1000:
            raise ValueError("must not lead beyond the thousandth item")


@attrs.define
class Trace:
    request_id: UUID
    baggage: list[str] = attrs.field(factory=list[str])


class Who(TypedDict):
    session: str
    theme: NotRequired[Color]


class Search(pydantic.BaseModel):
    q: str = pydantic.Field(min_length=2)
    page: int = pydantic.Field(default=1, alias="p", ge=1)
    tags: list[int] = []


def marked() -> App:
    app = App()

    @app.get("/query")
    async def query(a: Annotated[int, Query(alias="a-b")], b: Annotated[list[int], Query()] = [7]) -> str:  # noqa: B006
        b.append(0)
        return repr((a, b))

    @app.get("/header")
    async def header(
        user_agent: Annotated[str, Header()],
        x_count: Annotated[int | None, Header()] = None,
        accept: Annotated[list[str], Header()] = [],  # noqa: B006
        token: Annotated[str, Header(alias="X-Token")] = "none",
    ) -> str:
        return repr((user_agent, x_count, accept, token))

    @app.get("/cookie")
    async def cookie(session: Annotated[str, Cookie()], n: Annotated[int, Cookie(alias="__Host-n")] = 1) -> str:
        return repr((session, n))

    @app.get("/filters")
    async def filters(filters: Annotated[Filters, Query()], other: int = 0) -> str:
        return repr((filters, other))

    @app.get("/page")
    async def page(page: Annotated[Page, Query()]) -> str:
        return repr((page.number, page.size, sorted(page.seen)))

    @app.get("/maybe")
    async def maybe(page: Annotated[Page | None, Query()] = None) -> str:
        return repr(page and page.number)

    @app.get("/trace")
    async def trace(trace: Annotated[Trace, Header()]) -> str:
        return f"{trace.request_id} {trace.baggage}"

    @app.get("/who")
    async def who(who: Annotated[Who, Cookie()]) -> str:
        return repr(who)

    @app.get("/search")
    async def search(search: Annotated[Search, Query()]) -> str:
        return repr((search.q, search.page, search.tags))

    @app.get("/all")
    async def everything(
        q: int, h: Annotated[int, Header()], c: Annotated[int, Cookie()], m: Annotated[Page, Query()]
    ) -> str:
        return ""

    return app


A_UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


@both_doors
@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        ("/query?a-b=1", [], "(1, [7, 0])"),
        ("/query?a-b=1&b=2&b=3&a=9", [], "(1, [2, 3, 0])"),
        ("/header", [("user-agent", "me")], "('me', None, [], 'none')"),
        (
            "/header",
            [("User-Agent", "me"), ("X-Count", "5"), ("Accept", "a, b;q=0.5"), ("accept", ",c"), ("x-token", "t")],
            "('me', 5, ['a', 'b;q=0.5', 'c'], 't')",
        ),
        ("/header", [("user-agent", "a"), ("user-agent", "b")], "('a, b', None, [], 'none')"),
        (
            "/header",
            [("user-agent", ""), ("accept", '"a,b" , "c\\",d"')],
            """('', None, ['"a,b"', '"c\\\\",d"'], 'none')""",
        ),
        ("/cookie", [("cookie", "session=abc; __Host-n=3")], "('abc', 3)"),
        ("/cookie", [("cookie", "session=abc"), ("cookie", "session=no")], "('abc', 1)"),
        ("/filters", [], "(Filters(limit=10, tags=[], color=None, from_=None), 0)"),
        (
            "/filters?limit=100&tags=a&tags=b&color=red&from=x&other=3",
            [],
            "(Filters(limit=100, tags=['a', 'b'], color=<Color.RED: 'red'>, from_='x'), 3)",
        ),
        ("/page?number=3&seen=a&seen=b&unknown=1", [], "(3, 20, ['a', 'b'])"),
        ("/maybe", [], "None"),
        ("/maybe?number=4", [], "4"),
        ("/trace", [("request-id", A_UUID), ("baggage", "a=1,b=2")], f"{A_UUID} ['a=1', 'b=2']"),
        ("/who", [("cookie", "session=abc; x=y")], "{'session': 'abc'}"),
        ("/who", [("cookie", "theme=red; session=abc")], "{'session': 'abc', 'theme': <Color.RED: 'red'>}"),
        ("/search?q=abc&p=3&tags=1&tags=2", [], "('abc', 3, [1, 2])"),
    ],
)
async def test_marked_parameters_are_bound(
    link: bool, target: str, headers: list[tuple[str, str]], expected: str
) -> None:
    """By alias, by type, one by one or as a model of any kind; a default is each request's own."""
    async with TestClient(marked(), link=link) as client:
        del client.headers["user-agent"], client.headers["accept"]
        for _ in range(2):
            response = await client.get(target, headers=headers)
            assert (response.status_code, response.text) == (200, expected)


@both_doors
@pytest.mark.parametrize(
    ("target", "headers", "faults"),
    [
        ("/query?a=1", {}, [("query", "a-b", "is required")]),
        (
            "/query?a-b=1&a-b=2&b=x",
            {},
            [("query", "a-b", "is given more than once"), ("query", "b", "must be an integer")],
        ),
        ("/header", {}, [("header", "user-agent", "is required")]),
        ("/header", {"user-agent": "x", "x-count": "1, 2"}, [("header", "x-count", "must be an integer")]),
        ("/cookie", {}, [("cookie", "session", "is required")]),
        (
            "/cookie",
            {"cookie": "Session=x; __Host-n="},
            [("cookie", "session", "is required"), ("cookie", "__Host-n", "must be an integer")],
        ),
        (
            "/filters?limit=0&colour=red&color=blue&from=a&from=b",
            {},
            [
                ("query", "colour", "is not a known field"),
                ("query", "limit", "must be at least 1"),
                ("query", "color", "must be one of: red"),
                ("query", "from", "is given more than once"),
            ],
        ),
        ("/page", {}, [("query", "number", "is required")]),
        ("/maybe?size=4", {}, [("query", "number", "is required")]),
        ("/page?number=100&size=100", {}, [("query", "", "must not lead beyond the thousandth item")]),
        ("/trace", {"request-id": "x"}, [("header", "request-id", "must be a UUID")]),
        (
            "/who",
            {"cookie": "theme=blue"},
            [("cookie", "session", "is required"), ("cookie", "theme", "must be one of: red")],
        ),
        (
            "/search?p=0&q=a&tags=x",
            {},
            [
                ("query", "q", "string should have at least 2 characters"),
                ("query", "p", "input should be greater than or equal to 1"),
                ("query", "tags/0", "input should be a valid integer, unable to parse string as an integer"),
            ],
        ),
        ("/search", {}, [("query", "q", "is required")]),
        (
            "/all?number=x",
            {"h": "x"},
            [
                ("query", "q", "is required"),
                ("query", "number", "must be an integer"),
                ("header", "h", "must be an integer"),
                ("cookie", "c", "is required"),
            ],
        ),
    ],
)
async def test_what_does_not_fit_is_refused_with_every_fault(
    link: bool, target: str, headers: dict[str, str], faults: list[tuple[str, str, str]]
) -> None:
    """422, with the place and the client's own name of each; what was sent is not echoed."""
    async with TestClient(marked(), link=link) as client:
        del client.headers["user-agent"]
        response = await client.get(target, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert [(each["in"], each["name"], each["reason"]) for each in response.json()["errors"]] == faults


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True, extra="forbid")

    user_id: int = pydantic.Field(alias="userId")
    size: int = pydantic.Field(default=1, validation_alias=pydantic.AliasChoices("size", "limit"))


class Swapped(pydantic.BaseModel):
    a: int = pydantic.Field(alias="b")
    b: str = pydantic.Field(alias="a")


class Parsed(pydantic.BaseModel):
    point: Annotated[dict[str, int], pydantic.BeforeValidator(lambda text: dict.fromkeys(text.split("+"), 1))]
    where: pydantic.Json[list[int]] = []
    root: pydantic.RootModel[int] | None = None


class Counted(pydantic.BaseModel):
    x_count: int
    x_name: str = pydantic.Field(default="", alias="x_Name")


class Sent(pydantic.BaseModel):
    name: str = "?"
    age: int | None = None
    site: pydantic.HttpUrl | None = None
    days: list[int] = []
    secret: pydantic.SecretStr = pydantic.SecretStr("?")


class SentStruct(msgspec.Struct):
    name: str = "?"
    age: int | None = None
    days: list[int] = []


def of_pydantic() -> App:
    app = App()

    @app.get("/named")
    async def named(named: Annotated[Named, Query()], page: int = 1) -> str:
        return repr((named.user_id, named.size))

    @app.get("/maybe")
    async def maybe(named: Annotated[Named | None, Query()] = None) -> str:
        return repr(named and named.user_id)

    @app.get("/swapped")
    async def swapped(swapped: Annotated[Swapped, Query()]) -> str:
        return repr((swapped.a, swapped.b))

    @app.get("/parsed")
    async def parsed(parsed: Annotated[Parsed, Query()]) -> str:
        return repr((parsed.point, parsed.where, parsed.root and parsed.root.root))

    @app.get("/counted")
    async def counted(counted: Annotated[Counted, Header()]) -> str:
        return repr((counted.x_count, counted.x_name))

    @app.post("/sent")
    async def sent(sent: Annotated[Sent, Form()]) -> str:
        return repr((sent.name, sent.age, sent.days, sent.site, sent.secret.get_secret_value()))

    @app.post("/struct")
    async def struct(sent: Annotated[SentStruct, Form()]) -> str:
        return repr((sent.name, sent.age, sent.days))

    return app


@both_doors
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/named?userId=1", "(1, 1)"),
        ("/named?user_id=1&page=3", "(1, 1)"),
        ("/named?userId=1&user_id=x", "(1, 1)"),
        ("/named?user_id=1&limit=5", "(1, 5)"),
        ("/named?user_id=1&size=4&limit=5", "(1, 4)"),
        ("/maybe", "None"),
        ("/maybe?user_id=1", "1"),
        ("/swapped?a=x&b=1", "(1, 'x')"),
        ("/parsed?point=a%2Bb&where=[1]&root=3", "({'a': 1, 'b': 1}, [1], 3)"),
        ("/named", [("userId", "is required")]),
        ("/named?user_id=x&other=1", [("other", "is not a known field")]),
        ("/named?user_id=x", [("userId", "input should be a valid integer, unable to parse string as an integer")]),
        ("/named?user_id=1&user_id=2", [("user_id", "is given more than once")]),
    ],
)
async def test_names_of_pydantics_fields_are_those_that_it_knows(link: bool, target: str, expected: Any) -> None:
    """Aliases, choices of them, and its own name where the model allows it; validators take what texts they like."""
    async with TestClient(of_pydantic(), link=link) as client:
        response = await client.get(target)
    found = response.text if response.is_success else [(e["name"], e["reason"]) for e in response.json()["errors"]]
    assert found == expected


@both_doors
async def test_headers_of_a_pydantic_model_are_named_as_clients_know_them(link: bool) -> None:
    """In faults, too; an alias is taken at its word."""
    async with TestClient(of_pydantic(), link=link) as client:
        assert (await client.get("/counted", headers={"x-count": "1", "x_name": "a"})).text == "(1, 'a')"
        for headers in ({"x-count": "a"}, {}):
            assert [each["name"] for each in (await client.get("/counted", headers=headers)).json()["errors"]] == [
                "x-count"
            ]


@both_doors
async def test_an_empty_field_of_a_form_is_nothing_to_pydantic_as_to_others(link: bool) -> None:
    """Where the type takes no empty text: a browser sends each input of a form."""
    async with TestClient(of_pydantic(), link=link) as client:
        data = {"name": "", "age": "", "days": ["", "3"]}
        assert (await client.post("/struct", data=data)).text == "('', None, [3])"
        response = await client.post("/sent", data={**data, "site": "", "secret": ""})
        assert response.text == "('', None, [3], None, '')"
        refused = await client.post("/sent", files={"name": ("a.txt", b"x")})
        assert refused.json()["errors"] == [{"in": "form", "name": "name", "reason": "must be a text, not a file"}]


@pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
def test_the_document_names_the_first_of_several_names() -> None:
    """And the type of the field that it is of, however names are swapped."""
    paths = of_pydantic().openapi()["paths"]
    assert [each["name"] for each in paths["/named"]["get"]["parameters"]] == ["userId", "size", "page"]
    found = {each["name"]: each["schema"]["type"] for each in paths["/swapped"]["get"]["parameters"]}
    assert found == {"a": "string", "b": "integer"}


class Window(msgspec.Struct, Generic[T]):
    after: T
    size: Annotated[int, msgspec.Meta(ge=1)] = 10


@dataclass
class Chosen(Generic[T]):
    ids: list[T] = field(default_factory=list[T])


@both_doors
async def test_a_generic_model_is_read_with_what_it_is_given(link: bool) -> None:
    """A Struct from the query, a dataclass from a form; the document says the same."""
    app = App()

    @app.get("/query")
    async def query(window: Annotated[Window[int], Query()]) -> str:
        return repr(window)

    @app.post("/form")
    async def form(chosen: Annotated[Chosen[Color], Form()]) -> str:
        return repr([each.name for each in chosen.ids])

    async with TestClient(app, link=link) as client:
        assert (await client.get("/query?after=3")).text == "Window(after=3, size=10)"
        refused = (await client.get("/query?after=x&size=0")).json()["errors"]
        assert [each["reason"] for each in refused] == ["must be an integer", "must be at least 1"]
        assert (await client.post("/form", data={"ids": ["red"]})).text == "['RED']"
        assert (await client.post("/form", data={"ids": ["blue"]})).status_code == 422
    after, size = app.openapi()["paths"]["/query"]["get"]["parameters"]
    assert (after["name"], after["required"], after["schema"]["type"]) == ("after", True, "integer")
    assert (size["name"], size["schema"]["default"]) == ("size", 10)


Few = msgspec.Meta(min_length=2, max_length=3)


class Several(msgspec.Struct):
    tags: Annotated[list[str], Few] = msgspec.field(default_factory=list[str])


@both_doors
async def test_the_number_of_items_of_a_list_is_bounded(link: bool) -> None:
    """In the query, in headers, in forms and in fields of models: as msgspec counts in bodies."""
    app = App()

    @app.get("/query")
    async def query(a: Annotated[list[int], Query(), Few], b: Annotated[set[int], Few] | None = None) -> int:
        return len(a) + len(b or ())

    @app.get("/header")
    async def header(x_a: Annotated[tuple[str, ...], Header(), msgspec.Meta(max_length=1)] = ()) -> int:
        return len(x_a)

    @app.get("/model")
    async def model(several: Annotated[Several, Query()]) -> int:
        return len(several.tags)

    @app.post("/form")
    async def form(a: Annotated[list[str], Few, Form()]) -> int:
        return len(a)

    few, many = "must have at least 2 items", "must have at most 3 items"
    async with TestClient(app, link=link) as client:
        for path, answer in {
            "/query?a=1&a=2": 2,
            "/query?a=1&a=2&a=3&b=1&b=2": 5,
            "/query?a=1": [few],
            "/query?a=1&a=2&a=3&a=4&b=1&b=1": [many, few],
            "/model": 0,
            "/model?tags=a&tags=b": 2,
            "/model?tags=a": [few],
            "/model?tags=a&tags=a&tags=a&tags=a": [many],
        }.items():
            found = (await client.get(path)).json()
            assert (found if isinstance(found, int) else [each["reason"] for each in found["errors"]]) == answer
        assert (await client.get("/header", headers={"x-a": "a"})).json() == 1
        refused = (await client.get("/header", headers={"x-a": "a, b"})).json()["errors"]
        assert refused == [{"in": "header", "name": "x-a", "reason": "must have at most 1 item"}]
        assert (await client.post("/form", data={"a": ["x", "y"]})).json() == 2
        assert (await client.post("/form", data={"a": ["x"]})).json()["errors"][0]["reason"] == few


async def test_a_model_that_forbids_unknown_fields_knows_those_of_others() -> None:
    """What a provider reads from the same query is not unknown."""
    app = App()

    async def version(v: int = 1) -> int:
        return v

    @app.get("/")
    async def handler(f: Annotated[Filters, Query()], v: Annotated[int, Depends(version)]) -> int:
        return v

    async with TestClient(app) as client:
        assert (await client.get("/?v=3&limit=4")).json() == 3
        assert (await client.get("/?w=3")).status_code == 422


async def test_providers_read_headers_and_cookies_too() -> None:
    """And a parameter that handler and provider both ask for is one: one fault."""
    app = App()

    async def token(authorization: Annotated[str, Header()], request: Request) -> str:
        return authorization + request.method

    @app.get("/")
    async def handler(
        t: Annotated[str, Depends(token)], authorization: Annotated[str, Header()], s: Annotated[str, Cookie()] = ""
    ) -> str:
        return t + authorization + s

    async with TestClient(app) as client:
        assert (await client.get("/", headers={"authorization": "x", "cookie": "s=1"})).text == "xGETx1"
        assert len((await client.get("/")).json()["errors"]) == 1


# ---- aliases


async def current_user(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization is None:
        raise HTTPError(401)
    return authorization


# `type CurrentUser = Annotated[...]` from Python 3.12 on.
CurrentUser = TypeAliasType("CurrentUser", Annotated[str, Depends(current_user)])
Count = TypeAliasType("Count", Annotated[int, Query(alias="n"), msgspec.Meta(ge=1)])
Tags = TypeAliasType("Tags", list[str])
Marked = TypeAliasType("Marked", Annotated[list[T], Header(alias="x-many")], type_params=(T,))
Photo = TypeAliasType("Photo", UploadFile)
Asked = TypeAliasType("Asked", Request)
Given = TypeAliasType("Given", Filters)
Labels = NewType("Labels", list[str])


def aliased() -> App:
    app = App()

    @app.get("/me")
    async def me(user: CurrentUser) -> str:
        return f"hello {user}"

    @app.get("/maybe")
    async def maybe(user: CurrentUser | None, count: Count | None = None) -> str:
        return repr((user, count))

    @app.get("/count")
    async def count(count: Count = 7) -> str:
        return repr(count)

    @app.get("/lists")
    async def lists(tags: Tags, many: Marked[int], labels: Labels = Labels([])) -> str:  # noqa: B008
        return repr((tags, many, labels))

    @app.post("/photo")
    async def photo(photo: Photo, name: Annotated[Tags, Form()]) -> str:
        return repr((photo.filename, name))

    @app.get("/asked")
    async def asked(request: Asked, given: Annotated[Given, Query()]) -> str:
        return f"{request.method} {given.limit}"

    @app.post("/given")
    async def given(given: Given) -> str:
        return repr(given.limit)

    return app


@both_doors
async def test_a_marker_inside_of_an_alias_is_read(link: bool) -> None:
    """What depends on a provider depends on it however its type is named: a client gives it nothing."""
    async with TestClient(aliased(), link=link) as client:
        assert (await client.get("/me?user=admin")).status_code == 401
        assert (await client.get("/maybe?user=admin")).status_code == 401
        headers = {"authorization": "ada"}
        assert (await client.get("/me?user=admin", headers=headers)).text == "hello ada"
        assert (await client.get("/maybe?n=2", headers=headers)).text == "('ada', 2)"
        assert (await client.get("/count?n=3&count=4")).text == "3"
        assert (await client.get("/count?count=3")).text == "7"
        refused = (await client.get("/count?n=0")).json()["errors"]
        assert refused == [{"in": "query", "name": "n", "reason": "must be at least 1"}]


@both_doors
async def test_an_alias_is_bound_as_the_type_that_it_names(link: bool) -> None:
    """Lists, models, files and the request, by aliases, generic ones and NewTypes."""
    async with TestClient(aliased(), link=link) as client:
        response = await client.get("/lists?tags=a&tags=b&labels=c", headers={"x-many": "1, 2"})
        assert response.text == "(['a', 'b'], [1, 2], ['c'])"
        response = await client.post("/photo", files={"photo": ("cat.png", b"x")}, data={"name": ["a", "b"]})
        assert response.text == "('cat.png', ['a', 'b'])"
        assert (await client.get("/asked?limit=3")).text == "GET 3"
        assert (await client.post("/given", json={"limit": 4})).text == "4"


# ---- bodies


class Note(pydantic.BaseModel):
    title: str = pydantic.Field(min_length=2)
    tags: list[int] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class Item(msgspec.Struct):
    name: str
    count: int = 1


def bodies() -> App:
    app = App()

    @app.post("/count")
    async def count(count: Annotated[int | list[int], Body()]) -> str:
        return repr(count)

    @app.post("/raw")
    async def raw(raw: Annotated[bytes, Body()]) -> int:
        return len(raw)

    @app.post("/raw/optional")
    async def raw_optional(raw: Annotated[bytes | None, Body()] = None) -> str:
        return repr(raw)

    @app.post("/item")
    async def item(item: Item) -> str:
        return repr(item)

    @app.post("/items")
    async def items(items: list[Item]) -> int:
        return len(items)

    @app.post("/note")
    async def note(note: Note) -> str:
        return repr((note.title, note.tags))

    @app.post("/pet")
    async def pet(pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]) -> str:
        return repr(pet)

    @app.post("/ages")
    async def ages(
        ages: Annotated[dict[str, Annotated[int, pydantic.Field(ge=1)] | Cat], Body(), pydantic.Field(max_length=2)],
    ) -> str:
        return repr(ages)

    @app.post("/notes")
    async def notes(notes: list[Note] | None = None) -> str:
        return repr(notes and [each.title for each in notes])

    return app


JSON, PACKED = {"content-type": "application/json"}, {"content-type": "application/msgpack"}
NOTE = {"title": "ab", "tags": [1]}


@pytest.mark.parametrize(
    ("path", "content", "headers", "expected"),
    [
        ("/count", b"5", JSON, "5"),
        ("/count", b"[5, 6]", JSON, "[5, 6]"),
        ("/count", msgspec.msgpack.encode(5), PACKED, "5"),
        ("/raw", b"\xff" * 10, {}, "10"),
        ("/raw", b"", {}, "0"),
        ("/raw", b"{}", JSON, "2"),
        ("/raw/optional", b"", {}, "None"),
        ("/raw/optional", b"x", {"content-type": "text/plain"}, "b'x'"),
        (
            "/item",
            msgspec.msgpack.encode({"name": "a"}),
            {"content-type": "application/x-msgpack"},
            "Item(name='a', count=1)",
        ),
        ("/item", b'{"name":"a","count":2}', JSON, "Item(name='a', count=2)"),
        ("/items", msgspec.msgpack.encode([Item("a")] * 300), {"content-type": "application/vnd.msgpack"}, "300"),
        ("/note", msgspec.json.encode(NOTE), JSON, "('ab', [1])"),
        ("/note", msgspec.msgpack.encode(NOTE), PACKED, "('ab', [1])"),
        ("/pet", b'{"kind": "cat", "lives": 9}', JSON, "Cat(kind='cat', lives=9)"),
        ("/pet", b'{"kind": "dog", "name": "x"}', JSON, "Dog(kind='dog', name='x')"),
        ("/ages", b'{"a": 1, "b": 2}', JSON, "{'a': 1, 'b': 2}"),
        ("/notes", msgspec.json.encode([NOTE, NOTE]), JSON, "['ab', 'ab']"),
        ("/notes", b"", {}, "None"),
    ],
)
async def test_bodies_are_read_by_their_content_type(
    path: str, content: bytes, headers: dict[str, str], expected: str
) -> None:
    """JSON and msgpack into the same parameter, pydantic models too; `bytes` takes the body as it came."""
    async with TestClient(bodies()) as client:
        response = await client.post(path, content=content, headers=headers)
    assert (response.status_code, response.text) == (200, expected)


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "faults"),
    [
        ("/count", b"x", JSON, 400, []),
        ("/count", b'"x"', JSON, 422, [""]),
        ("/count", b"5", {}, 415, []),
        ("/count", b"5", {"content-type": "text/plain"}, 415, []),
        ("/raw", b"5", {"content-encoding": "gzip"}, 415, []),
        ("/item", b"", PACKED, 400, []),
        ("/item", b"\xc1", PACKED, 400, []),
        ("/item", b"\x81\xa4name\xa1\xff", PACKED, 400, []),
        ("/item", b"\x81", PACKED, 400, []),
        ("/item", b"\x91" * 100_000, PACKED, 400, []),
        ("/item", msgspec.msgpack.encode({"name": 1, "count": "x"}), PACKED, 422, ["/name", "/count"]),
        ("/item", msgspec.msgpack.encode({"name": "a"}), JSON, 400, []),
        ("/item", msgspec.msgpack.encode({"name": "a"}), {"content-type": "text/msgpack"}, 415, []),
        ("/note", b"", JSON, 400, []),
        ("/note", b'{"title": "ab"', JSON, 400, []),
        ("/note", b'{"title": "\xff\xff"}', JSON, 400, []),
        ("/note", b"[" * 100_000, JSON, 400, []),
        ("/note", b'{"title": "a", "tags": [1, "x"]}', JSON, 422, ["/title", "/tags/1"]),
        ("/notes", b'[{"title": "ab"}, {"ti/tle": 1}, 7]', JSON, 422, ["/1/title", "/2"]),
        ("/note", msgspec.msgpack.encode({"title": 1}), PACKED, 422, ["/title"]),
        ("/note", b"\xc1", PACKED, 400, []),
        ("/note", b"1" * 5000, JSON, 422, [""]),
        ("/item", b"1" * 5000, JSON, 422, [""]),
        ("/note", b'{"title": 1e', JSON, 400, []),
        ("/pet", b'{"kind": "dog"}', JSON, 422, ["/dog/name"]),
        ("/pet", b'{"kind": "cow"}', JSON, 422, [""]),
        ("/ages", b'{"a": 1, "b": 2, "c": 3}', JSON, 422, [""]),
    ],
)
async def test_a_body_that_is_not_what_it_says_or_does_not_fit_is_refused(
    path: str, content: bytes, headers: dict[str, str], status: int, faults: list[str]
) -> None:
    """400 malformed, 415 not said to be that, 422 with a pointer to every fault, whoever validates."""
    async with TestClient(bodies()) as client:
        response = await client.post(path, content=content, headers=headers)
    problem: dict[str, Any] = response.json()
    assert (response.status_code, [each["name"] for each in problem.get("errors", [])]) == (status, faults)
    assert b"ti/tle" not in response.content
    assert ("is empty" in problem["detail"]) == (not content)


async def test_every_fault_of_a_hostile_document_is_not_listed() -> None:
    """A hundred faults are enough, by pydantic too."""
    async with TestClient(bodies()) as client:
        response = await client.post("/notes", json=[1] * 5000)
        assert (response.status_code, len(response.json()["errors"])) == (422, 100)
