"""What came back. This file owns the reading of responses: strict, incremental, and sharing no code with the server."""

from __future__ import annotations

from dataclasses import dataclass, field


class Malformed(Exception):
    """These bytes are no HTTP/1.1 response."""


@dataclass
class Answer:
    """One response, as far as it came."""

    status: int
    fields: dict[bytes, bytes]
    framing: str  # sized, chunked, none, or close
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False

    @property
    def closes(self) -> bool:
        return self.fields.get(b"connection") == b"close"


class Answers:
    """Reads the responses to requests with these methods; GET, if there are more."""

    def __init__(self, methods: list[str]) -> None:
        self.found: list[Answer] = []
        self.invited = 0
        self._methods = methods
        self._held = b""
        self._left = 0
        self._between = False  # chunks: CR LF is due

    @property
    def whole(self) -> int:
        """How many are complete."""
        return len(self.found) - bool(self.found and not self.found[-1].complete)

    @property
    def dangling(self) -> bool:
        """Whether something is incomplete."""
        return bool(self._held) or bool(self.found and not self.found[-1].complete)

    def feed(self, data: bytes) -> None:
        self._held += data
        while self._held and self._step():
            pass

    def end(self) -> None:
        """FIN."""
        if self.found and self.found[-1].framing == "close":
            self.found[-1].complete = True

    def _step(self) -> bool:
        current = self.found[-1] if self.found else None
        if current is None or current.complete:
            if current is not None and current.closes:
                raise Malformed(f"after the last response: {self._held[:80]!r}")
            return self._head()
        if current.framing == "chunked" and not self._left:
            return self._chunk(current)
        if current.framing == "close":
            current.body += self._held
            self._held = b""
            return False
        part = self._held[: self._left]
        current.body += part
        self._left -= len(part)
        self._held = self._held[len(part) :]
        current.complete = current.framing == "sized" and not self._left
        return bool(part)

    def _chunk(self, current: Answer) -> bool:
        if self._between:
            if len(self._held) < 2:
                return False
            if self._held[:2] != b"\r\n":
                raise Malformed(f"a chunk does not end: {self._held[:80]!r}")
            self._held = self._held[2:]
            self._between = False
            return True
        line, found, rest = self._held.partition(b"\r\n")
        if not found:
            return False
        self._left = int(line, 16)
        if not self._left:
            if len(rest) < 2:
                return False
            if rest[:2] != b"\r\n":
                raise Malformed(f"trailers: {rest[:80]!r}")
            rest = rest[2:]
            current.complete = True
        self._between = not current.complete
        self._held = rest
        return True

    def _head(self) -> bool:
        head, found, rest = self._held.partition(b"\r\n\r\n")
        if not found:
            return False
        line, *lines = head.split(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        if version != b"HTTP/1.1" or not status.isdigit():
            raise Malformed(f"no status line: {line!r}")
        self._held = rest
        if status == b"100":
            self.invited += 1
            return True
        fields: dict[bytes, bytes] = {}
        for one in lines:
            name, colon, value = one.partition(b": ")
            if not colon or name in fields:
                raise Malformed(f"no field, or twice: {one!r}")
            fields[name] = value
        method = self._methods[len(self.found)] if len(self.found) < len(self._methods) else "GET"
        answer = Answer(int(status), fields, "close")
        refusal = method == "HEAD" and int(status) >= 400 and fields.get(b"connection") == b"close" and bool(rest)
        # Who refuses half a head, or one that it cannot read, does not know that it is HEAD's.
        if (method == "HEAD" and not refusal) or status in (b"204", b"304"):
            answer.framing, answer.complete = "none", True
        elif b"transfer-encoding" in fields:
            if fields[b"transfer-encoding"] != b"chunked" or b"content-length" in fields:
                raise Malformed(f"framing: {fields!r}")
            answer.framing = "chunked"
        elif b"content-length" in fields:
            self._left = int(fields[b"content-length"])
            answer.framing, answer.complete = "sized", not self._left
        elif not answer.closes:
            raise Malformed(f"a body without framing on a connection that stays: {fields!r}")
        self.found.append(answer)
        return True
