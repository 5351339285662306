"""Digest fields: what is one, and what it must be."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.upload.digests import Digester, DigestMismatch, announced, field_of

DATA = b"hello\n"
SHA256, SHA512, MD5 = (hashlib.new(name, DATA).digest() for name in ("sha256", "sha512", "md5"))
S256, S512, M5 = (base64.b64encode(digest).decode() for digest in (SHA256, SHA512, MD5))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([None, None], {}),
        ([""], {}),
        ([f"sha-256=:{S256}:"], {"sha-256": SHA256}),
        ([f"  sha-256=:{S256}: ,\tsha-512=:{S512}:"], {"sha-256": SHA256, "sha-512": SHA512}),
        ([f"sha-512=:{S512}:;keep=?1, md5=:{M5}:"], {"sha-512": SHA512}),
        ([f"sha-256=:{S256}:", f"sha-256=:{S256}:"], {"sha-256": SHA256}),
        (["unixsum=:AQ==:"], {}),
        (["SHA-256=:AQ==:".lower().replace("sha-256", "id-sha-256")], {}),
    ],
)
def test_what_is_announced_is_read(fields: list[str | None], expected: dict[str, bytes]) -> None:
    """Algorithms that are not relied on any more are left out; parameters and the other field change nothing."""
    assert announced(fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        ["sha-256"],
        [f"sha-256={S256}"],
        [f"sha-256=:{S256}"],
        [f"SHA-256=:{S256}:"],
        [f"sha-256=:{S256[:-1]}:"],
        ["sha-256=:AQ==:"],
        [f"sha-256=:{S256}:,"],
        [f"sha-256=:{S256}: sha-512=:{S512}:"],
        [f"sha-256=:{S256}:", f"sha-256=:{S512[:43]}=:"],
        ['sha-256="aGVsbG8="'],
        [f"sha-256=:{S256[:-2]}\u00e9=:"],
    ],
)
def test_what_is_no_digest_is_refused(fields: list[str | None]) -> None:
    """A digest that cannot be understood must not pass for one that was checked."""
    with pytest.raises(ValueError, match=r"digest"):
        announced(fields)


@given(st.lists(st.text(alphabet="sha-256md5=:;, AQZz+/\t*?.1", max_size=60), max_size=2))
@example([f"sha-256=:{S256}:", "sha-256"])
def test_any_text_is_read_or_refused(fields: list[str]) -> None:
    """Nothing else than `ValueError` comes of a field, and what is read has the right length."""
    try:
        found = announced(fields)
    except ValueError:
        return
    assert all(len(digest) == {"sha-256": 32, "sha-512": 64}[name] for name, digest in found.items())


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_pieces_make_one_digest(pieces: list[bytes]) -> None:
    """However it is cut, what comes has one digest, and it is written as it is read."""
    whole = b"".join(pieces)
    expected = {"sha-256": hashlib.sha256(whole).digest(), "sha-512": hashlib.sha512(whole).digest()}
    digester = Digester(expected)
    for piece in pieces:
        digester.update(piece)
    assert announced([field_of(digester.sha256())]) == {"sha-256": expected["sha-256"]}


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_each_announced_digest_must_fit(algorithm: str) -> None:
    """One that does not is an error that names it, although SHA-256 may be right."""
    right = {"sha-256": SHA256, "sha-512": SHA512}
    digester = Digester({**right, algorithm: bytes(len(right[algorithm]))})
    digester.update(DATA)
    with pytest.raises(DigestMismatch, match=algorithm):
        digester.sha256()
