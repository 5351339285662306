"""The syntax of a route's path: text to segments, with errors that point into the text.

What lives here: the grammar and its diagnoses. What a pattern means and how a path is built from it is
`_pattern`'s, where the syntax is described. What it must not know: methods, handlers, how patterns relate.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from . import _percent
from ._convert import STR, TYPE_NAMES, Converter, converter_named
from ._language import TEXT, Finite, Language, segment
from ._suggest import suggest
from .errors import PatternError

PATH = Converter("path", str, str, TEXT, STR.parse, STR.format)
"""Stands for a `{name:path}` field in `Pattern.fields`."""

Tail = Literal["none", "path", "mount"]
"""What follows the segments: nothing; one or more segments as a field; anything at all, nothing included."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A literal segment; `text` is decoded, and empty after a trailing slash."""

    text: str

    @property
    def language(self) -> Language:
        """The one text that it accepts."""
        return Finite(frozenset({self.text}))


@dataclass(frozen=True, slots=True)
class Field:
    """A segment with a field; `prefix` and `suffix` are the decoded literals around it."""

    name: str
    converter: Converter
    prefix: str = ""
    suffix: str = ""

    @property
    def language(self) -> Language:
        """The segments that it accepts."""
        return segment(self.converter.language, self.prefix, self.suffix)


