"""Patterns: the text of a route's path, parsed into segments, and back into paths.

What lives here: the syntax, what a parsed pattern is, and how a path is built from it. How two patterns relate is
`_conflict`'s, how a path finds its pattern `_tree`'s. What it must not know: methods, handlers, requests.

    /users/{id}/photos/{name}.png        a field is one segment, or part of one between literals
    /users/{id:int}                      a type spelled in the path; else the handler's annotation gives it, else str
    /files/{rest:path}                   the last segments, one or more, as one str

Rules:
1. A pattern matches decoded text, segment by segment: `/caf%C3%A9` and `/café` are one pattern, `%2F` never separates.
2. A trailing slash counts. Dot segments are ordinary text; clients remove them before they ask (RFC 3986 section 5.2.4).
3. A field never matches an empty text. The first segment of a `path` field is not empty; the others may be (`a//b`, `a/`).
4. The value of a `path` field is decoded, so that `a%2Fb` and `a/b` give the same one, as in Go, axum and Starlette. Who
   must tell them apart reads `request.raw_path`. It may begin with a slash only by way of `%2F`, and it may hold `..`.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from . import _percent
from ._convert import STR, TYPE_NAMES, Converter, converter_named
from ._language import TEXT, Finite, Language, segment
from ._suggest import suggest
from .errors import PatternError

__all__ = ["PATH", "Field", "Fixed", "Pattern", "join", "parse", "parse_mount"]

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


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        text: as it was written, less the spelling of a mount's root, which is empty.
        segments: in order; not the tail.
        tail: see `Tail`.
        fields: name to converter, in order; a `path` field's converter is `PATH`.
    """

    text: str
    segments: tuple[Fixed | Field, ...]
    tail: Tail = "none"
    fields: Mapping[str, Converter] = field(default_factory=dict[str, Converter])

    @property
    def static(self) -> bool:
        """Whether it matches one path only, and gives no parameters."""
        return self.tail == "none" and not self.fields

    @property
    def languages(self) -> tuple[Language, ...]:
        """What each segment accepts; a `path` field begins with one segment that accepts any text but the empty one."""
        first = (segment(TEXT),) if self.tail == "path" else ()
        return (*(each.language for each in self.segments), *first)

    @property
    def open(self) -> bool:
        """Whether any further segments may follow `languages`."""
        return self.tail != "none"

    def __str__(self) -> str:
        return self.text or "/"

    def join(self, prefix: str, types: Mapping[str, Converter] | None = None) -> Pattern:
        """This pattern below `prefix`, which may have fields of its own; see the function `join` for slashes.

        Raises:
            PatternError: the joined text does not parse.
        """
        return parse(join(prefix, self.text), {**self.fields, **(types or {})})

    def build(self, params: Mapping[str, object]) -> str:
        """The percent-encoded path that this pattern matches with exactly these parameters.

        Raises:
            TypeError: a parameter is missing or unknown.
            ValueError: a value has no text here: its type is wrong, it is empty, or it is `.` or `..`, which clients
                would remove from the path and so ask for another one.
        """
        self._check_names(params)
        parts: list[str] = []
        for each in self.segments:
            if isinstance(each, Fixed):
                parts.append(_percent.encode(each.text))
                continue
            try:
                text = each.prefix + _filled(each.converter.format(params[each.name])) + each.suffix
                parts.append(_percent.encode(_no_dots(text)))
            except ValueError as error:
                raise ValueError(f"{self}: {each.name!r} {error}") from None
        if self.tail == "path":
            name = next(reversed(self.fields))
            try:
                parts.append(_encode_path(_filled(PATH.format(params[name]))))
            except ValueError as error:
                raise ValueError(f"{self}: {name!r} {error}") from None
        return "".join(f"/{part}" for part in parts)

    def _check_names(self, params: Mapping[str, object]) -> None:
        missing = [name for name in self.fields if name not in params]
        unknown = [name for name in params if name not in self.fields]
        if unknown:
            nearest = suggest(unknown[0], missing or self.fields)
            hint = f" Did you mean {nearest!r}?" if nearest else ""
            raise TypeError(f"{self} has no field {unknown[0]!r}.{hint}")
        if missing:
            raise TypeError(f"{self} needs {', '.join(map(repr, missing))} as well.")


