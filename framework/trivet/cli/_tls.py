"""What is said of a certificate, a key or a cipher that cannot be used, before anything is started.

This file owns how such a failure is explained. OpenSSL itself decides what is one: it says little (of most files only
`PEM lib`), so that a file is looked at again once it was refused. The one exception is an encrypted key without a
password, for which OpenSSL would ask on the terminal: each worker again, and at each reload.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Sequence

from ._config import ConfigError, RunConfig

CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_LABEL = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)


def check(config: RunConfig) -> None:
    """Try what TLS is set up with.

    Raises:
        ConfigError: it cannot be; says which file or option it is, and the remedy.
    """
    if (config.certfile is None) != (config.keyfile is None):
        raise ConfigError("TLS takes both a certificate and its key:  --certfile cert.pem --keyfile key.pem")
    _check_clients(config)
    if config.certfile is None and (config.insecure_bind or config.quic_bind):
        flag, what = (
            ("--insecure-bind", "is for plain HTTP beside TLS")
            if config.insecure_bind
            else ("--quic-bind", "is HTTP/3")
        )
        raise ConfigError(
            f"{flag} {what}, and there is no TLS without a certificate: nothing would listen there.\n"
            "Add  --certfile cert.pem --keyfile key.pem  or serve plain HTTP at  --bind HOST:PORT"
        )
    if config.certfile is None or config.keyfile is None:
        return
    certificate, key = _read("--certfile", config.certfile), _read("--keyfile", config.keyfile)
    if config.ca_certs is not None:
        _read("--ca-certs", config.ca_certs)
    if _encrypted(key) and config.keyfile_password is None:
        raise ConfigError(
            f"the key {config.keyfile!r} is encrypted, and there is no password.\n"
            "Give it as  --keyfile-password PASSWORD  or, where  ps  does not show it, in a file for -c:  "
            'keyfile_password = "PASSWORD"'
        )
    try:
        config.create_ssl_context()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ConfigError(_explained(config, error, certificate, key)) from None


def _check_clients(config: RunConfig) -> None:
    mode = config.verify_mode
    asked = mode is not None and mode != ssl.CERT_NONE
    given = "--ca-certs" if config.ca_certs is not None else "--verify-mode" if asked else None
    if given is not None and config.certfile is None:
        raise ConfigError(
            f"{given} is about clients of TLS, and there is none without a certificate: everybody would be let in.\n"
            "Add  --certfile cert.pem --keyfile key.pem"
        )
    if mode is not None and asked and config.ca_certs is None:
        raise ConfigError(
            f"--verify-mode {mode.name} checks the certificates of clients, and no authority is trusted: each would be "
            "refused.\nName those that are:  --ca-certs clients.pem"
        )


def _read(flag: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        where = "" if os.path.isabs(path) else f" (in {os.getcwd()})"
        example = "key.pem" if flag == "--keyfile" else "chain.pem"
        raise ConfigError(
            f"{flag} {path} cannot be read: {error.strerror}{where}.\nName the file:  {flag} /path/to/{example}"
        ) from None


def _encrypted(key: bytes) -> bool:
    # PKCS #8 (RFC 5958) and, for older keys, RFC 1421 section 4.6.1.1.
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in key or b"Proc-Type: 4,ENCRYPTED" in key


def _explained(config: RunConfig, error: Exception, certificate: bytes, key: bytes) -> str:
    """Why OpenSSL has refused: first what it says itself, then what can be seen in the files, in its own order."""
    certfile, keyfile = str(config.certfile), str(config.keyfile)
    if not _known(config.ciphers):
        return (
            f"--ciphers {config.ciphers!r} names no cipher that OpenSSL knows.\n"
            "Leave it out, or choose of those that  openssl ciphers -v  shows:  --ciphers ECDHE+AESGCM"
        )
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return _mismatch(certfile, keyfile)
    if not _holds(CERTIFICATES, certificate) and _holds(CERTIFICATES, key) and _holds(KEYS, certificate):
        return (
            f"--certfile {certfile} holds a key, and --keyfile {keyfile} a certificate.\n"
            f"Exchange them:  --certfile {keyfile} --keyfile {certfile}"
        )
    if not _holds(CERTIFICATES, certificate):
        return _other("--certfile", certfile, "certificate", certificate, "x509")
    if not _readable(certfile):
        return _damaged("--certfile", certfile, "certificate", "x509")
    if not _holds(KEYS, key):
        return _other("--keyfile", keyfile, "private key", key, "pkey")
    if config.ca_certs is not None and not _readable(config.ca_certs):
        found = _read("--ca-certs", config.ca_certs)
        if not _holds(CERTIFICATES, found):
            return _other("--ca-certs", config.ca_certs, "certificate", found, "x509")
        return _damaged("--ca-certs", config.ca_certs, "certificate", "x509")
    if _encrypted(key):
        return (
            f"the password does not open the key {keyfile!r}.\n"
            f"Find the one that does with  openssl pkey -noout -in {keyfile}\n"
            "and give it as  --keyfile-password PASSWORD"
        )
    if "PEM lib" in str(error):
        return _damaged("--keyfile", keyfile, "private key", "pkey")
    return (
        f"OpenSSL does not take --certfile {certfile} and --keyfile {keyfile}: {error}\n"
        f"See what they are:  openssl x509 -noout -text -in {certfile}"
    )


def _known(ciphers: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(ciphers)
    except ssl.SSLError:
        return False
    return True


def _readable(path: str) -> bool:
    """Whether OpenSSL finds certificates in it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _labels(data: bytes) -> list[str]:
    return [label.decode() for label in dict.fromkeys(_LABEL.findall(data))]


def _holds(wanted: Sequence[str], data: bytes) -> bool:
    return any(label in wanted for label in _labels(data))


def _mismatch(certfile: str, keyfile: str) -> str:
    return (
        f"the key {keyfile!r} does not belong to the certificate {certfile!r}.\n"
        "Of several certificates in one file the server's own comes first:  cat server.pem issuer.pem > chain.pem\n"
        "A key belongs to a certificate if these print the same:\n"
        f"    openssl x509 -noout -pubkey -in {certfile}\n"
        f"    openssl pkey -pubout -in {keyfile}"
    )


def _other(flag: str, path: str, wanted: str, data: bytes, program: str) -> str:
    """It holds something else."""
    example = "key.pem" if program == "pkey" else "chain.pem"
    if data.startswith(b"\x30") and not _labels(data):  # a SEQUENCE of ASN.1
        return (
            f"{flag} {path} is binary (DER), and is read as text (PEM).\n"
            f"Convert it:  openssl {program} -inform der -in {path} -out {example}"
        )
    found = f": it has {', '.join(_labels(data))}" if _labels(data) else ": it is no PEM" if data else ": it is empty"
    return (
        f"{flag} {path} holds no {wanted}{found}.\n"
        f"Name the file with the line  -----BEGIN {wanted.upper()}-----  as in  {flag} {example}"
    )


def _damaged(flag: str, path: str, wanted: str, program: str) -> str:
    return (
        f"{flag} {path} is damaged: OpenSSL cannot read the {wanted} in it.\n"
        f"Copy it again, whole; this says where it stops:  openssl {program} -noout -text -in {path}"
    )
