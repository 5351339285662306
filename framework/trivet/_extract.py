"""Where a parameter's value comes from, as data: the head, the body, a form, an injected object, or a path field.

This file owns how one value is taken from what has been parsed already, and the fault if it cannot be. It reads no
socket and knows no handler: `_signature` makes these from annotations, `_resolve` runs them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from ._convert import Converter
from ._document import DocumentDecoder
from ._markers import FormLimits
from .errors import Fault

REQUIRED: Final[Any] = object()
"""The default of a parameter that has none."""

ABSENT: Final[Any] = object()
"""The default of a model's field: the model has its own, so the field is left out."""

Where: TypeAlias = Literal["query", "header", "cookie", "form"]
Container: TypeAlias = Callable[[list[Any]], Collection[Any]]

NAME_MAX: Final = 100
"""Characters of an unknown name in a fault: what a client sent is not repeated at length."""


class Values(Protocol):
    """What parameters are read from: names, each with its values in order."""

    def __iter__(self) -> Iterator[str]:
        """The names."""
        ...

    def getlist(self, name: str, /) -> Sequence[Any]:
        """All values of `name`, in order; a form's may be files."""
        ...


@dataclass(frozen=True, slots=True)
class TextParam:
    """A scalar, an optional, or several scalars, each spelt by one text of the request."""

    where: Where
    name: str
    """As the client spells it."""
    annotation: Any
    converter: Converter = field(compare=False)
    several: Container | None = None
    """`list`, `set`, `frozenset` or `tuple` when several values are wanted; else `None`."""
    default: Any = REQUIRED
    copied: bool = False
    """The default is mutable: each request gets its own."""

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is REQUIRED

    def read(self, values: Values, faults: list[Fault]) -> Any:
        """The value; on a fault, `None` with the fault appended."""
        texts = values.getlist(self.name)
        if self.where != "query":
            texts = self._as_meant(texts)
        if not texts:
            if self.default is REQUIRED:
                faults.append(Fault(self.where, self.name, "is required"))
                return None
            return copy.copy(self.default) if self.copied else self.default
        try:
            if self.several is not None:
                return self.several([self.converter.parse(text) for text in texts])
            if len(texts) > 1:
                # Which of two wins differs between proxies and frameworks, and that is an attack (ASVS 15.3.7).
                raise ValueError("is given more than once")
            return self.converter.parse(texts[0])
        except ValueError as error:
            faults.append(Fault(self.where, self.name, str(error)))
            return None

    def _as_meant(self, texts: Sequence[Any]) -> Sequence[Any]:
        """What the texts of a header or form stand for."""
        if not texts:
            return texts
        if self.where == "header":
            if self.several is not None:
                return [item for text in texts for item in listed(text)]
            # Two fields of one name are one with a comma between (RFC 9110 section 5.3): a proxy may join them.
            return texts if len(texts) == 1 else [", ".join(texts)]
        if self.where == "form":
            if any(not isinstance(text, str) for text in texts):
                return [text if isinstance(text, str) else _NOT_TEXT for text in texts]
            if self.converter.base is not str:
                # A browser sends each input of a form: an empty one is how "nothing" looks (HTML, "Form submission").
                return [text for text in texts if text]
        return texts


class _NotText(str):
    """Stands for a file where a text is wanted: no converter takes it, and the reason says why."""

    __slots__ = ()


_NOT_TEXT: Final = _NotText()


