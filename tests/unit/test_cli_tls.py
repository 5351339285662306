"""Certificates, keys and ciphers that cannot be used: each is explained before anything is started."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization as serial

from tests.harness.golden import Golden
from trivet.cli import main

PASSWORD = "not this one"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with certificates and keys in all states, which is the current one."""
    for name in ("server", "other"):
        issued = trustme.CA().issue_cert("localhost")
        (tmp_path / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        (tmp_path / f"{name}.key").write_bytes(issued.private_key_pem.bytes())
    certificate, pem = (tmp_path / "server.pem").read_bytes(), (tmp_path / "server.key").read_bytes()
    key = serial.load_pem_private_key(pem, None)
    secret, clear = serial.BestAvailableEncryption(b"secret"), serial.NoEncryption()
    files = {
        "binary.pem": x509.load_pem_x509_certificate(certificate).public_bytes(serial.Encoding.DER),
        "binary.key": key.private_bytes(serial.Encoding.DER, serial.PrivateFormat.PKCS8, clear),
        "secret.key": key.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.PKCS8, secret),
        "old-secret.key": key.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.TraditionalOpenSSL, secret),
        "public.key": key.public_key().public_bytes(serial.Encoding.PEM, serial.PublicFormat.SubjectPublicKeyInfo),
        "cut.pem": certificate[:300],
        "cut.key": pem[:100],
        "text.pem": b"certificate\n",
        "empty.key": b"",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "directory").mkdir()
    (tmp_path / "mode.toml").write_text('certfile = "server.pem"\nkeyfile = "server.key"\nverify_mode = "ALL"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pair(certificate: str = "server.pem", key: str = "server.key") -> list[str]:
    return ["--certfile", certificate, "--keyfile", key]


WRONG: list[list[str]] = [
    ["--certfile", "server.pem"],
    ["--keyfile", "server.key"],
    pair("gone.pem"),
    pair(key="gone.key"),
    pair("directory"),
    pair("text.pem"),
    pair("binary.pem"),
    pair("cut.pem"),
    pair(key="empty.key"),
    pair(key="binary.key"),
    pair(key="public.key"),
    pair(key="cut.key"),
    pair(key="other.key"),
    pair("server.key", "server.pem"),
    pair(key="secret.key"),
    pair(key="old-secret.key"),
    [*pair(key="secret.key"), "--keyfile-password", PASSWORD],
    [*pair(key="old-secret.key"), "--keyfile-password", PASSWORD],
    [*pair(), "--ciphers", "ROT13"],
    [*pair(), "--ca-certs", "gone.pem"],
    [*pair(), "--ca-certs", "text.pem"],
    [*pair(), "--ca-certs", "cut.pem"],
    [*pair(), "--verify-mode", "CERT_REQUIRED"],
    [*pair(), "--verify-mode", "CERT_ALWAYS"],
    [*pair(), "--cert-reqs", "7"],
    ["--verify-mode", "CERT_REQUIRED"],
    ["--ca-certs", "server.pem"],
    ["-c", "mode.toml"],
]


def test_what_tls_cannot_use_is_explained(here: Path, golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """What came, the likely mistake, and the remedy; status 2, and no application was looked for."""
    said: list[str] = []
    for arguments in WRONG:
        try:
            status = main(["run", "there.is.none:app", *arguments])
        except SystemExit as error:
            status = int(str(error.code))
        assert status == 2, arguments
        text = capsys.readouterr().err.rpartition("error: ")[2].replace(str(here), "/srv/app")
        said.append(f"{' '.join(arguments)}\n{text}")
    golden("cli/tls", "\n".join(said))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        pair(),
        [*pair(key="secret.key"), "--keyfile-password", "secret"],
        [*pair(key="old-secret.key"), "--keyfile-password", "secret"],
        pair("both.pem", "both.pem"),
        [*pair(), "--ciphers", "ECDHE+AESGCM"],
        [*pair(), "--verify-mode", "CERT_NONE"],
        [*pair(), "--verify-mode", "CERT_REQUIRED", "--ca-certs", "other.pem"],
        [*pair(), "--cert-reqs", "2", "--ca-certs", "other.pem"],
    ],
)
def test_what_tls_can_use_is_not_refused(
    here: Path, arguments: list[str], refused_application: Callable[[list[str]], bool]
) -> None:
    """A chain, a key with its password, both in one file, clients that are checked."""
    (here / "both.pem").write_bytes((here / "server.key").read_bytes() + (here / "server.pem").read_bytes())
    assert refused_application(arguments)


@pytest.fixture
def refused_application(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], bool]:
    """Whether nothing was wrong with arguments before an application that does not exist was looked for."""
    monkeypatch.setattr("trivet.cli.run.configure", lambda _: None)

    def run(arguments: list[str]) -> bool:
        status = main(["run", "there.is.none:app", "--bind", "127.0.0.1:0", *arguments])
        return status == 1 and "there is no module 'there.is.none'" in capsys.readouterr().err

    return run


@pytest.mark.parametrize("value", ['"CERT_REQUIRED"', "2"])
@pytest.mark.parametrize("name", ["verify_mode", "cert_reqs"])
def test_a_mode_in_a_file(name: str, value: str, tmp_path: Path) -> None:
    """By its name or its number, by hypercorn's two names for it."""
    from trivet.cli._config import read

    (tmp_path / "c.toml").write_text(f"{name} = {value}\n")
    assert read(str(tmp_path / "c.toml")).verify_mode is ssl.CERT_REQUIRED
