"""Routing seen from outside: what a request line leads to, through the whole application."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import httpx
import msgspec
import pytest

from trivet import App, Depends, HTTPError, Redirect, Request, Response, RouteConflict, Router, Sink, Stream
from trivet.errors import PatternError, RegistrationError
from trivet.testing import TestClient


async def ask(app: App, method: str, target: str | bytes, *, link: bool = True, root_path: str = "") -> httpx.Response:
    """One request; the target goes as it is."""
    raw = target.encode() if isinstance(target, str) else target
    async with TestClient(app, link=link, root_path=root_path) as client:
        return await client.request(method, "/", extensions={"target": raw})


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Slug:
    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text.islower():
            raise ValueError(text)
        return cls(text)

    def __str__(self) -> str:
        return self.text


def typed() -> App:
    """One route for each kind of field; each answers with the repr of what it was given."""
    app = App()

    @app.get("/str/{value}")
    async def text(value: str) -> str:
        return repr(value)

    @app.get("/bare/{value}")
    async def bare(value) -> str:  # type: ignore[no-untyped-def]
        return repr(value)

    @app.get("/int/{value}")
    async def integer(value: int) -> str:
        return repr(value)

    @app.get("/spelled/{value:int}")
    async def spelled(value: int) -> str:
        return repr(value)

    @app.get("/float/{value}")
    async def number(value: float) -> str:
        return repr(value)

    @app.get("/bool/{value}")
    async def boolean(value: bool) -> str:
        return repr(value)

    @app.get("/uuid/{value}")
    async def uuid(value: UUID) -> str:
        return repr(value)

    @app.get("/date/{value}")
    async def day(value: date) -> str:
        return repr(value)

    @app.get("/datetime/{value}")
    async def instant(value: datetime) -> str:
        return value.isoformat()

    @app.get("/enum/{value}")
    async def enum(value: Color) -> str:
        return value.name

    @app.get("/literal/{value}")
    async def literal(value: Literal["a", 2]) -> str:
        return repr(value)

    @app.get("/bounded/{value}")
    async def bounded(value: Annotated[int, msgspec.Meta(ge=1, le=9)]) -> str:
        return repr(value)

    @app.get("/slug/{value}")
    async def slug(value: Slug) -> str:
        return value.text

    @app.get("/files/{rest:path}")
    async def rest(rest: str) -> str:
        return repr(rest)

    @app.get("/image/{name}.png")
    async def image(name: str) -> str:
        return name

    return app


TYPED = [
    ("/str/a", "'a'"),
    ("/str/a%2Fb", "'a/b'"),
    ("/str/caf%C3%A9", "'café'"),
    ("/str/%20", "' '"),
    ("/str/a+b", "'a+b'"),
    ("/str/.", "'.'"),
    ("/bare/1", "'1'"),
    ("/int/0", "0"),
    ("/int/-7", "-7"),
    ("/int/999999999999999999", "999999999999999999"),
    ("/int/%31", "1"),
    ("/spelled/12", "12"),
    ("/float/1.5", "1.5"),
    ("/float/1e3", "1000.0"),
    ("/bool/true", "True"),
    ("/uuid/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "UUID('6ba7b810-9dad-11d1-80b4-00c04fd430c8')"),
    ("/date/2024-02-29", "datetime.date(2024, 2, 29)"),
    ("/datetime/2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
    ("/enum/red", "RED"),
    ("/literal/a", "'a'"),
    ("/literal/2", "2"),
    ("/bounded/9", "9"),
    ("/slug/abc", "abc"),
    ("/files/a", "'a'"),
    ("/files/a/b//c/", "'a/b//c/'"),
    ("/image/cat.png", "cat"),
    ("/image/a.b.png", "a.b"),
]

NOT_FOUND = [
    "/str/",
    "/str",
    "/str/a/b",
    "/int/01",
    "/int/-0",
    "/int/+1",
    "/int/1_0",
    "/int/%D9%A3",  # an Arabic three
    "/int/1000000000000000000",  # 19 digits
    "/float/nan",
    "/float/inf",
    "/float/1e999",
    "/float/.5",
    "/bool/True",
    "/bool/1",
    "/uuid/6ba7b8109dad11d180b400c04fd430c8",
    "/date/2023-02-29",
    "/datetime/2024-02-29T12:00:00",
    "/enum/RED",
    "/literal/b",
    "/bounded/0",
    "/bounded/10",
    "/slug/ABC",
    "/files/",
    "/files",
    "/image/.png",
    "//str/a",
    "/STR/a",
    "/",
]


@pytest.mark.parametrize(("target", "expected"), TYPED)
async def test_a_segment_converts(target: str, expected: str) -> None:
    """A field is given in the type that the annotation or the path says."""
    response = await ask(typed(), "GET", target)
    assert (response.status_code, response.text) == (200, expected)


@pytest.mark.parametrize("target", NOT_FOUND)
async def test_a_segment_that_does_not_convert_does_not_match(target: str) -> None:
    """What is not a canonical text of its type is no match, and in the end a 404."""
    assert (await ask(typed(), "GET", target)).status_code == 404


@pytest.mark.parametrize("target", ["/str/%zz", "/str/%", "/str/%C3", "/str/%ff", "/str/%00", b"/str/\xff", "/str/%2"])
@pytest.mark.parametrize("link", [True, False])
async def test_malformed_paths_are_400(target: str | bytes, link: bool) -> None:
    """Bad escapes, bytes that are not UTF-8 and NUL are the client's fault, and a problem says so."""
    response = await ask(typed(), "GET", target, link=link)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"].startswith("The path is malformed")


