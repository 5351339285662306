"""The name of a download."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._disposition import base_name, disposition
from trivet._headers import field_value

NAMES = [
    ("report.pdf", 'filename="report.pdf"'),
    ("my report.pdf", 'filename="my report.pdf"'),
    ("Füße.txt", "filename=\"F__e.txt\"; filename*=UTF-8''F%C3%BC%C3%9Fe.txt"),
    ("€.txt", "filename=\"_.txt\"; filename*=UTF-8''%E2%82%AC.txt"),
    ("100%41.txt", "filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
    (
        'a"; filename="evil.exe',
        "filename=\"a_; filename=_evil.exe\"; filename*=UTF-8''a%22%3B%20filename%3D%22evil.exe",
    ),
    ("../../etc/passwd", 'filename="passwd"'),
    ("C:\\windows\\cmd.exe", 'filename="cmd.exe"'),
    ("a\r\nset-cookie: b", "filename=\"a__set-cookie_ b\"; filename*=UTF-8''a__set-cookie%3A%20b"),
    ("\u202egnp.exe", 'filename="_gnp.exe"'),
    ("a\ud800b", 'filename="a_b"'),
    ("", 'filename="download"'),
    ("..", 'filename="download"'),
    ("dir/", 'filename="download"'),
    (" . ", 'filename="download"'),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_a_name_is_written_so_that_it_stays_a_name(name: str, expected: str) -> None:
    """For old clients a likeness in ASCII, for others the whole of it."""
    assert disposition("attachment", name) == f"attachment; {expected}"


@given(st.text())
def test_no_name_leaves_its_parameter(name: str) -> None:
    """It can be sent, has two quotes, and says what is left of the name."""
    value = disposition("inline", name)
    field_value("content-disposition", value)
    assert value.isascii()
    assert value.startswith('inline; filename="')
    assert value.count('"') == 2
    assert "\\" not in value
    _, starred, encoded = value.partition("; filename*=UTF-8''")
    assert unquote(encoded if starred else value.split('"')[1]) == base_name(name)
