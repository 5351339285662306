"""What is said of a message that is not what was asked for, and of a close that cannot be sent, word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.harness import Golden
from trivet._ws_close import check_close, fitting
from trivet._ws_json import from_json
from trivet._ws_life import check_acceptance
from trivet.errors import InvalidMessage


class Point(msgspec.Struct):
    x: float


WRONG: dict[str, Callable[[], object]] = {
    "json_number": lambda: from_json("1e999", float),
    "json_field": lambda: from_json('{"x": "1"}', Point),
    "json_missing": lambda: from_json(b"{}", Point),
    "json_kind": lambda: from_json("[]", Point),
    "json_empty": lambda: from_json("", Point),
    "json_syntax": lambda: from_json('{"x"', Point),
    "json_utf8": lambda: from_json(b'"\xff"', str),
    "reason_none": lambda: check_close(4000, None),  # type: ignore[arg-type]
    "reason_bytes": lambda: check_close(4000, b"enough"),  # type: ignore[arg-type]
    "reason_long": lambda: check_close(4000, "é" * 62),
    "code_reserved": lambda: check_close(1006, ""),
    "code_type": lambda: check_close("4000", ""),  # type: ignore[arg-type]
    "code_http": lambda: check_close(404, ""),
    "header_protocol": lambda: check_acceptance([(b"x-a", b"b"), (b"sec-websocket-protocol", b"a")]),
    "header_framing": lambda: check_acceptance([(b"content-length", b"1")]),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_message_says_what_came_and_what_to_write(name: str, golden: Golden) -> None:
    """At the call; what a client has sent wrongly is said in the reason of the close, too, as far as that has room."""
    with pytest.raises((InvalidMessage, TypeError, ValueError)) as caught:
        WRONG[name]()
    error: Any = caught.value
    shown = f"{error.code} {fitting(error.detail)}" if isinstance(error, InvalidMessage) else str(error)
    golden(f"websocket/text_{name}", f"{type(error).__name__}: {shown}")