async def test_specificity_does_not_depend_on_order() -> None:
    """Literal before affixed before typed before str before path, and the matcher backtracks."""
    patterns = ["/x/{rest:path}", "/x/{s}", "/x/{i:int}", "/x/{s}.txt", "/x/lit", "/{a}/lit/deep", "/x/{s}/deep"]
    asked = {
        "/x/lit": "/x/lit",
        "/x/5": "/x/{i:int}",
        "/x/a.txt": "/x/{s}.txt",
        "/x/word": "/x/{s}",
        "/x/lit/deep/er": "/x/{rest:path}",
        "/y/lit/deep": "/{a}/lit/deep",
        "/x/other/deep": "/x/{s}/deep",
    }
    patterns.remove("/{a}/lit/deep")  # it overlaps /x/{s}/deep: see the conflicts
    del asked["/y/lit/deep"]
    for order in (patterns, patterns[::-1]):
        app = App()
        for pattern in order:

            async def handler(request: Request) -> str:
                assert request.route is not None
                return request.route.path

            fields = {"s": str, "i": int, "rest": str}
            named = {name: kind for name, kind in fields.items() if f"{{{name}" in pattern}
            app.get(pattern)(_taking(named, handler))
        async with TestClient(app) as client:
            for target, expected in asked.items():
                assert (await client.get(target)).text == expected


def _taking(fields: dict[str, type], handler: Any) -> Any:
    """`handler` with more parameters."""

    async def taking(request: Request, **_: Any) -> Any:
        return await handler(request)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("request", kind, annotation=Request)]
    parameters += [inspect.Parameter(name, kind, annotation=each) for name, each in fields.items()]
    taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    taking.__annotations__ = {"request": Request, **fields}
    return taking


async def test_path_and_method_match_together() -> None:
    """A more specific pattern that lacks the method does not hide one that has it."""
    app = App()

    @app.get("/items/special")
    async def special() -> str:
        return "special"

    @app.delete("/items/{name}")
    async def delete(name: str) -> str:
        return f"deleted {name}"

    async with TestClient(app) as client:
        assert (await client.delete("/items/special")).text == "deleted special"
        assert (await client.get("/items/special")).text == "special"
        response = await client.put("/items/special")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, DELETE, OPTIONS")
        response = await client.get("/items/other")
        assert (response.status_code, response.headers["allow"]) == (405, "DELETE, OPTIONS")