def join(prefix: str, path: str) -> str:
    """The path of a route below a prefix, slashes exact: `/api` and `/x` give `/api/x`, `/` gives `/api/`, "" gives `/api`.

    A prefix of `/` is the same as none, but for the empty path: the root has no other spelling than `/`.
    """
    if prefix == "/":
        return path or "/"
    return prefix + path


def parse(path: str, types: Mapping[str, Converter] | None = None, *, relative: bool = False) -> Pattern:
    """Parse a route's path.

    Args:
        path: the path, beginning with a slash.
        types: for each of the handler's parameters that may be a field, the converter that its annotation implies.
        relative: the path will be joined to a prefix, so that it may be empty.

    Raises:
        PatternError: the path does not parse, or its types and the annotations disagree; the message points at it.
    """
    if not path and relative:
        return Pattern("", ())
    return _Parser(path, types or {}).parse()


def parse_mount(prefix: str) -> Pattern:
    """Parse the prefix of a mounted application: it matches itself and everything below it, whatever slashes follow.

    The root is the empty prefix; `/` is taken for it.

    Raises:
        PatternError: the prefix does not parse, ends with a slash, or has a field: a mounted application is told its
            prefix as text (`root_path`) and has no place for a parameter.
    """
    if prefix in ("", "/"):
        return Pattern("", (), "mount")
    parser = _Parser(prefix, {})
    if prefix.endswith("/"):
        raise parser.error(
            "a mount's prefix does not end with a slash",
            len(prefix) - 1,
            f"Mount it at {prefix.rstrip('/')!r}.",
        )
    if "{" in prefix:
        raise parser.error(
            "a mount's prefix has no fields",
            prefix.index("{"),
            "Mount at a literal prefix, or route to a Router.",
        )
    return Pattern(prefix, parser.parse().segments, "mount")


def _filled(text: str) -> str:
    if not text:
        raise ValueError("is empty, and a field never matches an empty segment")
    return text


def _no_dots(text: str) -> str:
    if text in (".", ".."):
        raise ValueError(f"makes the segment {text!r}, which clients remove from the path (RFC 3986 section 5.2.4)")
    return text


def _encode_path(value: str) -> str:
    head, *rest = (_percent.encode(_no_dots(part)) for part in value.split("/"))
    # An empty first segment would not match; a slash before it can be spelt only by %2F, within the first segment.
    return "/".join([head, *rest]) if head else "%2F" + "/".join(rest)


class _Parser:
    """One parse of one path; it exists so that every error can point into the text."""

    def __init__(self, path: str, types: Mapping[str, Converter]) -> None:
        self.path = path
        self.types = types
        self.fields: dict[str, Converter] = {}

    def error(self, message: str, at: int, remedy: str) -> PatternError:
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in self.path)
        return PatternError(f"{message}\n    {shown}\n    {' ' * at}^\n{remedy}")

    def parse(self) -> Pattern:
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
        return Pattern(self.path, tuple(segments), tail, self.fields)

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
            raise self.error(f"in a literal, {error}", start + at, "A percent sign itself is %25.") from None

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
            plain = name.strip("*.+? ")
            rest = plain != name and plain.isidentifier()
            remedy = (
                f"Write {{{plain}:path}} for the rest of the path."
                if rest
                else "Use the name of the handler's parameter."
            )
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
                f"{hint}There are {', '.join(names)}; the handler's annotation can be any scalar:  {name}: Color",
            )
        if implied is None or implied is PATH:
            return spelled
        if spelled is PATH and implied.type is not str:
            remedy = f"A path field's value is a str:  {name}: str"
        elif implied.base is not spelled.base:
            remedy = (
                f"Make them agree:  {{{name}:{implied.name}}}"
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
