"""One line of the access log: nothing that a client sends leaves its place in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.golden import Golden
from trivet._logline import Entry, plain
from trivet.asgi import Message, Receive, Scope, Send
from trivet.server._access_format import ATOMS, formatter_of
from trivet.server._access_log import AccessLog, write_to

HOSTILE = '\r\n\x1b[31m\x7f\x9b "\\\u2028'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/items/7", "/items/7"),
        ("/%0a", "/%0a"),
        ("", "-"),
        ("a b", r"a\x20b"),
        ('"', r"\x22"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("é\u2028", r"\xe9\u2028"),
        ("\\x0a", r"\\x0a"),
        ("\x00\ud800", r"\x00\ud800"),
    ],
)
def test_what_a_client_sends_is_one_word(text: str, shown: str) -> None:
    """Escapes look like Python's, and a text that looks like an escape does not."""
    assert plain(text) == shown


@given(st.text(), st.text())
def test_any_text_is_one_word_of_its_own(one: str, other: str) -> None:
    """Printable ASCII without a space; two texts look alike only if they are, or are an empty one and its sign."""
    word = plain(one)
    assert word.isascii()
    assert word.isprintable()
    assert word
    assert " " not in word
    if {one, other} != {"", "-"}:
        assert (word == plain(other)) == (one == other)