# ---- HEAD


def heads(log: list[str]) -> App:
    app = App()

    @asynccontextmanager
    async def tracked() -> AsyncIterator[str]:
        log.append("enter")
        yield "x"
        log.append("leave")

    @app.get("/text")
    async def text(request: Request, d: Annotated[str, Depends(tracked)]) -> str:
        log.append(request.method)
        return "twelve bytes"

    @app.get("/json")
    async def as_json() -> dict[str, int]:
        return {"a": 1}

    @app.get("/none")
    async def none() -> None:
        return None

    @app.get("/file")
    async def early(request: Request) -> Response:
        return Response(b"abc", headers={"x-a": "1", "content-length": "3"})

    @app.get("/error")
    async def error() -> None:
        raise HTTPError(404, "no such thing")

    @app.get("/to")
    async def to() -> Redirect:
        return Redirect("/text")

    @app.get("/stream")
    async def stream(d: Annotated[str, Depends(tracked)]) -> Stream:
        async def feed(sink: Sink) -> None:
            log.append("fed")
            await sink.send("x")

        return Stream(feed, headers={"x-a": "1"}, media_type="text/plain")

    return app


@pytest.mark.parametrize("path", ["/text", "/json", "/none", "/file", "/error", "/to", "/stream", "/missing", "/text/"])
@pytest.mark.parametrize("link", [True, False])
async def test_head_has_the_head_of_get_and_no_body(path: str, link: bool) -> None:
    """HEAD answers wherever GET does, errors and redirects included, with the same status and headers."""
    async with TestClient(heads([]), link=link) as client:
        get, head = await client.get(path), await client.head(path)
    assert head.content == b""
    assert head.status_code == get.status_code
    gone = {"transfer-encoding"}
    assert {k: v for k, v in head.headers.items() if k not in gone} == {
        k: v for k, v in get.headers.items() if k not in gone
    }


async def test_head_runs_the_handler_and_its_dependencies_but_not_the_stream() -> None:
    """The handler sees HEAD; a stream is never started, yet its dependencies are entered and left."""
    log: list[str] = []
    async with TestClient(heads(log)) as client:
        await client.head("/text")
        assert log == ["enter", "HEAD", "leave"]
        log.clear()
        await client.head("/stream")
        assert log == ["enter", "leave"]
        log.clear()
        assert (await client.get("/stream")).text == "x"
        assert log == ["enter", "fed", "leave"]


@pytest.mark.parametrize("explicit_first", [True, False])
async def test_an_explicit_head_wins_on_its_pattern_in_any_order(explicit_first: bool) -> None:
    """`@app.head` is asked instead of GET's handler, whichever was registered first."""
    app = App()

    def get() -> None:
        @app.get("/a/{x}")
        async def handler(x: str) -> str:
            return "get"

    def head() -> None:
        @app.head("/a/{x}")
        async def handler(x: str) -> Response:
            return Response(headers={"content-length": "1000", "x-head": x})

    for register in (head, get) if explicit_first else (get, head):
        register()
    async with TestClient(app) as client:
        response = await client.head("/a/b")
        assert (response.headers["x-head"], response.headers["content-length"]) == ("b", "1000")
        assert (await client.get("/a/b")).text == "get"
        assert (await client.post("/a/b")).headers["allow"] == "GET, HEAD, OPTIONS"


# ---- OPTIONS, 405, other methods


def methods() -> App:
    app = App()

    @app.get("/a")
    async def get() -> str:
        return ""

    @app.post("/a")
    async def post() -> str:
        return ""

    @app.put("/{name}")
    async def put(name: str) -> str:
        return ""

    @app.options("/own")
    async def own() -> tuple[int, str, dict[str, str]]:
        return 200, "mine", {"allow": "OPTIONS, BREW"}

    @app.route("/brew", methods=["BREW", "GET"])
    async def brew(request: Request) -> str:
        return request.method

    return app


