"""JSON bodies: what is 400, 415 and 422, and that every fault is found at a price that the body has paid."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from tests.unit.linear import LINEAR, growth
from trivet._body import JSONDecoder, syntax_of
from trivet._faults import FAULTS_MAX
from trivet.errors import InvalidInput


class Color(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Line(msgspec.Struct):
    points: list[Point]
    name: str
    by_name: dict[str, Point] = {}
    by_number: dict[int, float] = {}
    color: Color = Color.RED
    when: datetime | None = None


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str
    a: int = 0


class Node(msgspec.Struct):
    children: list[Node] = []
    data: list[int] = []
    n: int = 0


class Even(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n % 2:
            raise ValueError("n must be 'even'")


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    name: str
    age: int = 0


class Span(NamedTuple):
    start: int
    unit: str
    step: int = 1


class Row(msgspec.Struct, array_like=True):
    number: int
    text: str


T = TypeVar("T")
U = TypeVar("U")


class Batch(msgspec.Struct, Generic[T]):
    items: list[T]
    size: int


class Points(Batch[Point]):
    pass


@dataclasses.dataclass
class One(Generic[T]):
    it: T


@dataclasses.dataclass
class Both(One[U], Generic[T, U]):
    left: One[T]


class TypedOf(TypedDict, Generic[T]):
    a: list[T]
    b: NotRequired[T]


@attrs.define
class AttrsOf(Generic[T]):
    a: list[T]
    b: T


Aliased = TypeAliasType("Aliased", list[Point])


@dataclasses.dataclass
class Data:
    a: int
    b: list[int]
    c: str = ""


class Typed(TypedDict):
    a: int
    b: NotRequired[str]


@attrs.define
class Attrs:
    a: int
    b: str = ""


def decoding(annotation: Any, raw: bytes | str) -> Any:
    return JSONDecoder(annotation).decode(raw.encode() if isinstance(raw, str) else raw)


def faults_of(annotation: Any, raw: bytes | str) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        decoding(annotation, raw)
    assert caught.value.status == 422
    assert all(fault.where == "body" for fault in caught.value.faults)
    return {fault.name: fault.reason for fault in caught.value.faults}


# ---- content type


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8; x=y",
        "application/problem+json",
        "application/vnd.api+json; profile=x",
        " application/json ",
    ],
)
@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity "])
def test_json_by_any_of_its_names(content_type: str, encoding: str | None) -> None:
    """`application/json`, `application/*+json` and UTF-8 under any spelling are taken."""
    syntax_of(content_type, encoding)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json+x",
        "image/svg+json",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "json",
    ],
)
def test_other_types_are_415(content_type: str | None) -> None:
    """What does not say that it is JSON in UTF-8 is not guessed at."""
    with pytest.raises(InvalidInput) as caught:
        syntax_of(content_type, None)
    assert caught.value.status == 415


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_a_content_coding_is_415(encoding: str) -> None:
    """A coded body is refused before it is inflated."""
    with pytest.raises(InvalidInput) as caught:
        syntax_of("application/json", encoding)
    assert caught.value.status == 415


# ---- JSON or not

MALFORMED = [
    (b"", "is empty"),
    (b" \t\r\n", "is empty"),
    (b"{", "is not JSON"),
    (b"{} {}", "is not JSON"),
    (b"{'a': 1}", "is not JSON"),
    (b'{"a":1,}', "is not JSON"),
    (b"[1 2]", "is not JSON"),
    (b"NaN", "is not JSON"),
    (b"[Infinity]", "is not JSON"),
    (b"-Infinity", "is not JSON"),
    (b"01", "is not JSON"),
    (b"\xef\xbb\xbf{}", "is not JSON"),  # a byte order mark (RFC 8259 section 8.1)
    ("{}".encode("utf-16"), "is not UTF-8"),
    ("{}".encode("utf-16-le"), "is not JSON"),
    ("{}".encode("utf-32-be"), "is not JSON"),
    (b'"\xff"', "is not UTF-8"),
    (b'"\xed\xa0\x80"', "is not UTF-8"),  # a surrogate, encoded
    (b'"\\ud800"', "is not JSON"),  # and escaped
    (b'"\\udc00\\ud800"', "is not JSON"),
    (b'"\x00"', "is not JSON"),
    (b"[" * 100_000, "is nested too deeply"),
    (b'{"a":' * 100_000, "is nested too deeply"),
    (b"[" * 100_000 + b"]" * 100_000, "is nested too deeply"),
]


@pytest.mark.parametrize(("raw", "detail"), MALFORMED, ids=[repr(raw[:20]) for raw, _ in MALFORMED])
@pytest.mark.parametrize("annotation", [Any, Line, Node])
def test_what_is_not_json_is_400(annotation: Any, raw: bytes, detail: str) -> None:
    """Malformed, empty, not UTF-8, not a number, too deep: 400 whatever the type, and no traceback."""
    with pytest.raises(InvalidInput) as caught:
        decoding(annotation, raw)
    assert (caught.value.status, caught.value.faults) == (400, ())
    assert detail in caught.value.detail


def test_a_misfit_before_the_end_of_malformed_json_is_400() -> None:
    """Well-formedness is decided first: 422 says that it was JSON."""
    with pytest.raises(InvalidInput) as caught:
        decoding(Line, '{"name": 5, "points": [')
    assert caught.value.status == 400


def test_bytes_that_are_not_utf8_are_seen_in_what_is_skipped() -> None:
    """An unknown field is skipped by the decoder, but not by the check of the encoding."""
    with pytest.raises(InvalidInput) as caught:
        decoding(Point, b'{"x": 1, "unknown": "\xff"}')
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("annotation", "raw", "value"),
    [
        (Any, '{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        (Any, '"\\ud83d\\ude00"', "😀"),
        (Any, '{"a": 1, "a": 2}', {"a": 2}),  # the last wins, as in every JSON library of Python
        (Any, "10000000000000000000000000", 10000000000000000000000000),
        (Point, '{"x": 1, "unknown": [1]}', Point(1)),
        (Data, '{"a": 1, "b": [2]}', Data(1, [2])),
        (Typed, '{"a": 1}', {"a": 1}),
        (Attrs, '{"a": 1}', Attrs(1)),
        (Cat | Dog, '{"type": "Dog", "name": "x"}', Dog("x")),
        (dict[int, float], '{"1": 2}', {1: 2.0}),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (Point | None, "null", None),
        (float, "1", 1.0),
        (int, "1.0", None),
    ],
)
def test_values(annotation: Any, raw: str, value: Any) -> None:
    """What fits is the value; a fraction is no integer."""
    if value is None and annotation is int:
        assert faults_of(annotation, raw) == {"": "expected `int`, got `float`"}
        return
    assert decoding(annotation, raw) == value


# ---- every fault

NO_INT, NO_STR = "expected `int`, got `str`", "expected `str`, got `int`"
FAULTS: list[tuple[Any, str, dict[str, str]]] = [
    (Point, "{}", {"/x": "is required"}),
    (Point, "[]", {"": "expected `object`, got `array`"}),
    (Point, "null", {"": "expected `object`, got `null`"}),
    (Point, '{"x": "1", "y": null}', {"/x": "expected `int`, got `str`", "/y": "expected `int`, got `null`"}),
    (
        Line,
        '{"points": [{"x": 1}, {}, {"x": "a", "y": "b"}], "color": "blue", "when": "now"}',
        {
            "/points/1/x": "is required",
            "/points/2/x": "expected `int`, got `str`",
            "/points/2/y": "expected `int`, got `str`",
            "/color": "is not one of the allowed values",
            "/when": "invalid RFC3339 encoded datetime",
            "/name": "is required",
        },
    ),
    (
        Line,
        '{"points": [], "name": 1, "by_name": {"a/b": {"x": "?"}, "a~b": {}}, "by_number": {"1": 2}}',
        {"/name": NO_STR, "/by_name/a~1b/x": NO_INT, "/by_name/a~0b/x": "is required"},
    ),
    (Line, '{"points": [], "name": "", "by_number": {"x": 2}}', {"/by_number": f"a key does not fit: {NO_INT}"}),
    (Strict, '{"firstName": 1, "zz": 1, "first_name": 2}', {
        "/firstName": NO_STR, "/zz": "is not a known field", "/first_name": "is not a known field"}),
    (Strict, '{"a": "x"}', {"/firstName": "is required", "/a": "expected `int`, got `str`"}),
    (Even, '{"n": 3}', {"": "n must be 'even'"}),
    (list[Even], '[{"n": 2}, {"n": 3}]', {"/1": "n must be 'even'"}),
    (Cat | Dog, '{"type": "Fox"}', {"/type": "is not one of the allowed values"}),
    (Cat | Dog, '{"type": "Cat", "lives": "x"}', {"/lives": "expected `int`, got `str`"}),
    (Data, '{"a": "x", "b": [1, "y"]}', {"/a": "expected `int`, got `str`", "/b/1": "expected `int`, got `str`"}),
    (Typed, '{"b": 1}', {"/a": "is required", "/b": "expected `str`, got `int`"}),
    (Attrs, '{"b": 1}', {"/a": "is required", "/b": "expected `str`, got `int`"}),
    (tuple[int, str], '["a", 1]', {"/0": NO_INT, "/1": NO_STR}),
    (tuple[int, str], '["a"]', {"": "expected `array` of length 2, got 1"}),
    (tuple[Point, ...], '[{}, {"x": 1}, {"x": "a"}]', {"/0/x": "is required", "/2/x": NO_INT}),
    (Sequence[Point], '[{"x": "a"}, {"x": "b"}]', {"/0/x": NO_INT, "/1/x": NO_INT}),
    (Mapping[str, Point], '{"a": {}, "b": {"x": "a"}}', {"/a/x": "is required", "/b/x": NO_INT}),
    (Span, '["a", 1, 2]', {"/0": NO_INT, "/1": NO_STR}),
    (Span, '["a"]', {"/0": NO_INT}),
    (Span, "[1]", {"": "expected `array` of length 2 to 3, got 1"}),
    (list[Span], '[["a", "b"], ["a", 5]]', {"/0/0": NO_INT, "/1/0": NO_INT, "/1/1": NO_STR}),
    (Row, '["a", 1]', {"/0": NO_INT, "/1": NO_STR}),
    (Batch[Point], '{"items": [{"x": "a"}, {}], "size": "x"}', {
        "/items/0/x": NO_INT, "/items/1/x": "is required", "/size": NO_INT}),
    (dict[str, Batch[int]], '{"a": {"items": ["x", 1, "y"], "size": 1}}', {"/a/items/0": NO_INT, "/a/items/2": NO_INT}),
    (Points, '{"items": [{}], "size": "x"}', {"/items/0/x": "is required", "/size": NO_INT}),
    (Both[int, str], '{"left": {"it": "x"}, "it": 1}', {"/left/it": NO_INT, "/it": NO_STR}),
    (TypedOf[int], '{"a": ["x"], "b": "y"}', {"/a/0": NO_INT, "/b": NO_INT}),
    (AttrsOf[int], '{"a": ["x"]}', {"/a/0": NO_INT, "/b": "is required"}),
    (Dog, '{"type": "Dog", "name": 1, "age": "x"}', {"/name": NO_STR, "/age": NO_INT}),
    (Dog, '{"name": 1, "age": "x", "zz": 1}', {
        "/name": NO_STR, "/age": NO_INT, "/zz": "is not a known field"}),
    (Dog, '{"type": "Cat", "name": 1, "age": "x"}', {"/type": "is not one of the allowed values"}),
    (Cat | Dog, '{"type": "Dog", "age": "x", "zz": 1}', {
        "/name": "is required", "/age": NO_INT, "/zz": "is not a known field"}),
    (Cat | Dog, '{"age": "x"}', {"/type": "is required"}),
    (Cat | Dog, '{"type": 5}', {"/type": "expected `str`, got `int`"}),
    (list[Cat | Dog] | None, '[{"type": "Dog", "name": 1, "age": "x"}, {"type": "Cat"}]', {
        "/0/name": NO_STR, "/0/age": NO_INT, "/1/lives": "is required"}),
    (Point | list[Point] | int, '[{}, {"x": "a"}]', {"/0/x": "is required", "/1/x": NO_INT}),
    (Point | list[Point] | int, '{"x": "a", "y": "b"}', {"/x": NO_INT, "/y": NO_INT}),
    (Point | list[Point] | int, '"a"', {"": "expected `int | object | array`, got `str`"}),
    (Aliased, '[{"x": "a"}, {}]', {"/0/x": NO_INT, "/1/x": "is required"}),
    (Annotated[list[int], msgspec.Meta(max_length=1)], "[1, 2]", {"": "expected `array` of length <= 1"}),
    (Annotated[list[int], msgspec.Meta(max_length=1)], '[1, "x"]', {"/1": "expected `int`, got `str`"}),
    (list[Annotated[int, msgspec.Meta(ge=1)]], "[0, 1, -1]", dict.fromkeys(["/0", "/2"], "expected `int` >= 1")),
    (Point | None, '{"x": "a"}', {"/x": "expected `int`, got `str`"}),
    (Literal["a"], '"b"', {"": "is not one of the allowed values"}),
    (dict[str, dict[str, int]], '{"a": {"b": "c"}, "d": 1}', {
        "/a/b": "expected `int`, got `str`", "/d": "expected `object`, got `int`"}),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "raw", "expected"), FAULTS, ids=[f"{raw[:30]}" for _, raw, _ in FAULTS])
def test_every_fault_is_found(annotation: Any, raw: str, expected: dict[str, str]) -> None:
    """Each field that fails is named by its JSON Pointer, once, with a reason."""
    assert faults_of(annotation, raw) == expected


@pytest.mark.parametrize("secret", ["s3cret", "x" * 10_000, "a'b", 'a\\"b', "a`b"])
def test_the_input_is_not_echoed(secret: str) -> None:
    """Reasons say what was expected, not what came: it would be reflected to whoever reads the answer."""
    fields = f'"points": "{secret}", "name": ["{secret}"], "color": "{secret}", "when": "{secret}"'
    raw = f'{{{fields}, "by_number": {{"{secret}": 1}}}}'
    found = faults_of(Line, raw)
    assert len(found) == 5
    assert not any(secret[:6] in reason for reason in found.values())


def test_as_many_faults_as_an_answer_may_hold() -> None:
    """A body of wrong items gives a bounded list."""
    assert len(faults_of(list[int], json.dumps(["x"] * 5000))) == FAULTS_MAX


def test_a_long_key_is_cut_in_pointers() -> None:
    """A key of a megabyte is not repeated in each fault."""
    found = faults_of(dict[str, list[int]], json.dumps({"k" * 1_000_000: ["x"] * 100}))
    assert len(found) == 100
    assert all(len(pointer) < 200 and pointer.startswith("/kkk") for pointer in found)


texts = st.sampled_from(
    ["", "a", "1", "red", "2024-02-29", "2024-02-29T00:00:00Z", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "YQ=="]
)
keys = st.sampled_from(["x", "y", "a", "b", "n", "1", "type"])
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
TYPES: list[Any] = [
    int, float, str, bool, bytes, date, datetime, UUID, Decimal, Color, Point, Data, Typed, Attrs, Even, Cat | Dog,
    list[int], dict[str, int], dict[int, Point], list[Point | None], tuple[int, ...], set[int], Node, int | str,
    Annotated[int, msgspec.Meta(ge=0)], Batch[int], Both[int, str], TypedOf[int], AttrsOf[str], Span, Row,
    tuple[int, Point], Sequence[Point], Mapping[str, Point], Cat | Dog | list[int],
]  # fmt: skip


@given(value=json_values, annotation=st.sampled_from(TYPES))
def test_faults_agree_with_the_decoder(value: Any, annotation: Any) -> None:
    """There are faults exactly if msgspec refuses, and each points into the document or at what is missing."""
    raw = json.dumps(value).encode()
    try:
        expected = msgspec.json.decode(raw, type=annotation)
    except msgspec.ValidationError:
        for pointer in faults_of(annotation, raw):
            assert pointer == "" or pointer.startswith("/")
            inside = value
            for token in pointer.split("/")[1:-1]:
                inside = inside[int(token)] if isinstance(inside, list) else inside[token]
    else:
        assert decoding(annotation, raw) == expected


# ---- the price of a refusal


def refused(annotation: Any, make: Callable[[int], bytes]) -> Callable[[int], object]:
    decoder = JSONDecoder(annotation)

    def run(size: int) -> object:
        with pytest.raises(InvalidInput):
            decoder.decode(make(size))
        return None

    return run


@pytest.mark.parametrize(
    ("annotation", "make"),
    [
        (Node, lambda size: b'{"n": "bad", "data": [' + b",".join([b"1"] * size) + b"]}"),
        (Node, lambda size: b'{"data": [' + b'"x",' * size + b"1]}"),
        (Node, lambda size: b'{"data": [' + b"1," * size + b'"x"]}'),
        (Any, lambda size: b"[" * size),
        (dict[str, int], lambda size: b"{" + b",".join(b'"%d": "x"' % i for i in range(size)) + b"}"),
        (Strict, lambda size: b"{" + b",".join(b'"%d": "x"' % i for i in range(size)) + b"}"),
    ],
)
def test_a_refusal_is_linear_in_the_body(annotation: Any, make: Callable[[int], bytes]) -> None:
    """Finding the faults of a large body costs no more than in proportion to its size."""
    assert growth(refused(annotation, make), 2000) < LINEAR


def test_a_refusal_is_not_multiplied_by_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recursive type and a body as deep as the parser allows: the number of looks stays bounded."""
    looks = 0
    convert = msgspec.convert

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal looks
        looks += 1
        return convert(*args, **kwargs)

    monkeypatch.setattr(msgspec, "convert", counted)
    depth = 300
    raw = b'{"children": [' * depth + b'{"data": [' + b"1," * 1000 + b'"x"]}' + b"]}" * depth
    assert len(faults_of(Node, raw)) == 1
    assert looks < 50
    looks = 0
    wide = b'{"children": [' + b'{"n": 1},' * 50_000 + b'{"n": "x"}]}'
    assert len(faults_of(Node, wide)) == 1
    assert looks <= 10_001


@pytest.mark.parametrize("raw", [b"1e999", b"[0.1e999]", b'{"a": -1e400}'])
def test_a_number_that_is_too_large_is_422(raw: bytes) -> None:
    """It is JSON: RFC 8259 bounds no number; it does not fit any of ours."""
    with pytest.raises(InvalidInput) as caught:
        JSONDecoder(Any).decode(raw)
    assert caught.value.status == 422
    assert caught.value.faults[0].reason == "a number is out of range"
