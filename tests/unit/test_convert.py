"""Converters: which texts are values, which values have a text, and what a client is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from trivet._convert import Converter, converter_for, converter_named
from trivet.errors import RegistrationError

ID = UUID("12345678-90ab-cdef-1234-567890abcdef")
UserId = NewType("UserId", int)


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Tone(StrEnum):
    WARM = "warm"


class Mixed(Enum):
    ONE = 1
    TEXT_ONE = "1"


@dataclass(frozen=True)
class Sku:
    """A value with a text of its own."""

    number: int

    @classmethod
    def parse(cls, text: str) -> Sku:
        """`sku-7`."""
        if not text.startswith("sku-"):
            raise ValueError(f"{text!r} is no SKU")
        return cls(int(text[4:]))

    def __str__(self) -> str:
        return f"sku-{self.number}"


@dataclass(frozen=True)
class Mute:
    """A value that `str` does not spell."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Mute:
        """Any text."""
        return cls(text)


def made(annotation: Any) -> Converter:
    converter = converter_for(annotation)
    assert converter is not None
    return converter


ACCEPTED: list[tuple[Any, str, Any]] = [
    (str, "", ""),
    (str, " é/\u2028", " é/\u2028"),
    (int, "0", 0),
    (int, "-1", -1),
    (int, "9" * 18, 10**18 - 1),
    (int, "-" + "9" * 18, -(10**18) + 1),
    (float, "0", 0.0),
    (float, "-0", -0.0),
    (float, "1.50", 1.5),
    (float, "1e3", 1000.0),
    (float, "1E+03", 1000.0),
    (float, "-2.5e-3", -0.0025),
    (float, "1" * 309 + "e-300", float("1" * 309 + "e-300")),
    (bool, "true", True),
    (bool, "false", False),
    (UUID, str(ID), ID),
    (UUID, str(ID).upper(), ID),
    (date, "2024-02-29", date(2024, 2, 29)),
    (date, "0001-01-01", date(1, 1, 1)),
    (datetime, "2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (datetime, "2024-01-02t03:04:05z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (datetime, "2024-01-02T03:04:05.5-00:00", datetime(2024, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
    (datetime, "2024-01-02T03:04:05.123456789Z", datetime(2024, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
    (
        datetime,
        "2024-01-02T03:04:05+23:59",
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    ),
    (Color, "red", Color.RED),
    (Level, "2", Level.HIGH),
    (Tone, "warm", Tone.WARM),
    (Mixed, "1", Mixed.ONE),
    (Literal["a", 2], "a", "a"),
    (Literal["a", 2], "2", 2),
    (Literal[True], "true", True),
    (Literal[Color.RED], "red", Color.RED),
    (Sku, "sku-7", Sku(7)),
    (UserId, "7", 7),
    (Annotated[int, Meta(ge=1)], "1", 1),
    (Annotated[int, Meta(gt=1)], "2", 2),
    (Annotated[int, Meta(gt=0.5, lt=1.5)], "1", 1),
    (Annotated[int, Meta(le=5)], "-7", -7),
    (Annotated[int, Meta(lt=5)], "4", 4),
    (Annotated[int, Meta(ge=0, le=10**30)], "1" + "0" * 30, 10**30),
    (Annotated[int, Meta(multiple_of=5)], "-10", -10),
    (Annotated[int, "not ours", Meta(ge=1), Meta(le=3)], "3", 3),
    (Annotated[UserId, Meta(ge=1)], "3", 3),
    (Annotated[float, Meta(gt=0)], "5e-324", 5e-324),
    (Annotated[float, Meta(lt=1)], "0.9999999999999999", 0.9999999999999999),
    (Annotated[float, Meta(ge=0)], "-0.0", -0.0),
    (Annotated[float, Meta(multiple_of=0.5)], "2.5", 2.5),
    (Annotated[str, Meta(min_length=2)], "éé", "éé"),
    (Annotated[str, Meta(max_length=2)], "", ""),
    (Annotated[str, Meta(pattern="^[a-z]+$")], "abc", "abc"),
    (Annotated[UUID, Meta(description="which one")], str(ID), ID),
]

REFUSED: list[tuple[Any, str, str]] = [
    *(
        (int, text, "must be an integer")
        for text in ("", "-", "--1", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1\n", "1_0", "1.0", "1e3", "0x1")
    ),
    *((int, text, "must be an integer") for text in ("٣", "１", "²", "Ⅷ", "1\0", "－1")),
    (int, "1" * 19, "must be an integer of at most 18 digits"),
    (int, "1" * 10_000_000, "must be an integer of at most 18 digits"),
    *(
        (float, text, "must be a number")
        for text in ("", "-", ".", "1.", ".5", "-.5", "+1", "01", "-01", "1e", "1e+", "1ee1", "1e1.0", "1.2.3", "--1")
    ),
    *((float, text, "must be a number") for text in ("nan", "inf", "-Infinity", "1_0", " 1", "1\n", "٣.٣", "0x1p3")),
    (float, "1e999", "must be a finite number"),
    (float, "-1e999", "must be a finite number"),
    (float, "1" * 10_000_000, "must be a number"),
    *((bool, text, "must be true or false") for text in ("", "True", "TRUE", "1", "0", "yes", "on", " true")),
    *(
        (UUID, text, "must be a UUID")
        for text in (
            "",
            "0" * 36,
            ID.hex,
            f"{{{ID}}}",
            f"urn:uuid:{ID}",
            "1234567g-90ab-cdef-1234-567890abcdef",
            "0x345678-90ab-cdef-1234-567890abcdef",
            "1_345678-90ab-cdef-1234-567890abcdef",
            "12345678-90ab-cdef-1234-56789-abcdef",
            "12345678-90ab-cdef-1234-567890abcde\n",
            "1234567٣-90ab-cdef-1234-567890abcdef",
        )
    ),
    *(
        (date, text, "must be a date (YYYY-MM-DD)")
        for text in ("", "20240102", "2024-1-2", "2024-02-30", "0000-01-01", "2024-W01-1", "2024-01-0٣", "+024-01-01")
    ),
    *(
        (datetime, text, "must be a date and time with an offset (RFC 3339)")
        for text in (
            "",
            "Z",
            "2024-01-02",
            "2024-01-02T03:04:05",
            "2024-01-02 03:04:05Z",
            "2024-01-02T03:04Z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T03:60:05Z",
            "2024-12-31T23:59:60Z",
            "2024-02-30T03:04:05Z",
            "2024-01-02T03:04:05.Z",
            "2024-01-02T03:04:05,5Z",
            "2024-01-02T03:04:05.1234567890Z",
            "2024-01-02T03:04:05+0100",
            "2024-01-02T03:04:05+24:00",
            "2024-01-02T03:04:05+01:00Z",
            "2024-01-02T03:04:05+01:00:30",
            "2024-01-02T03:04:0٣Z",
            "2024-01-02T03:04:05ZZ",
            "2024-01-02T03:04:05Z" + "Z" * 1_000_000,
        )
    ),
    (Color, "blue", "must be one of: red, green"),
    (Color, "RED", "must be one of: red, green"),
    (Level, "01", "must be one of: 1, 2"),
    (Literal["a", 2], "b", "must be one of: a, 2"),
    (Sku, "7", "is not a valid Sku"),
    (Annotated[int, Meta(ge=1)], "0", "must be at least 1"),
    (Annotated[int, Meta(gt=1)], "1", "must be at least 2"),
    (Annotated[int, Meta(lt=5)], "5", "must be at most 4"),
    (Annotated[int, Meta(ge=0, le=10**30)], "2" + "0" * 30, f"must be at most {10**30}"),
    (Annotated[int, Meta(multiple_of=5)], "7", "must be a multiple of 5"),
    (Annotated[int, Meta(ge=1), Meta(ge=3)], "2", "must be at least 3"),
    (Annotated[float, Meta(gt=0)], "0", "must be greater than 0"),
    (Annotated[float, Meta(gt=0.5, lt=2.5)], "2.5", "must be less than 2.5"),
    (Annotated[float, Meta(gt=0), Meta(ge=1)], "0.5", "must be at least 1.0"),
    (Annotated[float, Meta(lt=2), Meta(le=1)], "1.5", "must be at most 1.0"),
    (Annotated[float, Meta(le=1)], "1.0000000000000002", "must be at most 1.0"),
    (Annotated[float, Meta(multiple_of=0.5)], "0.3", "must be a multiple of 0.5"),
    (Annotated[str, Meta(min_length=1)], "", "must have at least 1 character"),
    (Annotated[str, Meta(max_length=2)], "abc", "must have at most 2 characters"),
    (Annotated[str, Meta(pattern="^[a-z]+$")], "A", "must match the pattern ^[a-z]+$"),
]


@pytest.mark.parametrize(("annotation", "text", "value"), ACCEPTED)
def test_a_text_becomes_its_value(annotation: Any, text: str, value: Any) -> None:
    """Each canonical text is read as the value of its type, exactly."""
    got = made(annotation).parse(text)
    assert got == value
    assert type(got) is type(value)
    assert not isinstance(value, float) or math.copysign(1, got) == math.copysign(1, value)


@pytest.mark.parametrize(("annotation", "text", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_any_other_text_is_refused_with_a_reason(annotation: Any, text: str, reason: str) -> None:
    """What is not canonical is refused, with a reason for the client."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        made(annotation).parse(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize("annotation", [int, float, bool, UUID, date, datetime, Color, Literal["a"], Sku])
def test_a_reason_never_repeats_the_input(annotation: Any) -> None:
    """The client's text does not come back, not even from a class whose own error repeats it."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        made(annotation).parse("<script>")
    assert "script" not in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (str, "a b", "a b"),
        (str, Tone.WARM, "warm"),
        (int, -7, "-7"),
        (int, Level.HIGH, "2"),
        (float, 0.1, "0.1"),
        (float, 2, "2.0"),
        (float, 1e300, "1e+300"),
        (bool, True, "true"),
        (UUID, ID, str(ID)),
        (date, date(33, 1, 2), "0033-01-02"),
        (datetime, datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00Z"),
        (
            datetime,
            datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-1, minutes=-30))),
            "2024-01-02T00:00:00-01:30",
        ),
        (Color, Color.RED, "red"),
        (Level, Level.LOW, "1"),
        (Literal["a", 2], 2, "2"),
        (Sku, Sku(7), "sku-7"),
    ],
)
def test_a_value_has_one_text(annotation: Any, value: Any, text: str) -> None:
    """`format` writes the canonical text."""
    assert made(annotation).format(value) == text


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, 1),
        (str, None),
        (int, "1"),
        (int, True),
        (int, 1.0),
        (int, 10**18),
        (Annotated[int, Meta(ge=1)], 0),
        (float, "1"),
        (float, True),
        (float, math.nan),
        (float, -math.inf),
        (float, 10**400),
        (float, 2**53 + 1),
        (bool, 1),
        (bool, "true"),
        (UUID, str(ID)),
        (date, datetime(2024, 1, 2, tzinfo=UTC)),
        (date, "2024-01-02"),
        (datetime, date(2024, 1, 2)),
        (datetime, datetime(2024, 1, 2)),  # noqa: DTZ001
        (datetime, datetime(2024, 1, 2, tzinfo=timezone(timedelta(seconds=90)))),
        (Color, "red"),
        (Color, Level.LOW),
        (Mixed, Mixed.TEXT_ONE),
        (Literal["a", 2], "2"),
        (Literal[1], True),
        (Sku, "sku-7"),
        (Mute, Mute("x")),
        (Annotated[str, Meta(min_length=2)], "a"),
        (Annotated[str, Meta(pattern="^a")], "b"),
    ],
)
def test_a_value_that_would_not_come_back_is_refused(annotation: Any, value: Any) -> None:
    """`format` refuses the wrong type, a value out of range, and one that `parse` would not give back."""
    with pytest.raises(ValueError, match=r"must|has no text|has an offset|is too large"):
        made(annotation).format(value)


@pytest.mark.parametrize(
    "annotation",
    [None, Any, object, bytes, list[int], int | None, dict, "int", Literal[None], Literal[b"a"], type, ...],
)
def test_what_is_no_scalar_has_no_converter(annotation: Any) -> None:
    """Containers, unions, bytes and strings are no scalars."""
    assert converter_for(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (Annotated[int, Meta(pattern="a")], "Meta(pattern=...) says nothing about int"),
        (Annotated[str, Meta(ge=1)], "Meta(ge=...) says nothing about str"),
        (Annotated[bool, Meta(ge=1)], "Meta(ge=...) says nothing about bool"),
        (Annotated[Color, Meta(min_length=1)], "Meta(min_length=...) says nothing about Color"),
        (Annotated[datetime, Meta(tz=False)], "drop tz=False"),
        (Annotated[int, Meta(ge=10**18)], "Annotated[int, Meta(ge=1000000000000000000, le=...)]"),
        (Annotated[int, Meta(lt=-(10**18))], "Annotated[int, Meta(lt=-1000000000000000000, ge=...)]"),
    ],
)
def test_a_constraint_that_cannot_hold_is_refused(annotation: Any, shown: str) -> None:
    """A `Meta` that says nothing about its type is an error at registration, with the remedy."""
    with pytest.raises(RegistrationError) as caught:
        converter_for(annotation)
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"),
        (UUID, "UUID"),
        (Color, "Color"),
        (Sku, "Sku"),
        (Literal["a", "b"], "Literal['a', 'b']"),
        (Annotated[int, Meta(ge=1, multiple_of=2)], "int[ge=1, multiple_of=2]"),
        (Annotated[str, Meta(pattern="^a")], "str[pattern='^a']"),
    ],
)
def test_a_converter_is_named_for_messages(annotation: Any, name: str) -> None:
    """The name says the type as people write it, with its constraints; `type` keeps the annotation."""
    converter = made(annotation)
    assert converter.name == str(converter) == name
    assert converter.type == annotation