@pytest.mark.parametrize(
    ("target", "status", "allow"),
    [
        ("/a", 204, "GET, HEAD, POST, PUT, OPTIONS"),
        ("/b", 204, "PUT, OPTIONS"),
        ("/brew", 204, "GET, HEAD, PUT, OPTIONS, BREW"),
        ("*", 204, "GET, HEAD, POST, PUT, OPTIONS, BREW"),
        ("/own", 200, "OPTIONS, BREW"),
        ("/", 404, None),
        ("/a/b", 404, None),
        ("/%zz", 400, None),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/root"])
async def test_options(target: str, status: int, allow: str | None, root_path: str) -> None:
    """OPTIONS says what a path takes, over all patterns that match it; a route of its own wins."""
    response = await ask(methods(), "OPTIONS", target, root_path=root_path)
    assert (response.status_code, response.headers.get("allow")) == (status, allow)
    if status == 204:
        assert response.content == b""
        assert "content-length" not in response.headers


@pytest.mark.parametrize("method", ["DELETE", "TRACE", "CONNECT", "FOO", "PROPFIND", "A" * 1000, "!#$%&'*+.^_`|~"])
async def test_a_method_that_is_not_taken_is_405_with_the_complete_allow(method: str) -> None:
    """Known or not, in whatever case: 405 and what is allowed, as a problem."""
    response = await ask(methods(), method, "/a")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST, PUT, OPTIONS"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"] == "Method Not Allowed"


async def test_a_method_of_ones_own() -> None:
    """Any token can be a method; the handler sees it, and case counts (RFC 9110 section 9.1)."""
    app = methods()
    assert (await ask(app, "BREW", "/brew")).text == "BREW"
    assert (await ask(app, "FOO", "/nothing/here")).status_code == 404

    async def lower(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":  # httpx itself sends upper case only
            scope["method"] = scope["method"].lower()
        await app(scope, receive, send)

    async with TestClient(lower) as client:
        assert (await client.get("/a")).status_code == 405


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", b"*", 400),
        ("CONNECT", b"example.com:443", 400),
        ("GET", b"example.com", 400),
        ("GET", b"ftp://example.com/a", 400),
        ("GET", b"http://example.com/a", 200),
        ("GET", b"HTTPS://example.com/a", 200),
        ("GET", b"http://example.com", 404),
        ("GET", b"http://example.com/", 404),
        ("GET", b"http://example.com//a", 404),
        ("GET", b"", 400),
    ],
)
async def test_forms_of_the_request_target(method: str, target: bytes, status: int) -> None:
    """The absolute form counts by its path; what is no path of ours is a 400 (RFC 9112 section 3.2)."""
    assert (await ask(methods(), method, target)).status_code == status


# ---- slashes


def slashed(slash: Literal["redirect", "strict"] = "redirect") -> App:
    app = App(slash=slash)

    @app.get("/dir/")
    async def directory() -> str:
        return "dir"

    @app.get("/leaf")
    async def leaf() -> str:
        return "leaf"

    @app.post("/only-post/")
    async def only_post() -> str:
        return "posted"

    @app.get("/user/{name}/photos/")
    async def user(name: str) -> str:
        return name

    @app.get("/both")
    async def both() -> str:
        return "both"

    @app.get("/both/")
    async def both_slash() -> str:
        return "both/"

    @app.get("/{host}/x/")
    async def deep(host: str) -> str:
        return host

    return app


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/dir", "/dir/"),
        ("/leaf/", "/leaf"),
        ("/dir//", "/dir/"),
        ("/dir?a=1&b=%2F", "/dir/?a=1&b=%2F"),
        ("/user/a%2Fb/photos", "/user/a%2Fb/photos/"),
        ("/user/caf%C3%A9/photos", "/user/caf%C3%A9/photos/"),
        ("/%2Fevil.com/x", "/%2Fevil.com/x/"),
        ("/%5Cevil.com/x", "/%5Cevil.com/x/"),
        ("http://evil.com/dir", "/dir/"),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/root"])
