"""Patterns: what parses, what does not and what is said then, and the paths that are built."""

from __future__ import annotations

import os
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from trivet._convert import Converter, converter_for
from trivet._pattern import PATH, Field, Fixed, Pattern, join, parse, parse_mount
from trivet._routes import Found, Table
from trivet.errors import Location, PatternError

GOLDEN = Path(__file__).parents[1] / "golden" / "routing"


class Color(Enum):
    RED = "red"


def types(**annotations: Any) -> dict[str, Converter]:
    found = {name: converter_for(annotation) for name, annotation in annotations.items()}
    return {name: converter for name, converter in found.items() if converter is not None}


def shape(pattern: Pattern) -> list[Any]:
    """A pattern as literals and `(prefix, name, type, suffix)`."""
    return [
        each.text if isinstance(each, Fixed) else (each.prefix, each.name, each.converter.name, each.suffix)
        for each in pattern.segments
    ]


@pytest.mark.parametrize(
    ("text", "expected", "tail"),
    [
        ("/", [""], "none"),
        ("/a", ["a"], "none"),
        ("/a/", ["a", ""], "none"),
        ("/a/b.c~d", ["a", "b.c~d"], "none"),
        ("/café/%C3%A9", ["café", "é"], "none"),
        ("/a%2Fb", ["a/b"], "none"),
        ("/%7Bid%7D", ["{id}"], "none"),
        ("/a b", ["a b"], "none"),
        ("/../.", ["..", "."], "none"),
        ("/:id/@me", [":id", "@me"], "none"),
        ("/{id}", [("", "id", "str", "")], "none"),
        ("/{id:int}", [("", "id", "int", "")], "none"),
        ("/{a}/{b:uuid}", [("", "a", "str", ""), ("", "b", "UUID", "")], "none"),
        ("/{name}.png", [("", "name", "str", ".png")], "none"),
        ("/v{n:int}", [("v", "n", "int", "")], "none"),
        ("/%C3%A9{n}%25", [("é", "n", "str", "%")], "none"),
        ("/{größe}", [("", "größe", "str", "")], "none"),
        ("/{path}", [("", "path", "str", "")], "none"),
        ("/{int}", [("", "int", "str", "")], "none"),
        ("/{int:int}", [("", "int", "int", "")], "none"),
        ("/{rest:path}", [], "path"),
        ("/a/{b}/{rest:path}", ["a", ("", "b", "str", "")], "path"),
        ("/{id}/", [("", "id", "str", ""), ""], "none"),
    ],
)
def test_a_path_parses_to_segments(text: str, expected: list[Any], tail: str) -> None:
    """Literals are decoded, fields know their affixes and types, and the text stays as it was written."""
    pattern = parse(text)
    assert (shape(pattern), pattern.tail, pattern.text, str(pattern)) == (expected, tail, text, text)
    assert pattern.static is ("{" not in text)


BAD: list[tuple[str, dict[str, Any]]] = [
    *(
        (text, {})
        for text in (
            "",
            "users",
            "{id}",
            "//",
            "/a//b",
            "/a/b//",
            "/{",
            "/}",
            "/{id",
            "/id}",
            "/}id{",
            "/{}",
            "/{:int}",
            "/{id:}",
            "/{{id}}",
            "/{a}{b}",
            "/{a}-{b}",
            "/{a/b}",
            "/{1}",
            "/{class}",
            "/{a b}",
            "/{ id }",
            "/{id: int}",
            "/{a}/x/{a}",
            "/{int:id}",
            "/{id:integer}",
            "/{id:itn}",
            "/{id:Color}",
            "/{rest:path}/x",
            "/{rest:path}/",
            "/x{rest:path}",
            "/{rest:path}x",
            "/{rest...}",
            "/{*rest}",
            "/{id?}",
            "/<id>",
            "/<int:id>",
            "/search?q={q}",
            "/a#b",
            "/100%",
            "/%zz",
            "/%ff",
            "/%00",
            "/a\0b",
        )
    ),
    ("/{id:int}", {"id": str}),
    ("/{id:str}", {"id": Annotated[int, Meta(ge=1)]}),
    ("/{color:str}", {"color": Color}),
    ("/{rest:path}", {"rest": int}),
    ("/{rest:path}", {"rest": Annotated[str, Meta(max_length=3)]}),
]