def test_types_are_spelled_in_paths_as_documented() -> None:
    """`{id:int}` and its like; nothing else has a spelling."""
    spelled = {name: converter_named(name) for name in ("str", "int", "float", "bool", "uuid", "date", "datetime")}
    bases = {name: converter and converter.base for name, converter in spelled.items()}
    assert bases == {
        "str": str,
        "int": int,
        "float": float,
        "bool": bool,
        "uuid": UUID,
        "date": date,
        "datetime": datetime,
    }
    assert [converter_named(name) for name in ("path", "Int", "UUID", "", "integer")] == [None] * 5


VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, st.text()),
    (int, st.integers(-(10**18) + 1, 10**18 - 1)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (UUID, st.uuids()),
    (date, st.dates()),
    (
        datetime,
        st.datetimes(timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))),
    ),
    (Color, st.sampled_from(Color)),
    (Sku, st.integers(-9, 9).map(Sku)),
]


@pytest.mark.parametrize(("annotation", "values"), VALUES, ids=lambda value: getattr(value, "__name__", ""))
def test_parse_gives_back_what_format_wrote(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    """Every value of a scalar type survives the way through its text."""
    converter = made(annotation)

    @given(values)
    def round_trip(value: Any) -> None:
        text = converter.format(value)
        assert converter.parse(text) == value
        assert converter.language.accepts(text)
        shortest, longest = converter.language.lengths
        assert shortest <= len(text)
        assert longest is None or len(text) <= longest

    round_trip()


@given(st.text(alphabet="0123456789-+.eEtrufalsTZ:_ x٣\n", max_size=40), st.sampled_from(ACCEPTED))
def test_a_set_accepts_what_its_parser_accepts(text: str, case: tuple[Any, str, Any]) -> None:
    """The language that routes are compared by and the parser that requests meet agree on every text."""
    converter = made(case[0])
    try:
        converter.parse(text)
        accepted = True
    except ValueError:
        accepted = False
    assert converter.language.accepts(text) is accepted