async def test_the_other_slash_redirects(target: str, location: str, root_path: str) -> None:
    """307 to the form that matches: relative, root path before it, escapes and query kept."""
    response = await ask(slashed(), "GET", target, root_path=root_path)
    assert (response.status_code, response.headers["location"]) == (307, root_path + location)
    assert not response.headers["location"].startswith("//")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/only-post"),  # the other form takes another method
        ("GET", "/nothing"),
        ("GET", "/nothing/"),
        ("GET", "/leaf//"),
        ("GET", "//dir"),
        ("GET", "//evil.com/x"),
        ("GET", "///"),
        ("PUT", "/dir"),
        ("OPTIONS", "/dir"),
    ],
)
async def test_no_redirect_where_the_other_form_does_not_match(method: str, target: str) -> None:
    """Nothing to redirect to, or not with this method: 404, without a Location."""
    response = await ask(slashed(), method, target)
    assert (response.status_code, response.headers.get("location")) == (404, None)


async def test_redirect_keeps_the_method_and_covers_head() -> None:
    """POST is sent again as POST; HEAD is redirected like GET."""
    async with TestClient(slashed(), follow_redirects=True) as client:
        assert (await client.post("/only-post", content=b"body")).text == "posted"
        assert (await client.get("/dir")).text == "dir"
        assert (await client.get("/both")).text == "both"
        assert (await client.get("/both/")).text == "both/"
        head = await client.head("/leaf/", follow_redirects=False)
        assert (head.status_code, head.headers["location"]) == (307, "/leaf")


@pytest.mark.parametrize("target", ["/dir", "/leaf/", "/user/a/photos"])
async def test_strict_slashes(target: str) -> None:
    """`slash="strict"` leaves the other form a 404."""
    assert (await ask(slashed("strict"), "GET", target)).status_code == 404


# ---- root path


@pytest.mark.parametrize(
    ("root_path", "target", "status"),
    [
        ("/root", "/root/leaf", 200),  # a server that leaves the prefix in
        ("/root", "/leaf", 200),  # one that takes it off, or a proxy that does
        ("/root/", "/root/leaf", 200),
        ("/a b", "/a%20b/leaf", 200),
        ("/root", "/rooted/leaf", 404),
        ("/root", "/root/root/leaf", 404),
        ("/root", "/root", 404),
        ("/root", "/root/", 404),
    ],
)
async def test_root_path_is_taken_off(root_path: str, target: str, status: int) -> None:
    """Matching is on the path less the root path, once, and only a whole prefix is taken off."""
    assert (await ask(slashed(), "GET", target, root_path=root_path)).status_code == status


async def test_the_root_path_itself_redirects_to_its_slash() -> None:
    """A request for exactly the root path has no path left: its other form is `/`, where something is there."""
    app = App()

    @app.get("/")
    async def front() -> str:
        return "front"

    response = await ask(app, "GET", "/root?q=1", root_path="/root")
    assert (response.status_code, response.headers["location"]) == (307, "/root/?q=1")
    assert (await ask(app, "GET", "/root/", root_path="/root")).text == "front"
    assert (await ask(App(), "GET", "/root", root_path="/root")).status_code == 404


async def test_without_raw_path_the_decoded_path_is_quoted() -> None:
    """`raw_path` is optional in ASGI: `path` stands in."""
    app = typed()

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        scope.pop("raw_path", None)
        await app(scope, receive, send)

    async with TestClient(bare) as client:
        assert (await client.get("/str/caf%C3%A9%20%25")).text == "'café %'"
        assert (await client.get("/str/a%3Fb")).text == "'a?b'"
        assert (await client.get("/int/x")).status_code == 404