class Kept(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def record_of(entry: Entry, outcome: Any = "returned", now: float = 12.5) -> logging.LogRecord:
    log, kept = logging.Logger("trivet.access"), Kept()
    log.addHandler(kept)
    entry.write(log, outcome, now)
    (record,) = kept.records
    record.created = 1_700_000_000.0625
    record.process = 77
    return record


def whole() -> Entry:
    entry = Entry("GET", b"/items/7", ("192.0.2.1", 5000), "1.1", 12.25)
    entry.head(200, 12.375)
    entry.sent = 27
    entry.request_id = "an-id"
    entry.route = "/items/{id}"
    return entry


FORMATS = [
    "text",
    "json",
    '%(h)s %(l)s %(l)s "%(r)s" %(s)s %(st)s %(b)s %(B)s %(m)s %(U)s %(H)s %(T)s %(D)s %(L)s %(p)s 100%%',
]


def test_the_formats(golden: Golden) -> None:
    """A whole request, one that has next to nothing, and one whose client does its worst."""
    bare = Entry("", b"", None, "", 12.5)
    hostile = Entry(HOSTILE, HOSTILE.encode("latin-1", "replace"), (HOSTILE, 1), HOSTILE, 12.0)
    hostile.request_id = HOSTILE
    hostile.head(999, 12.0)
    records = [record_of(whole()), record_of(bare, "failed"), record_of(hostile, "disconnected")]
    lines = [f"{shape}\n" + "\n".join(formatter_of(shape).format(each) for each in records) for shape in FORMATS]
    assert all(line.isascii() and line.isprintable() for text in lines for line in text.splitlines())
    golden("access/formats", "\n\n".join(lines))


def test_the_time_of_hypercorns_formats() -> None:
    """Apache's, with the offset of where the server runs."""
    assert formatter_of("%(t)s").format(record_of(whole())).startswith("[14/Nov/2023:")


def test_json_is_for_machines() -> None:
    """One object; seconds; null for what is not known."""
    text = formatter_of("json").format(record_of(Entry("GET", b"/", None, "1.1", 12.5)))
    found = json.loads(text)
    assert "\n" not in text
    assert found["time"] == "2023-11-14T22:13:20.062Z"
    assert {name for name, value in found.items() if value is None} == {
        "client", "route", "status", "time_to_head", "request_id",
    }  # fmt: skip


def test_what_the_application_says_has_precedence() -> None:
    """The server sees less; 499 is for a request that ended because its client left, whatever was sent."""
    entry = whole()
    entry.outcome = "disconnected"
    assert record_of(entry, "failed").__dict__["status"] == 499
    entry.outcome = "deadline"
    assert record_of(entry, "disconnected").__dict__["status"] == 200


REFUSED = ["yaml", "", "%(f)s", '"%(r)s" %({user-agent}i)s', "%({home}e)s", "%(s)z"]


def test_formats_that_cannot_be(golden: Golden) -> None:
    """Headers, query and environment are not in the log; a format that wants them is refused, not left blank."""
    said: list[str] = []
    for shape in REFUSED:
        with pytest.raises(ValueError, match="access log") as caught:
            formatter_of(shape)
        said.append(f"{shape!r}\n{caught.value}")
    golden("access/refused", "\n\n".join(said))


def test_each_of_hypercorns_names_is_known_or_refused() -> None:
    """None is left blank without a word."""
    known = {"h", "l", "t", "r", "s", "st", "m", "U", "H", "b", "B", "T", "D", "L", "p"}
    assert set(ATOMS) == known
    for name in {"R", "S", "Uq", "q", "f", "a", "{x}i", "{x}o", "{x}e"}:
        with pytest.raises(ValueError, match="no headers, no query and no environment"):
            formatter_of(f"%({name})s")


@pytest.fixture
def unchanged() -> Iterator[logging.Logger]:
    """The logger, as it was before."""
    log = logging.getLogger("trivet.access")
    before = (list(log.handlers), log.propagate, log.level, log.disabled)
    yield log
    for handler in log.handlers:
        if handler not in before[0]:
            handler.close()
    log.handlers[:], log.propagate, log.disabled = before[0], before[1], before[3]
    log.setLevel(before[2])


def test_a_file_that_was_moved_away_is_made_again(unchanged: logging.Logger, tmp_path: Path) -> None:
    """What logrotate does; and what was written to before is closed when another target takes its place."""
    path, moved = tmp_path / "a.log", tmp_path / "a.log.1"
    for target in (tmp_path / "before.log", path):
        unchanged.disabled = True
        log = write_to(str(target))
    for _ in range(2):
        whole().write(log, "returned", 12.5)
    path.rename(moved)
    whole().write(log, "returned", 12.5)
    assert (len(moved.read_text().splitlines()), len(path.read_text().splitlines())) == (2, 1)
    assert (tmp_path / "before.log").read_text() == ""
    assert len(log.handlers) == 1


def test_nobody_listens(unchanged: logging.Logger) -> None:
    """Without a target, the log is what the program's own `logging` makes of it: nothing, or lines."""
    from hypercorn.config import Config

    unchanged.setLevel(logging.WARNING)
    assert AccessLog.of(Config()) is None
    unchanged.setLevel(logging.INFO)
    assert AccessLog.of(Config()) is not None
    own = Config()
    own.accesslog = logging.Logger("own", logging.ERROR)
    assert AccessLog.of(own) is None


@pytest.mark.parametrize(
    ("hears", "answers", "status", "outcome"),
    [(False, 0, 500, "failed"), (True, 0, 499, "disconnected"), (False, 1, 200, "failed"), (False, 2, 200, "returned")],
)
async def test_around_a_protocol_that_knows_nothing_of_the_log(
    hears: bool, answers: int, status: int, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that returns without its answer has failed, unless it has heard that nobody waits for it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if hears:
            await receive()
        for message in (
            {"type": "http.response.start", "status": 200, "headers": []},
            {"type": "http.response.body", "body": b"", "more_body": answers == 1},
        ):
            if answers:
                await send(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None: ...

    caplog.set_level(logging.INFO, "trivet.access")
    logged = AccessLog(logging.getLogger("trivet.access")).around(app)
    await logged({"type": "http", "method": "GET", "path": "/", "raw_path": b"/"}, receive, send)
    (line,) = [each.__dict__ for each in caplog.records]
    assert (line["status"], line["outcome"]) == (status, outcome)