def refuse_files(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse`, for a field of a form: a file is no text."""

    def parse_text(text: str) -> Any:
        if text is _NOT_TEXT:
            raise ValueError("must be a text, not a file")
        return parse(text)

    return parse_text


def listed(text: str) -> list[str]:
    """The items of a header's list (RFC 9110 section 5.6.1): empty ones are none, commas in quotes part nothing."""
    if '"' not in text:
        return [item for piece in text.split(",") if (item := piece.strip(" \t"))]
    items: list[str] = []
    start = place = 0
    quoted = False
    while place < len(text):
        character = text[place]
        if quoted and character == "\\":
            place += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            items.append(text[start:place].strip(" \t"))
            start = place + 1
        place += 1
    items.append(text[start:].strip(" \t"))
    return [item for item in items if item]


@dataclass(frozen=True, slots=True)
class FileParam:
    """A file of a form, an optional one, or several."""

    name: str
    several: Container | None = None
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is REQUIRED

    def read(self, values: Values, faults: list[Fault]) -> Any:
        """The file; on a fault, `None` with the fault appended."""
        # An input for a file that was left empty comes as an empty text where the form is urlencoded.
        found = [value for value in values.getlist(self.name) if value != ""]
        if any(isinstance(value, str) for value in found):
            reason = "must be a file"
        elif not found:
            if self.default is not REQUIRED:
                return copy.copy(self.default) if type(self.default) in (list, set) else self.default
            reason = "is required"
        elif self.several is not None:
            return self.several(list(found))
        elif len(found) > 1:
            reason = "is given more than once"
        else:
            return found[0]
        faults.append(Fault("form", self.name, reason))
        return None


@dataclass(frozen=True, slots=True)
class ModelField:
    """A field of a model that is read field by field: its name in Python, and where it comes from."""

    key: str
    source: TextParam | FileParam
    attribute: str = ""
    """What pydantic calls it, where that is not `key`."""
    others: tuple[str, ...] = ()
    """More names that clients may use."""


@dataclass(frozen=True, slots=True)
class ModelParam:
    """A model whose fields are read one by one, from the query, the headers, the cookies or a form."""

    where: Where
    annotation: Any
    members: tuple[ModelField, ...]
    build: Callable[[dict[str, Any]], Any] = field(compare=False)
    """From the fields that were given to the model. Raises `Misfit`."""
    default: Any = REQUIRED
    """Stands for a request with none of the fields; `REQUIRED`: the fields' own defaults decide."""
    known: frozenset[str] | None = None
    """All names that the request may have there; `None`: any. For models that forbid unknown fields."""

    @property
    def fields(self) -> tuple[TextParam | FileParam, ...]:
        """What is read, field by field."""
        return tuple(member.source for member in self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """All names that are read."""
        return tuple(name for member in self.members for name in (member.source.name, *member.others))

    @property
    def required(self) -> bool:
        """Whether a request with none of its fields is refused."""
        return self.default is REQUIRED and any(each.required for each in self.fields)

    def read(self, values: Values, faults: list[Fault]) -> Any:
        """The model; on a fault, `None` with each fault appended."""
        if self.default is not REQUIRED and not any(map(values.getlist, self.names)):
            return copy.deepcopy(self.default)
        found: list[Fault] = []
        if self.known is not None:
            unknown = [name for name in values if name not in self.known]
            found += [Fault(self.where, name[:NAME_MAX], "is not a known field") for name in unknown[:NAME_MAX]]
        given: dict[str, Any] = {}
        for member in self.members:
            value = member.source.read(values, found)
            if value is not ABSENT:
                given[member.key] = value
        if not found:
            try:
                return self.build(given)
            except Misfit as misfit:
                found += [Fault(self.where, name, reason) for name, reason in misfit.reasons]
        faults += found
        return None


class Misfit(Exception):
    """The fields of a model are right one by one, and wrong together. Internal: it becomes faults."""

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        super().__init__(reasons)
        self.reasons = reasons
        """Name of the field (empty: the whole), and reason."""


@dataclass(frozen=True, slots=True)
class BodyParam:
    """The body as a document: JSON, or msgpack."""

    name: str
    decoder: DocumentDecoder
    default: Any = REQUIRED
    """Stands for a request without a body; `REQUIRED`: that is a 400."""
    marked: bool = field(default=False, compare=False)
    """`Body()` says so; otherwise its type does."""

    @property
    def annotation(self) -> Any:
        """The type that it is read as."""
        return self.decoder.annotation

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class RawParam:
    """The body as it came."""

    name: str
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether a request without a body is refused: never, it is empty then."""
        return False


@dataclass(frozen=True, slots=True)
class FormParam:
    """A part of the form, and what its marker says of the whole form."""

    name: str = field(compare=False)
    part: TextParam | ModelParam | FileParam
    limits: FormLimits


@dataclass(frozen=True, slots=True)
class Injected:
    """An object that the framework makes for the request: `key` tells `_resolve` which."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class PathParam:
    """A path field: matching has converted it already."""

    name: str


Source: TypeAlias = PathParam | TextParam | ModelParam | BodyParam | RawParam | FormParam | Injected