# ---- the request's view of its path


async def test_request_tells_its_path_and_route() -> None:
    """`path`, `raw_path`, `url`, `path_params` and `route` say what matched, prefix and all."""
    app, router = App(), Router(tags=["t"])
    seen: list[Request] = []

    @router.get("/{name}/{n:int}", name="the name", tags=["u"])
    async def handler(request: Request, name: str, n: int) -> None:
        seen.append(request)

    app.mount("/api", router)
    async with TestClient(app, root_path="/root") as client:
        assert (await client.get("/root/api/a%2Fb/5?q=1")).status_code == 204
    request = seen[0]
    assert request.path == "/root/api/a/b/5"
    assert request.raw_path == b"/root/api/a%2Fb/5"
    assert dict(request.path_params) == {"name": "a/b", "n": 5}
    assert request.route is not None
    assert (request.route.path, request.route.name) == ("/api/{name}/{n:int}", "the name")
    assert request.route.handler is handler
    assert list(request.route.tags) == ["t", "u"]
    assert request.url_for("the name", name="x/y", n=3) == "/root/api/x%2Fy/3"
    assert request.client is not None
    assert request.client.host == "127.0.0.1"


# ---- url_for


def named() -> App:
    app = App()

    @app.get("/users/{id}/photos/{name}.png")
    async def photo(id: int, name: str) -> str:  # noqa: A002
        return ""

    @app.get("/files/{rest:path}", name="files")
    async def file(rest: str) -> str:
        return ""

    @app.get("/at/{moment}/{color}")
    async def at(moment: datetime, color: Color) -> str:
        return ""

    @app.get("/home")
    async def home() -> str:
        return ""

    return app


@pytest.mark.parametrize(
    ("name", "params", "path"),
    [
        ("photo", {"id": 7, "name": "a b/ü"}, "/users/7/photos/a%20b%2F%C3%BC.png"),
        ("files", {"rest": "a/b c"}, "/files/a/b%20c"),
        (
            "at",
            {"moment": datetime(2024, 1, 2, tzinfo=UTC), "color": Color.RED},
            "/at/2024-01-02T00:00:00Z/red",
        ),
        ("home", {}, "/home"),
    ],
)
def test_url_for_builds_what_matches(name: str, params: dict[str, Any], path: str) -> None:
    """Values are spelt as their type has it and percent-encoded."""
    assert named().url_for(name, **params).replace(":", "%3A").replace("%3A", ":") == path


@pytest.mark.parametrize(
    ("name", "params", "error", "message"),
    [
        ("phot", {}, LookupError, "the nearest is 'photo'"),
        ("zzzzzz", {}, LookupError, "Known are: at, files, home, photo"),
        ("photo", {"id": 7}, TypeError, "needs 'name'"),
        ("photo", {"id": 7, "nam": "x"}, TypeError, "Did you mean 'name'"),
        ("home", {"page": 2}, TypeError, "has no field 'page'"),
        ("photo", {"id": "7", "name": "x"}, ValueError, "must be an int"),
        ("photo", {"id": 7, "name": ""}, ValueError, "empty"),
        ("files", {"rest": "../etc"}, ValueError, "RFC 3986"),
        ("at", {"moment": datetime(2024, 1, 2), "color": Color.RED}, ValueError, "time zone"),  # noqa: DTZ001
    ],
)
def test_url_for_refuses(name: str, params: dict[str, Any], error: type[Exception], message: str) -> None:
    """Unknown routes, parameters and values that no text spells are errors that say what is near."""
    with pytest.raises(error, match=message):
        named().url_for(name, **params)


