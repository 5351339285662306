"""What schemathesis is told when it runs as a command: the content types that it cannot write or read by itself."""

from __future__ import annotations

from typing import Any

import msgspec
import schemathesis


@schemathesis.serializer("application/msgpack")
def write_msgpack(_: Any, value: Any) -> bytes:
    """A body as msgpack, its integers cut to the 64 bits that msgpack has."""
    return msgspec.msgpack.encode(_cut(value))


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**63), min(value, 2**64 - 1))
    return value


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Leave out forms that are wrong only before they are texts: `nick=7` is a text like any other."""
    form = str(case.media_type).startswith(("multipart/", "application/x-www-form-urlencoded"))
    return not (form and case.meta is not None and case.meta.generation.mode.is_negative)


@schemathesis.deserializer("application/octet-stream")
def read_bytes(_: Any, response: Any) -> Any:
    """A body that is any bytes."""
    content: bytes = response.content
    return content.decode("latin-1")