def message(text: str, annotations: dict[str, Any]) -> str:
    with pytest.raises(PatternError) as caught:
        parse(text, types(**annotations))
    return str(caught.value)


@pytest.mark.parametrize(("text", "annotations"), BAD, ids=str)
def test_a_path_that_does_not_parse_is_shown_with_a_caret(text: str, annotations: dict[str, Any]) -> None:
    """Each refusal is what went wrong, the path, a caret within it, and a remedy."""
    what, shown, caret, remedy = message(text, annotations).split("\n")
    assert what
    assert remedy.endswith((".", "}", "str", "Color"))
    assert len(shown) == len(text) + 4
    assert 4 <= caret.index("^") <= 4 + len(text)


def test_the_words_of_each_refusal() -> None:
    """The messages are those of the golden file; UPDATE_GOLDEN=1 writes it."""
    blocks = [f"{message(text, annotations)}\n" for text, annotations in BAD]
    got = "\n".join(blocks).replace("\ufffd", "?")
    golden = GOLDEN / "pattern_errors.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(got, encoding="utf-8")
    assert got == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "annotation", "name"),
    [
        ("/{x}", int, "int"),
        ("/{x}", Color, "Color"),
        ("/{x:int}", int, "int"),
        ("/{x:int}", Annotated[int, Meta(ge=1)], "int[ge=1]"),
        ("/{x:uuid}", UUID, "UUID"),
        ("/{x:path}", str, "path"),
        ("/{x}", list[int], "str"),
    ],
)
def test_the_annotation_gives_the_type(text: str, annotation: Any, name: str) -> None:
    """The handler's annotation decides where the path says nothing, and refines what the path says."""
    assert parse(text, types(x=annotation)).fields["x"].name == name


def test_annotations_of_other_parameters_do_not_matter() -> None:
    """All of a handler's scalars may be handed in; the path takes its own."""
    assert list(parse("/{x}", types(x=int, q=str)).fields) == ["x"]


def test_fields_keep_their_order_and_path_is_one_of_them() -> None:
    """`fields` is in the order of the path, whatever the types."""
    fields = parse("/{b:int}/{a}/{rest:path}").fields
    assert list(fields) == ["b", "a", "rest"]
    assert fields["rest"] is PATH


@pytest.mark.parametrize(
    ("prefix", "path", "joined"),
    [
        ("", "/x", "/x"),
        ("/", "/x", "/x"),
        ("/", "/", "/"),
        ("/", "", "/"),
        ("", "", ""),
        ("/api", "/x", "/api/x"),
        ("/api", "/", "/api/"),
        ("/api", "", "/api"),
        ("/api/{v}", "/{x}", "/api/{v}/{x}"),
    ],
)
def test_joining_adds_no_slash_and_loses_none(prefix: str, path: str, joined: str) -> None:
    """`/` below `/api` is `/api/`, the empty path is `/api` itself."""
    assert join(prefix, path) == joined


def test_a_pattern_joins_a_prefix_with_fields_of_its_own() -> None:
    """Both sides keep their types, and one name may not come twice."""
    joined = parse("/{x}", types(x=int)).join("/api/{v}", types(v=Color))
    assert {name: each.name for name, each in joined.fields.items()} == {"v": "Color", "x": "int"}
    with pytest.raises(PatternError, match="appears twice"):
        joined.join("/{x}")
    assert parse("", relative=True).join("/api").text == "/api"


@pytest.mark.parametrize("text", ["", "/"])
def test_the_root_may_be_mounted(text: str) -> None:
    """Both spellings of the root are the empty prefix."""
    mount = parse_mount(text)
    assert (mount.text, str(mount), mount.segments, mount.open) == ("", "/", (), True)


@pytest.mark.parametrize("text", ["x", "/x/", "//", "/a//b", "/{a}", "/x?y"])
def test_a_mount_has_a_plain_prefix(text: str) -> None:
    """No fields, no trailing slash, no empty segments."""
    with pytest.raises(PatternError):
        parse_mount(text)