async def test_url_for_by_handler_and_with_root_path() -> None:
    """A handler is as good as its name; the request adds the root path, encoded, without a double slash."""
    app = App()

    @app.get("/a/{x}")
    async def a(x: str) -> str:
        return ""

    @app.get("/here")
    async def here(request: Request) -> str:
        return request.url_for(a, x="y")

    assert app.url_for(a, x="y") == "/a/y"
    for root, expected in {"": "/a/y", "/root": "/root/a/y", "/root/": "/root/a/y", "/a b": "/a%20b/a/y"}.items():
        assert (await ask(app, "GET", "/here", root_path=root)).text == expected


def test_one_handler_at_several_paths_is_told_apart_by_its_parameters() -> None:
    """Parameters choose; where they cannot, the message asks for names."""
    app = App()

    @app.get("/b/{x}", name="b")
    @app.get("/a/{x}")
    @app.get("/{x}/{y}")
    async def handler(x: str, y: str | None) -> str:
        return ""

    assert app.url_for(handler, x="1", y="2") == "/1/2"
    assert app.url_for("b", x="1") == "/b/1"
    with pytest.raises(LookupError, match=r"several paths with these parameters: /a/\{x\}, /b/\{x\}"):
        app.url_for(handler, x="1")


# ---- the frozen table


@pytest.mark.parametrize("what", ["route", "mount", "middleware", "catch", "wrap", "late router"])
async def test_registration_after_the_start_is_refused(what: str) -> None:
    """Once the application has started nothing can be registered, on a mounted router neither."""
    app, router = App(), Router()
    app.mount("/r", router)

    async def fn(request: Request) -> Any:
        return None

    async def around(request: Request, call_next: Any) -> Response:
        return await call_next(request)  # type: ignore[no-any-return]

    register: dict[str, Any] = {
        "route": lambda: app.get("/late")(fn),
        "mount": lambda: app.mount("/late", Router()),
        "middleware": lambda: app.middleware(around),
        "catch": lambda: app.catch(404)(around),
        "wrap": lambda: app.wrap(lambda app: app),
        "late router": lambda: router.get("/late")(fn),
    }
    async with TestClient(app) as client:
        with pytest.raises(RegistrationError, match="comes too late"):
            register[what]()
        assert (await client.get("/late")).status_code == 404
        assert (await client.get("/r/late")).status_code == 404


# ---- routers


async def test_routers_nest_in_any_order_of_registration() -> None:
    """Mounted before or after its routes were registered, at any depth and twice: the routes are there."""
    app, outer, inner = App(), Router(), Router()

    @inner.get("/early")
    async def early() -> str:
        return "early"

    outer.mount("/inner", inner)
    app.mount("/outer", outer)
    app.mount("/again", inner)
    app.mount("", outer)

    @inner.get("/late/{x}")
    async def late(x: int) -> str:
        return f"late {x}"

    @outer.get("/")
    async def root() -> str:
        return "root"

    async with TestClient(app) as client:
        for prefix in ("/outer/inner", "/again", "/inner"):
            assert (await client.get(f"{prefix}/early")).text == "early"
            assert (await client.get(f"{prefix}/late/5")).text == "late 5"
        assert (await client.get("/outer/")).text == "root"
        assert (await client.get("/")).text == "root"
        redirected = await client.get("/outer")
        assert (redirected.status_code, redirected.headers["location"]) == (307, "/outer/")


def test_a_prefix_may_have_fields() -> None:
    """The handler takes the fields of the prefix as well, and is told if it does not."""
    app, router = App(), Router()

    @router.get("/posts/{n}")
    async def post(user: int, n: int) -> str:
        return ""

    app.mount("/users/{user}", router)
    assert app.url_for(post, user=1, n=2) == "/users/1/posts/2"
    with pytest.raises(RegistrationError, match=r"\{tenant\}, which the handler does not take"):
        App().mount("/{tenant}/{user}", router)


