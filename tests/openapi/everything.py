"""An application with every kind of input and result that the document has a place for, and a test's own providers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic
from msgspec import Meta
from typing_extensions import TypedDict, deprecated

from trivet import (
    HTML,
    App,
    Body,
    Cookie,
    Depends,
    Form,
    Header,
    HTTPError,
    Query,
    Redirect,
    Request,
    Response,
    Router,
    Sink,
    Stream,
    UploadFile,
)
from trivet._describe import Description


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Item(msgspec.Struct):
    """A thing."""

    name: Annotated[str, Meta(min_length=1, max_length=40, description="What it is called.", examples=["pen", "ink"])]
    color: Color = Color.RED
    weight: Annotated[float, Meta(gt=0)] | None = None


class Filter(msgspec.Struct):
    """Read from the query, field by field."""

    text: Annotated[str, Meta(max_length=20)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100, description="How many at most.")] = 20
    colors: list[Color] = []


@dataclass
class Paging:
    """From the headers."""

    page_size: Annotated[int, Meta(ge=1, le=9)] = 5


class Range(pydantic.BaseModel):
    """pydantic's, from the query."""

    low: int = pydantic.Field(ge=0, le=10, description="Where it starts.")
    high: int | None = None


class Line(pydantic.BaseModel):
    """Of an order. (No numbers: pydantic takes `false` for 0, and if it is strict, not 1.0 for 1.)"""

    code: str = pydantic.Field(max_length=3)


class Order(pydantic.BaseModel):
    """pydantic's, from the body."""

    lines: list[Line] = []
    note: str = pydantic.Field(max_length=9)


class Point(TypedDict):
    x: int
    y: int


@attrs.define
class Profile:
    """From a form."""

    nick: Annotated[str, Meta(min_length=1)]
    age: Annotated[int, Meta(ge=0, le=150)] = 0


class Version:
    """A class of the application's own that a text spells."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def parse(cls, text: str) -> Version:
        if not text.startswith("v"):
            raise ValueError("it starts with a v")
        return cls(text)


@dataclass(frozen=True)
class Token:
    """A provider that says what it asks for, and what it answers if it is not there."""

    scopes: tuple[str, ...] = ()

    async def __call__(self, request: Request) -> str:
        given = request.headers.get("authorization", "")
        if given not in ("Bearer user", "Bearer admin"):
            raise HTTPError(401, "a token is missing", headers={"www-authenticate": "Bearer"})
        if self.scopes and not given.endswith("admin"):
            raise HTTPError(403, "this needs more")
        return given.removeprefix("Bearer ")

    def describe(self) -> Description:
        return Description(
            security={"token": {"type": "http", "scheme": "bearer"}},
            scopes=self.scopes,
            responses={401: "There is no token.", 403: "The token is not enough."}
            if self.scopes
            else {401: "There is no token."},
            response_headers={401: {"WWW-Authenticate": "What is asked for."}},
        )


app = App(timeout=10, title="Everything", version="2.1", responses={418: "It is a teapot."})


@app.get("/items", tags=["items"])
async def items(
    chosen: Annotated[Filter, Query()],
    since: date | None = None,
    at: datetime | None = None,
    ratio: float = 0.5,
    ids: Annotated[list[UUID], Query(alias="id")] = [],  # noqa: B006 - copied for each request
) -> list[Item]:
    """List items.

    Those that fit *all* of what is given.

    Args:
        chosen: which.
    """
    return [Item("pen")]


@app.get("/items/{item_id}", tags=["items"])
async def item(item_id: Annotated[int, Meta(ge=1, description="Its number.")]) -> Item | None:
    """One item, if there is one."""
    return Item("pen") if item_id < 100 else None


@app.post("/items", tags=["items"], status=201, responses={409: "There is one of that name."})
async def create(item: Item, user: Annotated[str, Depends(Token())]) -> Item:
    """Add an item."""
    if item.name == "taken":
        raise HTTPError(409, "there is one of that name")
    return item


@app.delete("/items/{item_id}", dependencies=[Depends(Token(("admin",)))])
@deprecated("ask nicely", category=None)
async def remove(item_id: int) -> None:
    """Remove an item."""


@app.put("/items/{item_id}", name="item")
async def put(item_id: int, item: Item) -> tuple[Literal[200, 201], Item]:
    return (201 if item_id > 10 else 200), item


@app.get("/range")
async def in_range(span: Annotated[Range, Query()]) -> dict[str, int]:
    return {"low": span.low}


@app.post("/orders")
async def order(order: Order) -> Order:
    return order


@app.post("/points")
async def points(points: list[Point], factor: int = 1) -> list[Point]:
    return points


@app.post("/count")
async def count(number: Annotated[int, Body()] = 0) -> str:
    return str(number)


@app.post("/raw", max_body=None)
async def raw(data: Annotated[bytes, Body()]) -> bytes:
    return data + b"."


@app.post("/profile")
async def profile(profile: Annotated[Profile, Form()]) -> str:
    return profile.nick


@app.post("/photos")
async def photos(title: Annotated[str, Form()], photo: UploadFile, more: list[UploadFile] = []) -> dict[str, int]:  # noqa: B006
    return {"files": 1 + len(more)}


@app.get("/heads")
async def heads(
    paging: Annotated[Paging, Header()],
    x_name: Annotated[str, Header()],
    session: Annotated[str | None, Cookie()] = None,
    accept: Annotated[str | None, Header()] = None,
    x_tag: Annotated[list[str] | None, Header()] = None,
) -> str:
    return x_name


@app.get("/free")
async def free(x_trace: Annotated[str | None, Header()] = None) -> str:
    return x_trace or ""


@app.get("/by-version/{version}")
async def by_version(version: Version, kind: Literal["a", "b"] = "a", flag: bool = False) -> str:
    return str(version)


@app.get("/files/{rest:path}")
async def files(rest: str) -> Stream:
    async def feed(sink: Sink) -> None:
        await sink.send(rest)

    return Stream(feed)


@app.get("/picture/{name}.png")
async def picture(name: str) -> Response:
    return Response(b"PNG", media_type="image/png")


@app.get("/page")
async def page() -> HTML:
    return HTML("<p>")


@app.get("/there")
async def there() -> Redirect:
    return Redirect("/page")


@app.get("/either")
async def either(text: bool = False) -> str | dict[str, int]:
    return "text" if text else {"a": 1}


@app.route("/many", methods=["GET", "POST", "HEAD"])
async def many(request: Request) -> str:
    return request.method


@app.get("/by/{key:int}")
async def by_number(key: int) -> int:
    """By number."""
    return key


@app.get("/by/{name}")
async def by_name(name: str) -> str:
    """By name."""
    return name


@app.delete("/by/{name}")
async def forget(name: str) -> None: ...


@app.get("/untold")
async def untold():  # type: ignore[no-untyped-def]
    return {}


@app.get("/hidden", include_in_schema=False)
async def hidden() -> str:
    return ""


team = Router(tags=["team"], timeout=None, responses={410: "The team is no more."})


@team.get("/{member}", summary="A member")
async def member(member: str) -> dict[str, str]:
    """What is known.

    Of one of us.
    """
    return {"name": member}


app.mount("/team", team)

admin = App(timeout=60)


@admin.get("/")
async def item_count() -> int:
    return 1


app.mount("/admin", admin)
