"""The table: what a request finds, what may not be registered together, and what nothing can reach."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from trivet._conflict import Relation, compare
from trivet._convert import Converter, converter_for
from trivet._pattern import Fixed, Pattern, parse, parse_mount
from trivet._percent import decode
from trivet._routes import Entry, Found, NoMethod, NoPath, Table
from trivet.errors import InvalidInput, Location, RouteConflict

GOLDEN = Path(__file__).parents[1] / "golden" / "routing"


class Sku:
    """A type that only its parser knows; it counts how often it is asked."""

    asked = 0

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sku) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> Sku:
        """`A` and a digit."""
        cls.asked += 1
        if text not in ("A1", "A2"):
            raise ValueError
        return cls(text)


ANNOTATIONS: dict[str, Any] = {
    "sku": Sku,
    "ab": Literal["a", "b"],
    "only_a": Literal["a"],
    "pos": Annotated[int, Meta(ge=1)],
    "low": Annotated[int, Meta(ge=0, le=2)],
    "none": Annotated[int, Meta(ge=3, le=2)],
    "short": Annotated[str, Meta(max_length=2)],
    "flag": bool,
    "num": float,
}


def of(text: str) -> Pattern:
    """A pattern; `/x/...` is a mount at `/x`; some names imply a type."""
    if text.endswith("/..."):
        return parse_mount(text.removesuffix("/..."))
    types: dict[str, Converter] = {}
    for name, annotation in ANNOTATIONS.items():
        if (converter := converter_for(annotation)) is not None:
            types[name] = converter
    return parse(text, types)


def at(name: str, line: int = 1) -> Location:
    return Location(name, "app.py", line)


def table(*routes: str) -> Table[str]:
    """A table of `"GET,POST /path"`; the value of each route is that text; a mount takes `*`."""
    made: Table[str] = Table()
    for line, route in enumerate(routes, 1):
        methods, path = route.split(" ", 1)
        made.add(of(path), None if methods == "*" else frozenset(methods.split(",")), route, at(route, line))
    return made


def answer(made: Table[str], method: str, path: bytes) -> Any:
    """What a request finds, as plain values."""
    outcome = made.match(method, path)
    if isinstance(outcome, Found):
        return outcome.value, dict(outcome.params)
    return outcome.allow if isinstance(outcome, NoMethod) else None


SHOP = (
    "GET /",
    "GET /items",
    "POST /items",
    "GET /items/{id:int}",
    "PUT,DELETE /items/{id:int}",
    "GET /items/new",
    "GET /items/{name}",
    "PATCH /items/{name}.json",
    "GET /items/{id:int}/",
    "GET /files/{rest:path}",
    "GET /files/{rest}/raw",
    "GET /café",
    "GET /a%2Fb",
    "HEAD /only-head",
    "GET /own-head",
    "HEAD /own-head",
    "OPTIONS /own-options",
    "BREW /pot",
    "* /m/...",
    "GET /m/own/{x}",
)

MATCHES: list[tuple[str, bytes, Any]] = [
    ("GET", b"/", ("GET /", {})),
    ("HEAD", b"/", ("GET /", {})),
    ("GET", b"", None),
    ("GET", b"*", None),
    ("GET", b"items", None),
    ("GET", b"http://host/items", None),
    ("GET", b"//", None),
    ("GET", b"//items", None),
    ("GET", b"/items", ("GET /items", {})),
    ("POST", b"/items", ("POST /items", {})),
    ("GET", b"/%69tems", ("GET /items", {})),
    ("get", b"/items", ("GET", "HEAD", "POST", "OPTIONS")),
    ("GET", b"/items/", None),
    ("GET", b"/items/7", ("GET /items/{id:int}", {"id": 7})),
    ("GET", b"/items/%37", ("GET /items/{id:int}", {"id": 7})),
    ("HEAD", b"/items/7", ("GET /items/{id:int}", {"id": 7})),
    ("PUT", b"/items/7", ("PUT,DELETE /items/{id:int}", {"id": 7})),
    ("GET", b"/items/07", ("GET /items/{name}", {"name": "07"})),
    ("GET", b"/items/new", ("GET /items/new", {})),
    ("GET", b"/items/a%2Fb", ("GET /items/{name}", {"name": "a/b"})),
    ("GET", b"/items/%C3%A9", ("GET /items/{name}", {"name": "é"})),
    ("GET", "/items/é".encode(), ("GET /items/{name}", {"name": "é"})),
    ("GET", b"/items/a+b%252F", ("GET /items/{name}", {"name": "a+b%2F"})),
    ("GET", b"/items/..", ("GET /items/{name}", {"name": ".."})),
    ("GET", b"/items/7/", ("GET /items/{id:int}/", {"id": 7})),
    ("GET", b"/items/7//", None),
    ("GET", b"/items/x/", None),
    ("PATCH", b"/items/x.json", ("PATCH /items/{name}.json", {"name": "x"})),
    ("GET", b"/items/x.json", ("GET /items/{name}", {"name": "x.json"})),
    ("PATCH", b"/items/.json", ("GET", "HEAD", "OPTIONS")),
    ("POST", b"/items/x.json", ("GET", "HEAD", "PATCH", "OPTIONS")),
    ("POST", b"/items/7", ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")),
    ("PUT", b"/items/new", ("GET", "HEAD", "OPTIONS")),
    ("OPTIONS", b"/items", ("GET", "HEAD", "POST", "OPTIONS")),
    ("GET", b"/files", None),
    ("GET", b"/files/", None),
    ("GET", b"/files//a", None),
    ("GET", b"/files/a", ("GET /files/{rest:path}", {"rest": "a"})),
    ("GET", b"/files/a/", ("GET /files/{rest:path}", {"rest": "a/"})),
    ("GET", b"/files/a//b", ("GET /files/{rest:path}", {"rest": "a//b"})),
    ("GET", b"/files/a/raw", ("GET /files/{rest}/raw", {"rest": "a"})),
    ("GET", b"/files/a/b/raw", ("GET /files/{rest:path}", {"rest": "a/b/raw"})),
    ("GET", b"/files/a%2Fb/../c", ("GET /files/{rest:path}", {"rest": "a/b/../c"})),
    ("GET", b"/files/%2Fetc", ("GET /files/{rest:path}", {"rest": "/etc"})),
    ("GET", b"/caf%C3%A9", ("GET /café", {})),
    ("GET", b"/caf%c3%a9", ("GET /café", {})),
    ("GET", "/café".encode(), ("GET /café", {})),
    ("GET", b"/a%2Fb", ("GET /a%2Fb", {})),
    ("GET", b"/a%2fb", ("GET /a%2Fb", {})),
    ("GET", b"/a/b", None),
    ("HEAD", b"/only-head", ("HEAD /only-head", {})),
    ("GET", b"/only-head", ("HEAD", "OPTIONS")),
    ("HEAD", b"/own-head", ("HEAD /own-head", {})),
    ("GET", b"/own-head", ("GET /own-head", {})),
    ("OPTIONS", b"/own-options", ("OPTIONS /own-options", {})),
    ("GET", b"/own-options", ("OPTIONS",)),
    ("BREW", b"/pot", ("BREW /pot", {})),
    ("GET", b"/pot", ("OPTIONS", "BREW")),
    ("GET", b"/m", ("* /m/...", {})),
    ("ANY", b"/m/", ("* /m/...", {})),
    ("OPTIONS", b"/m/a//b/", ("* /m/...", {})),
    ("GET", b"/m/own/x", ("GET /m/own/{x}", {"x": "x"})),
    ("POST", b"/m/own/x", ("* /m/...", {})),
    ("GET", b"/m/own/", ("* /m/...", {})),
    ("GET", b"/mm", None),
]


@pytest.mark.parametrize("order", ["as written", "reversed"])
def test_a_request_finds_the_most_specific_route(order: str) -> None:
    """Path and method together decide, types take part, and the order of registration does not matter."""
    made = table(*(SHOP if order == "as written" else SHOP[::-1]))
    got = [(method, path, answer(made, method, path)) for method, path, _ in MATCHES]
    assert got == MATCHES


@pytest.mark.parametrize(
    "routes",
    list(itertools.permutations(["GET /{x}", "GET /{x:float}", "GET /{x:int}", "GET /{pos}", "GET /7"])),
)
def test_smaller_sets_come_first_in_any_order(routes: tuple[str, ...]) -> None:
    """Of five types that lie one within the other, the innermost that a text belongs to takes it."""
    made = table(*routes)
    taken = {text: answer(made, "GET", f"/{text}".encode())[0] for text in ("7", "8", "0", "0.5", "a")}
    assert taken == {
        "7": "GET /7",
        "8": "GET /{pos}",
        "0": "GET /{x:int}",
        "0.5": "GET /{x:float}",
        "a": "GET /{x}",
    }


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        (b"/%", "a percent sign is not followed by two hexadecimal digits"),
        (b"/items/%4", "a percent sign is not followed by two hexadecimal digits"),
        (b"/items/%zz", "a percent sign is not followed by two hexadecimal digits"),
        (b"/items/%+1", "a percent sign is not followed by two hexadecimal digits"),
        ("/%１１".encode(), "a percent sign is not followed by two hexadecimal digits"),
        (b"/\xff", "it is not UTF-8"),
        (b"/%ff", "it does not decode to UTF-8"),
        (b"/%ed%a0%80", "it does not decode to UTF-8"),
        (b"/%c0%af", "it does not decode to UTF-8"),
        (b"/nowhere/%C3/%A9", "it does not decode to UTF-8"),
        (b"/items/%00", "it holds NUL"),
        (b"/items/\0", "it holds NUL"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(path: bytes, detail: str) -> None:
    """Malformed escapes, bytes that are not UTF-8 and NUL are 400 wherever they stand, and are not repeated."""
    with pytest.raises(InvalidInput) as caught:
        table(*SHOP).match("GET", path)
    assert (caught.value.status, caught.value.detail) == (400, f"The path is malformed: {detail}.")


def test_an_exhausted_branch_is_left_for_the_next() -> None:
    """The walk comes back from literals, types and methods that lead nowhere, and forgets what it read there."""
    made = table(
        "GET /a/b/c",
        "GET /a/{x}/d",
        "GET /{y}/b/e",
        "GET /{n:int}/{m:int}/f",
        "GET /{s}/{t}/g",
        "POST /a/b/{u}",
        "GET /{rest:path}",
    )
    assert answer(made, "GET", b"/a/b/c") == ("GET /a/b/c", {})
    assert answer(made, "GET", b"/a/b/d") == ("GET /a/{x}/d", {"x": "b"})
    assert answer(made, "GET", b"/a/b/e") == ("GET /{y}/b/e", {"y": "a"})
    assert answer(made, "GET", b"/1/2/f") == ("GET /{n:int}/{m:int}/f", {"n": 1, "m": 2})
    assert answer(made, "GET", b"/1/2/g") == ("GET /{s}/{t}/g", {"s": "1", "t": "2"})
    assert answer(made, "POST", b"/a/b/c") == ("POST /a/b/{u}", {"u": "c"})
    assert answer(made, "GET", b"/a/b/z") == ("GET /{rest:path}", {"rest": "a/b/z"})
    assert answer(made, "PUT", b"/a/b/c") == ("GET", "HEAD", "POST", "OPTIONS")


def test_one_set_under_several_names_is_one_place() -> None:
    """Routes whose fields accept the same texts share a node, and each reads its own values under its own name."""
    made = table("GET /x/{a:int}/g", "POST /x/{b:int}/g", "PUT /x/{low}/g", "PATCH /x/{only_a}", "DELETE /x/a")
    values = converter_for(Literal["0", "1", "2"])
    made.add(parse("/x/{c}/h", {"c": values} if values else {}), frozenset({"GET"}), "literal", at("literal"))
    assert answer(made, "GET", b"/x/7/g") == ("GET /x/{a:int}/g", {"a": 7})
    assert answer(made, "POST", b"/x/7/g") == ("POST /x/{b:int}/g", {"b": 7})
    assert answer(made, "PUT", b"/x/2/g") == ("PUT /x/{low}/g", {"low": 2})
    assert answer(made, "GET", b"/x/2/h") == ("literal", {"c": "2"})
    assert answer(made, "PATCH", b"/x/a") == ("PATCH /x/{only_a}", {"only_a": "a"})
    assert answer(made, "DELETE", b"/x/a") == ("DELETE /x/a", {})
    assert answer(made, "GET", b"/x/a") == ("PATCH", "DELETE", "OPTIONS")


@pytest.mark.parametrize(
    "routes",
    list(itertools.permutations(["GET /{ab}/x", "HEAD /a/{y}", "HEAD /{only_a}/x"], 3)),
)
def test_head_is_decided_the_same_in_any_order(routes: tuple[str, ...]) -> None:
    """An explicit HEAD and the HEAD of a GET never conflict; which one answers does not depend on the order."""
    made = table(*routes)
    assert answer(made, "HEAD", b"/a/x")[0] == "HEAD /{only_a}/x"
    assert answer(made, "HEAD", b"/a/z")[0] == "HEAD /a/{y}"
    assert answer(made, "HEAD", b"/b/x")[0] == "GET /{ab}/x"
    assert answer(made, "GET", b"/a/x")[0] == "GET /{ab}/x"


def test_methods_are_listed_for_the_whole_server() -> None:
    """`OPTIONS *` names each method once, in the usual order, HEAD and OPTIONS with them."""
    assert table(*SHOP).methods() == ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
    assert table("* /...").methods() == ("OPTIONS",)
    assert table("POST /x").methods() == ("POST", "OPTIONS")


def test_entries_come_in_the_order_of_registration() -> None:
    """Each has its pattern, its methods as given, its value and its place."""
    entries = table("POST,GET /b", "* /a/...").entries()
    assert [(str(e.pattern), e.methods, e.value, e.where.line) for e in entries] == [
        ("/b", frozenset({"GET", "POST"}), "POST,GET /b", 1),
        ("/a", None, "* /a/...", 2),
    ]


def test_a_route_may_be_added_after_requests() -> None:
    """Nothing is computed at the first request that a later route would miss."""
    made = table("GET /{x}")
    assert answer(made, "GET", b"/a") == ("GET /{x}", {"x": "a"})
    made.add(of("/a"), frozenset({"GET"}), "later", at("later"))
    assert answer(made, "GET", b"/a") == ("later", {})
    made.add(of("/{only_a}"), frozenset({"HEAD"}), "head", at("head"))
    assert answer(made, "HEAD", b"/a") == ("head", {"only_a": "a"})


def test_parameters_of_one_request_are_not_those_of_another() -> None:
    """A shared answer cannot be written to, any other is made for its request."""
    made = table("GET /a", "GET /b/{x}")
    shared, own = made.lookup("GET", b"/a"), made.lookup("GET", b"/b/1")
    assert shared is not None
    assert own is not None
    assert made.lookup("GET", b"/a") is shared
    with pytest.raises(TypeError):
        shared[1]["x"] = 1  # type: ignore[index]
    own[1]["x"] = 2  # type: ignore[index]
    assert answer(made, "GET", b"/b/1") == ("GET /b/{x}", {"x": "1"})


CONFLICTS: list[tuple[str, str]] = [
    ("GET /a", "GET /a"),
    ("GET /a", "GET,POST /a"),
    ("GET /{x}", "GET /{y}"),
    ("GET /{x:int}", "GET /{y:int}"),
    ("GET /caf%C3%A9", "GET /café"),
    ("GET /{only_a}", "GET /a"),
    ("GET /{x}/b", "GET /a/{y}"),
    ("GET /users/{id}", "GET /{kind}/new"),
    ("GET /a{x}", "GET /{x}.png"),
    ("GET /{pos}/b", "GET /{low}/{y}"),
    ("GET /{sku}", "GET /{x:int}"),
    ("GET /{short}", "GET /{x:int}"),
    ("GET /{rest:path}", "GET /{other:path}"),
    ("GET /a/{rest:path}", "GET /{x}/{y}"),
    ("* /a/...", "* /a/..."),
    ("* /a/...", "GET /{x}/b"),
    ("* /a/...", "BREW /{x}"),
    ("HEAD /a", "HEAD /a"),
]

PEACE: list[tuple[str, str]] = [
    ("GET /a", "POST /a"),
    ("GET /a", "HEAD /a"),
    ("GET /{x}/b", "HEAD /a/{y}"),
    ("GET /{x}/b", "POST /a/{y}"),
    ("GET /a", "GET /a/"),
    ("GET /a", "GET /A"),
    ("GET /{x}", "GET /a"),
    ("GET /{id}", "GET,POST /new"),
    ("GET /{id:int}", "GET /{name}"),
    ("GET /{id:int}", "GET /{id:uuid}"),
    ("GET /{id:int}/b", "GET /a/{y}"),
    ("GET /{x}.png", "GET /{x}.jpg"),
    ("GET /{x}.png", "GET /{x:int}"),
    ("GET /{x}", "GET /{x}/{y}"),
    ("GET /{sku}", "GET /a"),
    ("GET /{sku}", "GET /{x}"),
    ("GET /{x}", "GET /{rest:path}"),
    ("* /...", "GET /{rest:path}"),
    ("* /a/...", "* /a/b/..."),
    ("* /a/...", "GET /a"),
    ("* /a/...", "* /..."),
    ("GET /a%2Fb", "GET /a/b"),
]


@pytest.mark.parametrize(("first", "second"), [*CONFLICTS, *((b, a) for a, b in CONFLICTS)])
def test_routes_that_no_rule_tells_apart_conflict(first: str, second: str) -> None:
    """The error has both places and a path that each of the two matches alone."""
    with pytest.raises(RouteConflict) as caught:
        table(first, second)
    error = caught.value
    assert (error.first.line, error.second.line) == (1, 2)
    if "{sku}" not in first + second:
        for route in (first, second):
            method = route.split(" ")[0].split(",")[0].replace("*", "GET")
            assert isinstance(table(route).match(method, error.example.encode("ascii")), Found)


@pytest.mark.parametrize(("first", "second"), [*PEACE, *((b, a) for a, b in PEACE)])
def test_routes_that_a_rule_tells_apart_do_not_conflict(first: str, second: str) -> None:
    """Disjoint methods, disjoint paths, or one path more specific than the other."""
    assert len(table(first, second).entries()) == 2


def test_a_refused_route_leaves_no_trace() -> None:
    """Whoever catches the conflict has the table as it was."""
    made = table("GET /a/{x}")
    with pytest.raises(RouteConflict):
        made.add(of("/{x}/b"), frozenset({"GET", "PUT"}), "refused", at("refused"))
    assert answer(made, "PUT", b"/z/b") is None
    assert len(made.entries()) == 1


def test_a_conflict_is_found_among_many_routes() -> None:
    """The search through the tree misses no route that meets the new one."""
    others = [f"GET /r{n}/{{x}}/{kind}" for n in range(20) for kind in ("a", "{y:int}", "{rest:path}")]
    for culprit in ("GET /{x}/b/c", "GET /{x}/{y}/c", "* /r7/..."):
        for place in (0, 30, 60):
            routes = [*others[:place], culprit, *others[place:]]
            with pytest.raises(RouteConflict):
                table(*routes, "GET /r7/b/{z}", "GET /{q}/{r}/{s:uuid}", "GET /r7/{x}/{y}")


def test_the_words_of_a_conflict() -> None:
    """The messages are those of the golden file; UPDATE_GOLDEN=1 writes it."""
    blocks: list[str] = []
    for first, second in CONFLICTS:
        with pytest.raises(RouteConflict) as caught:
            table(first, second)
        blocks.append(f"{caught.value}\n")
    golden = GOLDEN / "route_conflicts.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("\n".join(blocks), encoding="utf-8")
    assert "\n".join(blocks) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("routes", "dead"),
    [
        (["GET /{flag}", "GET /true", "GET /false"], {"GET /{flag}": "/true of"}),
        (["GET /{flag}", "GET /true", "POST /false"], {}),
        (["GET /{flag}", "GET /{x}"], {}),
        (["GET,POST /{flag}", "GET,POST /true", "GET,POST /false"], {"GET,POST /{flag}": "/false of"}),
        (["GET,POST /{flag}", "GET /true", "GET /false"], {}),
        (["HEAD /{flag}", "GET /true", "HEAD /false"], {"HEAD /{flag}": "/true of"}),
        (["GET /{none}"], {"GET /{none}": "no text is a int[ge=3, le=2], so {none} matches nothing"}),
        (["GET /{low}", "GET /0", "GET /1", "GET /2"], {"GET /{low}": "/2 of"}),
        (["GET /{low}", "GET /0", "GET /1"], {}),
        (["GET /v{low}.x", "GET /v0.x", "GET /v1.x", "GET /v2.x"], {"GET /v{low}.x": "/v1.x of"}),
        (["GET /{flag}/{x}", "GET /true/{x}", "GET /false/{x}"], {"GET /{flag}/{x}": "/true/{x} of"}),
        (["GET /{flag}/{x}", "GET /true/{x}", "GET /false/{x:int}"], {}),
        (
            ["GET /{flag}/{rest:path}", "GET /true/{rest:path}", "GET /false/{rest:path}"],
            {"GET /{flag}/{rest:path}": "/false/{rest:path} of"},
        ),
        (["* /...", "GET /{x}"], {}),
        (["GET /{flag}/{ab}", "GET /true/{ab}", "GET /false/a", "GET /false/b"], {"GET /{flag}/{ab}": "/true/{ab} of"}),
    ],
)
def test_routes_that_nothing_reaches_are_told(routes: list[str], dead: dict[str, str]) -> None:
    """Empty types and routes that more specific ones cover are reported with the reason, and no others."""
    got = table(*routes).unreachable()
    assert {entry.value: reason for entry, reason in got}.keys() == dead.keys()
    for entry, reason in got:
        assert dead[entry.value] in reason


def test_the_work_of_a_match_is_bounded_by_the_tree() -> None:
    """A hundred routes that all fail at their last segment cost one look at each edge, whatever the path."""
    made: Table[str] = Table()
    sku = converter_for(Sku)
    assert sku is not None
    # Each level branches in two overlapping ways, so that a walk that forgot would double its work with each segment.
    # Each has a method of its own, so that they do not conflict.
    for number, turns in enumerate(itertools.product(("{%s}", "{%s:float}"), repeat=6)):
        fields = [turn % f"f{n}" for n, turn in enumerate(turns)]
        made.add(parse("/" + "/".join(fields) + "/{s}", {"s": sku}), frozenset({f"M{number}"}), "", at("route"))
    Sku.asked = 0
    assert made.match("GET", b"/1" * 6 + b"/x") == NoPath()
    # 64 leaves; once for the walk and once more to tell 404 from 405.
    assert Sku.asked == 128


@pytest.mark.parametrize("path", [b"/" + b"a" * 8192, b"/a" * 4096, b"/" * 8192, b"/%41" * 2048, b"/1" * 4096])
def test_long_paths_ask_no_more_than_short_ones(path: bytes) -> None:
    """The number of conversions depends on the routes, not on the length of the path."""
    made: Table[str] = Table()
    sku = converter_for(Sku)
    assert sku is not None
    for n in range(100):
        made.add(parse(f"/r{n}/{{s}}", {"s": sku}), frozenset({"GET"}), "", at("route"))
        made.add(parse(f"/{{s}}/r{n}", {"s": sku}), frozenset({"POST"}), "", at("route"))
    Sku.asked = 0
    assert made.match("GET", path) == NoPath()
    assert Sku.asked <= 2


# ---- against a slow, obvious reference


def reads(pattern: Pattern, raw: bytes) -> dict[str, Any] | None:
    """What one pattern reads from a path, one segment after the other."""
    if not raw.startswith(b"/"):
        return None
    texts = [decode(part.decode()) for part in raw[1:].split(b"/")] if raw != b"" else []
    count = len(pattern.segments)
    if len(texts) < count or (pattern.tail == "none" and len(texts) != count):
        return None
    params: dict[str, Any] = {}
    for each, text in zip(pattern.segments, texts, strict=False):
        if isinstance(each, Fixed):
            if each.text != text:
                return None
            continue
        inner = text.removeprefix(each.prefix)
        if not text.startswith(each.prefix) or not inner.endswith(each.suffix):
            return None
        inner = inner[: len(inner) - len(each.suffix)]
        try:
            if not inner:
                return None
            params[each.name] = each.converter.parse(inner)
        except ValueError:
            return None
    if pattern.tail == "path":
        if len(texts) == count or not texts[count]:
            return None
        params[list(pattern.fields)[-1]] = "/".join(texts[count:])
    return params


def reference(entries: list[Entry[str]], method: str, raw: bytes) -> Any:
    """All patterns tried, the candidates for the method filtered by comparison."""
    matching = [(entry, params) for entry in entries if (params := reads(entry.pattern, raw)) is not None]
    takers = [(e, p) for e, p in matching if e.methods is None or method in e.methods]
    if method == "HEAD":
        explicit = [e.pattern for e, _ in takers]
        takers += [
            (e, p)
            for e, p in matching
            if e.methods is not None
            and "GET" in e.methods
            and "HEAD" not in e.methods
            and not any(compare(e.pattern, pattern) is Relation.EQUIVALENT for pattern in explicit)
        ]
    best = [
        (e, p)
        for e, p in takers
        if not any(compare(other.pattern, e.pattern) is Relation.MORE_SPECIFIC for other, _ in takers)
    ]
    if best:
        return best
    if not matching:
        return None
    allowed = set().union(*(e.methods or () for e, _ in matching)) | {"OPTIONS"}
    return allowed | ({"HEAD"} if "GET" in allowed else set())


UNTYPED = ["a", "b", "1", "true", "a.x", "va", "A1", "{}", "{:int}", "{:float}", "{:bool}", "{}.x", "v{}", "v{:int}"]
pieces = st.sampled_from([*UNTYPED, *(f"{{{name}}}" for name in ANNOTATIONS if name != "none")])


@st.composite
def paths(draw: st.DrawFn) -> str:
    """The text of a pattern or a mount."""
    parts: list[str] = []
    for index, piece in enumerate(draw(st.lists(pieces, max_size=3))):
        named = piece.strip("{}") in ANNOTATIONS and "{" in piece
        if named and f"/{piece}" in "".join(parts):
            continue  # a name comes once
        parts.append("/" + (piece if named else piece.replace("{", f"{{f{index}")))
    text = "".join(parts)
    end = draw(st.sampled_from(["", "", "", "/", "/{rest:path}", "/..."]))
    if end == "/...":
        return (text if "{" not in text else "/a") + end
    return text + end or "/"


methods = st.sampled_from(["GET", "GET", "POST", "HEAD", "GET,POST", "GET,HEAD"])
segments = st.sampled_from(
    [
        "a",
        "b",
        "1",
        "2",
        "-1",
        "0.5",
        "true",
        "x",
        "a.x",
        "1.x",
        ".x",
        "v",
        "va",
        "v1",
        "A1",
        "",
        "%61",
        "a%2Fb",
        "..",
        "12",
    ]
)


def register(routes: list[tuple[str, str]]) -> tuple[Table[str], list[tuple[str, str]]]:
    """A table of those routes that do not conflict with earlier ones, and those routes."""
    made: Table[str] = Table()
    kept: list[tuple[str, str]] = []
    for method, path in routes:
        wanted = None if path.endswith("/...") else frozenset(method.split(","))
        try:
            made.add(of(path), wanted, f"{method} {path}", at(path))
        except RouteConflict:
            continue
        kept.append((method, path))
    return made, kept


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.tuples(methods, paths()), min_size=1, max_size=14),
    st.lists(st.lists(segments, min_size=1, max_size=4), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
)
def test_the_tree_answers_as_the_reference_does(
    routes: list[tuple[str, str]], requests: list[list[str]], shuffle: random.Random
) -> None:
    """For any table and any request the walk finds what trying everything finds, in any order of registration."""
    made, kept = register(routes)
    shuffle.shuffle(kept)
    again, same = register(kept)
    assert same == kept  # whether two routes conflict does not depend on the order either
    made.freeze()  # the short cut is of one of the two only
    entries = list(made.entries())
    for parts, method in itertools.product(requests, ["GET", "HEAD", "POST", "PUT"]):
        raw = "".join(f"/{part}" for part in parts).encode()
        expected, got = reference(entries, method, raw), answer(made, method, raw)
        assert got == answer(again, method, raw)
        if isinstance(expected, list):
            assert len(expected) == 1 or method == "HEAD"
            assert got in [(entry.value, params) for entry, params in expected]
        else:
            assert (set(got) if got is not None else None) == expected


@settings(max_examples=250, deadline=None)
@given(st.tuples(methods, paths()), st.tuples(methods, paths()))
def test_a_conflict_is_proved_by_its_example(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Whatever two routes are refused, the example path is matched by both, unless only a parser could tell."""
    made: Table[str] = Table()
    try:
        for method, path in (first, second):
            made.add(of(path), None if path.endswith("/...") else frozenset(method.split(",")), path, at(path))
    except RouteConflict as refused:
        example = refused.example
    else:
        return
    assume("{" not in example)
    for _, path in (first, second):
        assert reads(of(path), example.encode("ascii")) is not None


@given(st.binary(max_size=30).map(lambda tail: b"/" + tail))
def test_any_bytes_are_answered(raw: bytes) -> None:
    """No path makes matching fail in another way than 400."""
    made = table(*SHOP)
    status = 400
    outcome: object = NoPath()
    try:
        outcome = made.match("GET", raw)
    except InvalidInput as refused:
        status = refused.status
    assert status == 400
    assert isinstance(outcome, Found | NoMethod | NoPath)