@pytest.mark.parametrize("mounted_first", [True, False])
def test_a_conflict_appears_at_the_line_that_makes_it(mounted_first: bool) -> None:
    """The mount raises, or the later registration on the mounted router; both places and a path are shown."""
    app, router = App(), Router()

    @app.get("/api/{x}/b")
    async def one(x: str) -> str:
        return ""

    async def two(y: str) -> str:
        return ""

    if mounted_first:
        app.mount("/api", router)
        with pytest.raises(RouteConflict) as caught:
            router.get("/a/{y}")(two)
    else:
        router.get("/a/{y}")(two)
        with pytest.raises(RouteConflict) as caught:
            app.mount("/api", router)
    assert caught.value.example == "/api/a/b"
    assert caught.value.first.name.endswith("one")
    assert caught.value.second.name.endswith("two")
    assert str(caught.value).count("test_app_routing.py:") == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("GET", "/a"), ("GET", "/a")),
        (("GET", "/{x}"), ("GET", "/{y}")),
        (("GET", "/{x:int}"), ("GET", "/{y:int}")),
        (("GET", "/a/{x}"), ("GET", "/{y}/b")),
        (("GET", "/{x}.png"), ("GET", "/cat.{x}")),
        (("GET", "/caf%C3%A9"), ("GET", "/café")),
        (("GET", "/{x:float}"), ("GET", "/{x:int}x")),
    ],
)
def test_conflicts_and_neighbours(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Two routes for one request conflict; with another method they do not."""
    kinds = {"x": Any, "y": Any}

    def register(app: App, method: str, path: str) -> None:
        async def handler(request: Request) -> None: ...

        fields = {name: kinds[name] for name in kinds if f"{{{name}" in path}
        app.route(path, methods=[method])(_taking(fields, handler))

    app = App()
    register(app, *first)
    if second[1].endswith("x"):  # 7 and 7x are different texts: no conflict
        register(app, *second)
        return
    with pytest.raises(RouteConflict):
        register(app, *second)
    register(app, "POST", second[1])


def test_a_router_inside_itself_is_refused() -> None:
    """Routers that mount one another in a circle would never end."""
    a, b = Router(), Router()
    a.mount("/b", b)
    with pytest.raises(RegistrationError, match="inside itself"):
        b.mount("/a", a)
    with pytest.raises(RegistrationError, match="inside itself"):
        a.mount("/a", a)
    app = App()
    with pytest.raises(RegistrationError, match="inside itself"):
        app.mount("/app", app)


@pytest.mark.parametrize("prefix", ["api", "/api/", "/"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    """A prefix begins with a slash and does not end with one."""
    with pytest.raises(RegistrationError, match="is not a prefix"):
        App().mount(prefix, Router())


def test_a_fault_of_a_route_that_shows_at_the_mount_names_its_handler() -> None:
    """A path that does not parse is found when the router is mounted; the message still says whose it is."""
    router = Router()

    @router.get("/x/{a")
    async def broken(a: str) -> str:
        return ""

    with pytest.raises(PatternError, match=r"(?s)without.*async def broken.*test_app_routing\.py:\d+"):
        App().mount("/api", router)


async def test_the_absolute_form_is_seen_as_its_path() -> None:
    """What a handler is told of the URL does not depend on how the client wrote the target."""
    app = App()

    @app.get("/a%20b/{name}")
    async def handler(request: Request, name: str) -> list[str]:
        return [request.path, request.raw_path.decode(), request.url, name]

    answers = [await ask(app, "GET", target) for target in ("/a%20b/c?d=e", "http://testserver/a%20b/c?d=e")]
    assert answers[0].json() == answers[1].json() == ["/a b/c", "/a%20b/c", "http://testserver/a%20b/c?d=e", "c"]


async def test_a_redirect_encodes_what_a_header_cannot_carry() -> None:
    """HTTP/2 lets control characters through in a target; they are the client's, and no failure of ours."""
    app = App()

    @app.get("/{name}/")
    async def handler(name: str) -> str:
        return name

    answer = await ask(app, "GET", b"/\x01?q=\r\nx:y")
    assert (answer.status_code, answer.headers["location"]) == (307, "/%01/?q=%0D%0Ax:y")
