"""From bytes to messages: `_ws_decoder`, `_ws_frames`, `_ws_deflate`. wsproto, which shares no code, is the judge."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from tests.live._ws import BINARY, CLOSE, PING, PONG, TEXT, close, frame, text
from trivet.server._ws_decoder import Control, Decoder
from trivet.server._ws_deflate import Inflater, agree, deflated
from trivet.server._ws_frames import (
    BINARY as BINARY_OPCODE,
)
from trivet.server._ws_frames import FIN, Violation, WebSocketFault, close_of, closing, header, is_code, unmasked

LIMIT = 1 << 20


def read(*parts: bytes, limit: int = LIMIT, deflates: bool = False) -> list[Any]:
    """What the parts become; a violation is the last of it, as its code."""
    decoder = Decoder(limit, deflates=deflates)
    found: list[Any] = []
    try:
        for part in parts:
            decoder.feed(part)
            while (event := decoder.next()) is not None:
                if isinstance(event, Control) and event.opcode == CLOSE:
                    said = close_of(event.payload)
                    return [*found, event, said]
                found.append(event)
    except Violation as violation:
        found.append(violation.code)
    return found


def wsproto_reads(data: bytes) -> list[Any]:
    """The same, by wsproto."""
    connection = Connection(ConnectionType.SERVER)
    found: list[Any] = []
    partial: list[Any] = []
    try:
        connection.receive_data(data)
        for event in connection.events():
            found += _as_ours(event, partial, connection)
            if isinstance(event, CloseConnection):
                break
    except RemoteProtocolError as error:
        found.append(getattr(error.event_hint, "code", None))
    return found


def _as_ours(event: Event, partial: list[Any], connection: Connection) -> list[Any]:
    if isinstance(event, Message):
        partial.append(bytes(event.data) if isinstance(event, BytesMessage) else event.data)
        if not event.message_finished:
            return []
        whole = partial[0][:0].join(partial)
        partial.clear()
        assert isinstance(event, TextMessage | BytesMessage)
        return [whole]
    if isinstance(event, Ping | Pong):
        return [Control(PING if isinstance(event, Ping) else PONG, bytes(event.payload))]
    assert isinstance(event, CloseConnection)
    if connection.state.name == "OPEN":  # its way of saying: a protocol error
        return [int(event.code)]
    code = int(event.code)
    reason = event.reason or ""
    payload = b"" if code == 1005 else struct.pack("!H", code) + reason.encode()
    return [Control(CLOSE, payload), (code, reason)]


masks = st.binary(min_size=4, max_size=4)
payloads = st.one_of(st.binary(max_size=300), st.text(max_size=90).map(str.encode))
frames = st.builds(
    frame,
    st.sampled_from([0, 0, TEXT, TEXT, BINARY, PING, PONG, CLOSE, 3]),
    payloads,
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 9 + [1, 4]),
    mask=masks,
)


@given(st.lists(frames, max_size=6), st.data())
@settings(max_examples=150, deadline=None)
def test_it_reads_what_wsproto_reads(given_frames: list[bytes], data: st.DataObject) -> None:
    """Any frames, right and wrong, in whatever pieces they come: the same messages, then the same close code."""
    stream = b"".join(given_frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = read(*parts)
    assert found == read(stream)
    expected = wsproto_reads(stream)
    if found != expected:
        # wsproto checks a close's code and reserved bits in another order, and knows no 1014; both end with an error.
        assert found[:-1] == expected[: len(found) - 1]
        assert isinstance(found[-1], int | tuple)


STREAM = [
    (text("é" * 3), "ééé"),
    (frame(BINARY, b"x" * 126), b"x" * 126),
    (frame(TEXT, "é".encode()[:1], fin=False) + frame(PING, b"p") + frame(0, "é".encode()[1:]), "é"),
    (frame(PONG), Control(PONG, b"")),
    (frame(BINARY, b"y" * 65_536), b"y" * 65_536),
    (text(""), ""),
]


def test_split_at_every_byte() -> None:
    """Wherever the stream is cut, it says the same."""
    small = b"".join(data for data, _ in STREAM if len(data) < 1000)
    whole = read(small)
    assert whole == ["ééé", b"x" * 126, Control(PING, b"p"), "é", Control(PONG, b""), ""]
    assert all(read(small[:at], small[at:]) == whole for at in range(len(small)))
    assert read(*(bytes((byte,)) for byte in small)) == whole
    large = b"".join(data for data, _ in STREAM)
    assert read(*(large[at : at + 1000] for at in range(0, len(large), 1000))) == read(large)


FAULTS: dict[str, tuple[bytes, int, int]] = {
    "unmasked": (b"\x81\x00", 2, 1002),
    "opcode": (frame(3), 2, 1002),
    "opcode-of-control": (frame(11), 2, 1002),
    "reserved-1": (frame(TEXT, b"x", rsv=4), 2, 1002),
    "reserved-2": (frame(TEXT, b"x", rsv=2), 2, 1002),
    "reserved-3-of-ping": (frame(PING, b"x", rsv=1), 2, 1002),
    "nothing-to-continue": (frame(0), 2, 1002),
    "ping-in-fragments": (frame(PING, fin=False), 2, 1002),
    "long-ping": (frame(PING, b"x" * 126), 2, 1002),
    "too-big": (frame(BINARY, b"x" * 1001), 4, 1009),
    "far-too-big": (b"\x82\xff" + (1 << 62).to_bytes(8, "big"), 10, 1009),
    "length-of-64-bits": (b"\x82\xff" + (1 << 63).to_bytes(8, "big"), 10, 1002),
    "length-too-long": (b"\x82\xfe\x00\x7d", 4, 1002),
    "length-far-too-long": (b"\x82\xff" + (65_535).to_bytes(8, "big"), 10, 1002),
    "not-utf8": (frame(TEXT, b"ab\xff" + b"c" * 50, mask=b"abcd"), 9, 1007),
    "surrogate": (frame(TEXT, b"\xed\xa0\x80" + b"c" * 50, mask=b"abcd"), 9, 1007),
    "beyond-unicode": (frame(TEXT, b"\xf4\x90" + b"c" * 50, mask=b"abcd"), 8, 1007),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_at_its_byte(name: str) -> None:
    """Not before, and not only when the rest has come, which may be gigabytes."""
    data, at, code = FAULTS[name]
    whole = data if len(data) > at else data + bytes(4)
    assert read(*(bytes((byte,)) for byte in whole[: at - 1]), limit=1000) == []
    assert read(*(bytes((byte,)) for byte in whole[:at]), limit=1000) == [code]
    assert read(whole, limit=1000) == [code]


@pytest.mark.parametrize("count", [999, 1000, 1001])
def test_the_limit_counts_fragments_together(count: int) -> None:
    """By their bytes; a flood of empty ones adds nothing."""
    data = frame(BINARY, fin=False) + frame(0, b"x", fin=False) * count + frame(0, fin=False) * 50 + frame(0)
    assert read(data, limit=1000) == ([b"x" * count] if count <= 1000 else [1009])


def test_a_flood_of_fragments_takes_no_more_than_their_bytes() -> None:
    """Twenty thousand two-byte fragments of text: forty kilobytes, not a list of so many strings."""
    decoder = Decoder(LIMIT)
    decoder.feed(frame(TEXT, b"", fin=False))
    assert decoder.next() is None
    piece = frame(0, b"xy", fin=False, mask=b"abcd") * 400
    tracemalloc.start()
    try:
        for _ in range(20):
            decoder.feed(piece)
            assert decoder.next() is None
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


# Frames as bytes -----------------------------------------------------------------------------------------------------


@given(masks, st.binary(max_size=1200))
def test_the_mask_is_its_own_inverse(mask: bytes, data: bytes) -> None:
    """Both ways to take it off do what RFC 6455 section 5.3 says."""
    expected = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    assert unmasked(mask, data) == expected
    assert unmasked(mask, expected) == data


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 1 << 40])
def test_a_length_is_in_its_shortest_form(size: int) -> None:
    """Two, four or ten bytes."""
    made = header(FIN | BINARY_OPCODE, size)
    assert len(made) == (2 if size < 126 else 4 if size < 65_536 else 10)
    assert (made[1] if size < 126 else int.from_bytes(made[2:], "big")) == size


@given(st.integers(-10, 70_000))
def test_codes_that_a_close_frame_may_carry(code: int) -> None:
    """Both ways the same: what we may not send we do not take."""
    if is_code(code):
        assert close_of(closing(code, "é")[2:]) == (code, "é")
        return
    with pytest.raises(WebSocketFault):
        closing(code)
    if 0 <= code < 65_536:
        with pytest.raises(Violation) as caught:
            close_of(struct.pack("!H", code))
        assert caught.value.code == 1002


@given(st.text(max_size=200))
def test_a_reason_fits(reason: str) -> None:
    """It is cut behind a whole character; what is no text is replaced."""
    made = closing(1000, reason)
    assert len(made) <= 127
    kept = close_of(made[2:])[1]
    assert reason.encode("utf-8", "replace").decode().startswith(kept)
    assert len(kept.encode()) > 119 or kept == reason.encode("utf-8", "replace").decode()


def test_no_code_is_no_fault() -> None:
    """An empty close frame; one byte is neither."""
    assert close_of(b"") == (1005, "")
    assert read(frame(CLOSE, b"x")) == [1002]
    assert read(close(1000) + text("behind")) == [Control(CLOSE, b"\x03\xe8"), (1000, "")]


# permessage-deflate --------------------------------------------------------------------------------------------------

OFFERS: dict[str, int | None] = {
    "permessage-deflate": 15,
    "permessage-deflate; client_max_window_bits": 15,
    "permessage-deflate; client_max_window_bits=8": 15,
    'permessage-deflate; client_max_window_bits="10"; server_max_window_bits="11"': 11,
    "permessage-deflate; server_max_window_bits=9": 9,
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover": 15,
    "Permessage-Deflate": 15,
    "x-webkit-deflate-frame, permessage-deflate": 15,
    "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10": 10,
    "permessage-deflate; nonsense, permessage-deflate": 15,
    "permessage-deflate; server_max_window_bits=8": None,
    "permessage-deflate; server_max_window_bits": None,
    "permessage-deflate; server_max_window_bits=16": None,
    "permessage-deflate; server_max_window_bits=010": None,
    "permessage-deflate; server_max_window_bits=٩": None,
    "permessage-deflate; client_max_window_bits=7": None,
    "permessage-deflate; client_no_context_takeover=1": None,
    "permessage-deflate; client_max_window_bits; client_max_window_bits": None,
    "permessage-bzip2": None,
    "": None,
    ";;,,=": None,
}


@pytest.mark.parametrize("offer", OFFERS)
def test_offers_of_compression(offer: str) -> None:
    """RFC 7692 section 7.1: the first that we can do; one with a parameter that is wrong or unknown is declined."""
    agreed = agree(offer)
    assert (agreed and agreed[1]) == OFFERS[offer]
    if agreed is not None:
        assert ("server_max_window_bits" in agreed[0]) is (agreed[1] != 15)


@given(payloads, st.integers(9, 15), st.integers(1, 5))
def test_a_compressed_message_comes_back(payload: bytes, bits: int, pieces: int) -> None:
    """Whatever the window, and however it is fragmented."""
    packed = deflated(payload, bits)
    cuts = [len(packed) * at // pieces for at in range(pieces + 1)]
    sent = b"".join(
        frame(0 if at else BINARY, packed[cuts[at] : cuts[at + 1]], fin=at == pieces - 1, rsv=0 if at else 4)
        for at in range(pieces)
    )
    assert read(sent, deflates=True) == [payload]
    assert read(*(bytes((byte,)) for byte in sent), deflates=True) == [payload]


def test_a_bomb_costs_its_limit() -> None:
    """A thousand times its size: found out at the limit, with little more than that in memory."""
    maker = zlib.compressobj(9, wbits=-15)
    packed = b"".join(maker.compress(bytes(1 << 24)) for _ in range(4)) + maker.flush(zlib.Z_SYNC_FLUSH)
    sent = frame(BINARY, packed[:-4], rsv=4)
    tracemalloc.start()
    try:
        assert read(*(sent[at : at + 65_536] for at in range(0, len(sent), 65_536)), deflates=True) == [1009]
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_what_comes_behind_the_end_is_refused_at_once() -> None:
    """zlib copies it again for each part that comes after it: a thousand small ones would take seconds."""
    maker = zlib.compressobj(wbits=-15)
    whole = maker.compress(b"Hello") + maker.flush(zlib.Z_FINISH)
    inflater = Inflater(1000)
    assert inflater.add(whole, last=False) == b"Hello"
    assert inflater.add(b"\x00", last=False) == b""  # the block that a sender adds (RFC 7692 section 7.2.3.4)
    with pytest.raises(Violation) as caught:
        inflater.add(b"xx", last=False)
    assert caught.value.code == 1007


def test_what_inflates_to_nothing_is_counted_too() -> None:
    """Empty blocks, for ever."""
    inflater = Inflater(1000)
    for _ in range(200):
        assert inflater.add(b"\x00\x00\x00\xff\xff", last=False) == b""
    with pytest.raises(Violation) as caught:
        inflater.add(b"\x00\x00\x00\xff\xff" * 20, last=False)
    assert caught.value.code == 1009


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (b"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"),  # RFC 7692 section 7.2.3.1
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),  # 7.2.3.3, not compressed
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),  # 7.2.3.4, with BFINAL
        (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"),  # 7.2.3.5, two blocks
        (b"\x00", ""),  # 7.2.3.6
        (b"\xff\xff", 1007),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x01", 1007),
    ],
)
def test_the_examples_of_the_standard(packed: bytes, expected: str | int) -> None:
    """RFC 7692 section 7.2.3, and what is no such thing."""
    assert read(frame(TEXT, packed, rsv=4), deflates=True) == [expected]


def test_a_compressed_text_that_is_not_utf8() -> None:
    """What counts is what it inflates to."""
    assert read(frame(TEXT, deflated(b"\xff", 15), rsv=4), deflates=True) == [1007]


@pytest.mark.parametrize("data", [frame(0, b"x", rsv=4), frame(PING, b"x", rsv=4)])
def test_only_the_first_frame_says_that_it_is_compressed(data: bytes) -> None:
    """RFC 7692 section 6.1."""
    begun = frame(BINARY, b"x", fin=False)
    assert read(begun + data, deflates=True) == [1002]