@pytest.mark.parametrize(
    ("text", "params", "path"),
    [
        ("/", {}, "/"),
        ("/a/", {}, "/a/"),
        ("/café/a b", {}, "/caf%C3%A9/a%20b"),
        ("/a%2Fb", {}, "/a%2Fb"),
        ("/{x}", {"x": "a/b?c#d%e é"}, "/a%2Fb%3Fc%23d%25e%20%C3%A9"),
        ("/{x}", {"x": "a;b,c=d@e:f~g"}, "/a;b,c=d@e:f~g"),
        ("/{x}", {"x": "..."}, "/..."),
        ("/{x:int}/y", {"x": -7}, "/-7/y"),
        ("/{x:float}", {"x": 1e300}, "/1e+300"),
        ("/{x:bool}", {"x": True}, "/true"),
        ("/{x:date}", {"x": date(2024, 1, 2)}, "/2024-01-02"),
        ("/{x}.png", {"x": "."}, "/..png"),
        ("/v{x:int}", {"x": 1}, "/v1"),
        ("/{x:path}", {"x": "a/b c/"}, "/a/b%20c/"),
        ("/{x:path}", {"x": "a//b"}, "/a//b"),
        ("/{x:path}", {"x": "/etc"}, "/%2Fetc"),
        ("/{x:path}", {"x": "//e"}, "/%2F/e"),
        ("/f/{x:path}", {"x": "/"}, "/f/%2F"),
    ],
)
def test_a_path_is_built_percent_encoded(text: str, params: dict[str, Any], path: str) -> None:
    """What is built is canonical and matches its own pattern with the same parameters."""
    pattern = parse(text)
    assert pattern.build(params) == path
    assert matched(pattern, path) == params


@pytest.mark.parametrize(
    ("text", "params", "error", "shown"),
    [
        ("/{x}", {}, TypeError, "/{x} needs 'x' as well"),
        ("/{x}", {"y": 1}, TypeError, "/{x} has no field 'y'"),
        ("/{item_id}", {"itemid": 1}, TypeError, "Did you mean 'item_id'?"),
        ("/a", {"y": 1}, TypeError, "/a has no field 'y'"),
        ("/{x}", {"x": 1}, ValueError, "/{x}: 'x' must be a str, not int"),
        ("/{x:int}", {"x": "1"}, ValueError, "'x' must be an int, not str"),
        ("/{x}", {"x": ""}, ValueError, "'x' is empty"),
        ("/{x:path}", {"x": ""}, ValueError, "'x' is empty"),
        ("/{x}", {"x": ".."}, ValueError, "'x' makes the segment '..'"),
        ("/{x}", {"x": "."}, ValueError, "'x' makes the segment '.'"),
        ("/.{x}", {"x": "."}, ValueError, "'x' makes the segment '..'"),
        ("/{x:path}", {"x": "a/../b"}, ValueError, "'x' makes the segment '..'"),
        ("/{x}", {"x": "a\0"}, ValueError, "'x' holds NUL"),
        ("/{x}", {"x": "\ud800"}, ValueError, "'x' holds a lone surrogate"),
    ],
)
def test_what_would_not_come_back_is_not_built(
    text: str, params: dict[str, Any], error: type[Exception], shown: str
) -> None:
    """Names are checked like arguments; a value that no path gives back is refused."""
    with pytest.raises(error) as caught:
        parse(text).build(params)
    assert shown in str(caught.value)


def matched(pattern: Pattern, path: str) -> dict[str, Any]:
    table: Table[None] = Table()
    table.add(pattern, frozenset({"GET"}), None, Location("handler", "app.py", 1))
    found = table.match("GET", path.encode("ascii"))
    assert isinstance(found, Found)
    return dict(found.params)


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(plain.filter(lambda text: text not in (".", "..")), st.integers(-(10**18) + 1, 10**18 - 1), plain)
def test_matching_gives_back_what_was_built(name: str, number: int, rest: str) -> None:
    """Any text survives the way through a path, slashes and percent signs included."""
    if not {".", ".."}.isdisjoint(rest.split("/")):
        rest = rest.replace(".", "_")
    params = {"a": name, "b": number, "c": name, "d": rest}
    pattern = parse("/x/{a}/n{b:int}/{c}.png/{d:path}")
    assert matched(pattern, pattern.build(params)) == params


@given(st.text("/{}:ab%2F.?<é", max_size=12))
def test_any_text_parses_or_is_refused_with_a_caret(text: str) -> None:
    """No text makes the parser fail in another way, and what parses keeps its text."""
    try:
        pattern = parse(text)
    except PatternError as refused:
        shown = str(refused).split("\n")
    else:
        assert pattern.text == text
        assert all(isinstance(each, Fixed | Field) for each in pattern.segments)
        return
    assert shown[2].lstrip() == "^"