class Parser:
    """One parse of one path; it exists so that every error can point into the text."""

    def __init__(self, path: str, types: Mapping[str, Converter]) -> None:
        self.path = path
        self.types = types
        self.fields: dict[str, Converter] = {}

    def error(self, message: str, at: int, remedy: str) -> PatternError:
        """An error whose message shows the path with a caret under the character at `at`."""
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in self.path)
        return PatternError(f"{message}\n    {shown}\n    {' ' * at}^\n{remedy}")

    def parse(self) -> tuple[tuple[Fixed | Field, ...], Tail]:
        """The segments and what follows them; `fields` has the converters."""
        if not self.path.startswith("/"):
            raise self.error("a path begins with a slash", 0, f"Write {'/' + self.path!r}.")
        segments: list[Fixed | Field] = []
        tail: Tail = "none"
        start = 1
        raws = self._split()
        for index, raw in enumerate(raws):
            last = index == len(raws) - 1
            if not raw and not last:
                raise self.error(
                    "an empty segment",
                    start,
                    "Remove one of the slashes; what a client sends twice does not match.",
                )
            if "{" in raw or "}" in raw:
                parsed = self._field(raw, start)
                if parsed.converter is PATH:
                    self._check_path(parsed, start, last=last)
                    tail = "path"
                else:
                    segments.append(parsed)
            else:
                segments.append(Fixed(self._literal(raw, start)))
            start += len(raw) + 1
        return tuple(segments), tail

    def _split(self) -> list[str]:
        return self.path[1:].split("/")

    def _literal(self, raw: str, start: int) -> str:
        for offset, char in enumerate(raw):
            if char in "?#":
                remedy = "Declare a query parameter in the handler's signature" if char == "?" else "Remove it"
                raise self.error(
                    f"{char!r} ends a path",
                    start + offset,
                    f"{remedy}; the character itself is %{ord(char):02X}.",
                )
            if char in "<>":
                raise self.error(
                    f"{char!r} in a path",
                    start + offset,
                    f"Fields are written {{name}}; the character itself is %{ord(char):02X}.",
                )
        try:
            return _percent.decode(raw)
        except ValueError as error:
            at = next((i for i, c in enumerate(raw) if c in "%\0"), 0)
            remedy = "Remove it." if "NUL" in str(error) else "A percent sign itself is %25."
            raise self.error(f"in a literal, {error}", start + at, remedy) from None

    def _field(self, raw: str, start: int) -> Field:
        opening, closing = raw.find("{"), raw.find("}")
        if opening < 0 or 0 <= closing < opening:
            raise self.error(
                "'}' without '{'", start + closing, "Fields are written {name}; the character itself is %7D."
            )
        if closing < 0:
            raise self.error(
                "'{' without '}'", start + opening, "Close the field: {name}; the character itself is %7B."
            )
        inside = raw[opening + 1 : closing]
        again = raw.find("{", opening + 1)
        if again >= 0:
            remedy = (
                "Close the first one"
                if again < closing
                else "Put a slash between them, or split the value in the handler"
            )
            raise self.error("two fields in one segment", start + again, f"{remedy}.")
        if "}" in raw[closing + 1 :]:
            raise self.error(
                "'}' without '{'",
                start + raw.rindex("}"),
                "Fields are written {name}; the character itself is %7D.",
            )
        name, colon, spelling = inside.partition(":")
        at = start + opening + 1
        self._check_name(name, spelling, at)
        converter = self._converter(name, spelling if colon else None, at)
        self.fields[name] = converter
        prefix = self._literal(raw[:opening], start)
        suffix = self._literal(raw[closing + 1 :], start + closing + 1)
        return Field(name, converter, prefix, suffix)

    def _check_name(self, name: str, spelling: str, at: int) -> None:
        if converter_named(name) is not None and spelling.isidentifier() and converter_named(spelling) is None:
            raise self.error("the type comes before the name", at, f"Write {{{spelling}:{name}}}.")
        if not name:
            raise self.error("a field without a name", at, "Name the handler's parameter: {name}.")
        if not name.isidentifier() or keyword.iskeyword(name):
            remedy = "Use the name of the handler's parameter."
            plain = name.strip("*. ")  # other frameworks' {*rest} and {rest...}
            if plain.isidentifier():
                remedy = f"Write {{{plain}}}." if plain == name.strip() else f"Write {{{plain}:path}}."
            raise self.error(f"{name!r} cannot be a parameter's name", at, remedy)
        if name in self.fields:
            raise self.error(f"the field {name!r} appears twice", at, "Give each field a name of its own.")

    def _converter(self, name: str, spelling: str | None, at: int) -> Converter:
        implied = self.types.get(name)
        if spelling is None:
            return implied or STR
        spelled = PATH if spelling == "path" else converter_named(spelling)
        if spelled is None:
            names = (*TYPE_NAMES, "path")
            nearest = suggest(spelling, names)
            hint = f"Did you mean {{{name}:{nearest}}}? " if nearest else ""
            raise self.error(
                f"{spelling!r} is not a type that a path can spell",
                at + len(name) + 1,
                f"{hint}There are {', '.join(names)}; an annotation can be any scalar:  {name}: Color",
            )
        if implied is None or implied is PATH:
            return spelled
        if spelled is PATH and implied.language != TEXT:
            remedy = f"A path field's value is a str:  {name}: str"
        elif implied.base is not spelled.base:
            remedy = (
                f"Make them agree:  {{{name}:{implied.base.__name__.lower()}}}"
                if implied.base in _SPELLABLE
                else f"Leave the type to the annotation:  {{{name}}}"
            )
        else:
            # The annotation may say more than the path can: Annotated[int, Meta(ge=1)].
            return spelled if spelled is PATH else implied
        raise self.error(
            f"the path says {name}: {spelled.name}, the handler says {name}: {implied.name}",
            at + len(name) + 1,
            remedy,
        )

    def _check_path(self, parsed: Field, start: int, *, last: bool) -> None:
        if not last:
            raise self.error("a path field is not last", start, "It takes everything that follows: move it to the end.")
        if parsed.prefix or parsed.suffix:
            at = start if parsed.prefix else start + self.path[start:].index("}") + 1
            raise self.error("a path field stands alone", at, "Put a slash before it, or match one segment with a str.")


_SPELLABLE: tuple[Any, ...] = tuple(each.base for each in map(converter_named, TYPE_NAMES) if each is not None)
