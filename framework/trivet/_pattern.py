"""Patterns: the text of a route's path, parsed into segments, and back into paths.

What lives here: what a parsed pattern is, and how a path is built from it. The grammar's parser is
`_syntax`'s. How two patterns relate is `_conflict`'s, how a path finds its pattern `_tree`'s. What it must
not know: methods, handlers, requests.

    /users/{id}/photos/{name}.png        a field is one segment, or part of one between literals
    /users/{id:int}                      a type spelled in the path; else the annotation's, else str
    /files/{rest:path}                   the last segments, one or more, as one str

Rules:
1. A pattern matches decoded text, segment by segment: `/caf%C3%A9` and `/café` are one pattern, `%2F` never
   separates.
2. A trailing slash counts. Dot segments are ordinary text; clients remove them before they ask (RFC 3986
   section 5.2.4).
3. A field never matches an empty text. The first segment of a `path` field is not empty; the others may be
   (`a//b`, `a/`).
4. The value of a `path` field is decoded, so that `a%2Fb` and `a/b` give the same one, as in Go, axum and
   Starlette. Who must tell them apart reads `request.raw_path`. It may begin with a slash only by way of
   `%2F`, and it may hold `..`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import _percent
from ._convert import Converter
from ._language import TEXT, Language, segment
from ._suggest import suggest
from ._syntax import PATH, Field, Fixed, Parser, Tail

__all__ = ["PATH", "Field", "Fixed", "Pattern", "join", "parse", "parse_mount"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        text: as it was written, less the spelling of a mount's root, which is empty.
        segments: in order; not the tail.
        tail: see `Tail`.
        fields: name to converter, in order; a `path` field's converter is `PATH`.
        languages: what each segment accepts; a `path` field begins with a segment of any text but the empty.
    """

    text: str
    segments: tuple[Fixed | Field, ...]
    tail: Tail = "none"
    fields: Mapping[str, Converter] = field(default_factory=dict[str, Converter])
    languages: tuple[Language, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first = (segment(TEXT),) if self.tail == "path" else ()
        object.__setattr__(self, "languages", (*(each.language for each in self.segments), *first))

    @property
    def static(self) -> bool:
        """Whether it matches one path only, and gives no parameters."""
        return self.tail == "none" and not self.fields

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
            ValueError: a value has no text here: its type is wrong, it is empty, or it is `.` or `..`,
                which clients would remove from the path and so ask for another one.
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
            name = list(self.fields)[-1]
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
    """The path of a route below a prefix, slashes exact: `/api` and `/x` give `/api/x`, `/` gives `/api/`,
    "" gives `/api`.

    A prefix of `/` is the same as none, but for the empty path: the root has no other spelling than `/`.
    """
    if prefix == "/":
        return path or "/"
    return prefix + path


def parse(path: str, types: Mapping[str, Converter] | None = None, *, relative: bool = False) -> Pattern:
    """Parse a route's path.

    Args:
        path: the path, beginning with a slash.
        types: for each of the handler's parameters that may be a field, the converter that its annotation
        implies.
        relative: the path will be joined to a prefix, so that it may be empty.

    Raises:
        PatternError: the path does not parse, or its types and the annotations disagree; the message points
        at it.
    """
    if not path and relative:
        return Pattern("", ())
    parser = Parser(path, types or {})
    segments, tail = parser.parse()
    return Pattern(path, segments, tail, parser.fields)


def parse_mount(prefix: str) -> Pattern:
    """Parse the prefix of a mounted application: it matches itself and everything below it, whatever
    slashes follow.

    The root is the empty prefix; `/` is taken for it.

    Raises:
        PatternError: the prefix does not parse, ends with a slash, or has a field: a mounted application is
            told its prefix as text (`root_path`) and has no place for a parameter.
    """
    if prefix in ("", "/"):
        return Pattern("", (), "mount")
    parser = Parser(prefix, {})
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
    return Pattern(prefix, parser.parse()[0], "mount")


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
    # An empty first segment would not match; a slash before it can be spelt only by %2F, within the first
    # segment.
    return "/".join([head, *rest]) if head else "%2F" + "/".join(rest)
