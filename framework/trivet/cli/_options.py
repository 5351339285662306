"""The options of `trivet run` and its configuration file. This file owns their names.

They are hypercorn's, so that what was written for it works: a test compares the table with hypercorn's own parser. The
parser itself is not reused, for it starts the server as it parses. The file is read by hypercorn's `Config`; names it
does not know, which hypercorn accepts in silence, are refused.
"""

from __future__ import annotations

import argparse
import difflib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from hypercorn.config import Config

from trivet.errors import TrivetError

from ._addresses import fault_in


class ConfigError(TrivetError):
    """The configuration holds something it cannot."""


def _public(name: str) -> bool:
    return not name.startswith("_") and not callable(getattr(Config, name)) and name not in ("log", "ssl_enabled")


class RunConfig(Config):
    """hypercorn's configuration and trivet's, checked."""

    worker_class = "trio"
    protocol: str = "hypercorn"
    drain_timeout: float | None = None
    cleanup_grace: float | None = None
    send_timeout: float | None = 10.0

    _names: ClassVar[frozenset[str]] = frozenset(
        {
            *filter(_public, dir(Config)),
            "logger_class",
            "protocol",
            "drain_timeout",
            "cleanup_grace",
            "send_timeout",
        }
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None = None, **kwargs: Any) -> RunConfig:
        """A configuration from names and values, however they were read.

        Raises:
            ConfigError: a name is not known, or a value is of the wrong kind.
        """
        config = cls()
        for name, value in {**(mapping or {}), **kwargs}.items():
            if name in cls._names:
                _check_kind(name, value)
                setattr(config, name, value)
            elif not name.startswith("_") and not callable(value):
                # A Python file may define helpers; a plain value it does not keep private is meant as a setting.
                near = difflib.get_close_matches(name, cls._names, n=1)
                hint = f"Did you mean  {near[0]}  ?" if near else "See  trivet run --help"
                raise ConfigError(f"the configuration sets {name!r}, which is no option.\n{hint}")
        return config


def _check_kind(name: str, value: Any) -> None:
    default: object = getattr(RunConfig, name, None)
    kinds: dict[type, tuple[type, ...]] = {bool: (bool,), int: (int, float), float: (int, float), str: (str,)}
    expected = kinds.get(cast(type, type(default)))
    if expected is None or value is None:
        return
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        raise ConfigError(
            f"the configuration sets {name!r} to {value!r}, a {type(value).__name__}; "
            f"it takes a {type(default).__name__}, as in  {name} = {default!r}"
        )


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    `field` is the attribute of the configuration it sets; `many` options may be given several times.
    """

    flags: str
    field: str
    help: str
    type: Any = str
    many: bool = False


def _verify_mode(value: str) -> ssl.VerifyMode:
    try:
        return ssl.VerifyMode[value]
    except KeyError:
        names = ", ".join(mode.name for mode in ssl.VerifyMode)
        raise argparse.ArgumentTypeError(f"{value!r} is none of {names}") from None


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds, such as 10 or 0.5")
    return seconds


GROUPS: Mapping[str, tuple[Option, ...]] = {
    "addresses": (
        Option(
            "-b --bind",
            "bind",
            "host:port, host, unix:PATH or fd://NUMBER; may be repeated (default 127.0.0.1:8000)",
            many=True,
        ),
        Option("--insecure-bind", "insecure_bind", "the same, for plain HTTP beside TLS", many=True),
        Option("--quic-bind", "quic_bind", "host:port for HTTP/3 (needs hypercorn[h3] and TLS)", many=True),
        Option("--backlog", "backlog", "connections the kernel holds until we accept them", int),
        Option("--root-path", "root_path", "the path we are mounted at, ASGI's root_path"),
        Option("--server-name", "server_names", "a host name to serve; others get 404", many=True),
        Option("-m --umask", "umask", "permission mask of unix sockets", int),
        Option("-u --user", "user", "owner (uid) of unix sockets", int),
        Option("-g --group", "group", "owner (gid) of unix sockets", int),
    ),
    "TLS": (
        Option("--certfile", "certfile", "certificate chain (PEM)"),
        Option("--keyfile", "keyfile", "private key (PEM)"),
        Option("--keyfile-password", "keyfile_password", "password of the key"),
        Option("--ca-certs", "ca_certs", "certificates to check clients against"),
        Option(
            "--verify-mode",
            "verify_mode",
            "CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED of clients",
            _verify_mode,
        ),
        Option("--cert-reqs", "cert_reqs", "the same as a number (deprecated)", int),
        Option("--ciphers", "ciphers", "OpenSSL cipher list"),
    ),
    "time limits, in seconds": (
        Option(
            "--drain-timeout",
            "drain_timeout",
            "how long requests may go on after SIGTERM or Ctrl-C (default: the application's, else 10)",
            _seconds,
        ),
        Option("--graceful-timeout", "graceful_timeout", "hypercorn's name for --drain-timeout", _seconds),
        Option(
            "--cleanup-grace",
            "cleanup_grace",
            "how long they may then clean up (default: the application's, else 5)",
            _seconds,
        ),
        Option(
            "--send-timeout",
            "send_timeout",
            "how long a client may not read while we write to it (default 10)",
            _seconds,
        ),
        Option("--keep-alive", "keep_alive_timeout", "how long a connection may be idle (default 5)", _seconds),
        Option(
            "--read-timeout",
            "read_timeout",
            "how long a read of the socket may take, while we answer too: rather limit the body in the application",
            _seconds,
        ),
        Option("--websocket-ping-interval", "websocket_ping_interval", "between pings of a WebSocket", _seconds),
    ),
    "processes": (
        Option("-w --workers", "workers", "how many processes share the work (default 1)", int),
        Option("--max-requests", "max_requests", "replace a process after that many requests", int),
        Option("--max-requests-jitter", "max_requests_jitter", "and up to that many more, at random", int),
        Option("-p --pid", "pid_path", "write the process id to this file"),
        Option("-k --worker-class", "worker_class", "trio, the only one"),
        Option("--protocol", "protocol", "whose HTTP/1.1 and WebSocket implementation to use: hypercorn"),
    ),
    "logging": (
        Option("--access-logfile --access-log", "accesslog", "write an access log to this file, - for stdout"),
        Option("--access-logformat", "access_log_format", "its format, as hypercorn documents it"),
        Option("--error-logfile --log-file --error-log", "errorlog", "write our log to this file, - for stderr"),
        Option("--log-level", "loglevel", "debug, info (default), warning, error or critical"),
        Option("--log-config", "logconfig", "a logging configuration: FILE (ini), json:FILE or toml:FILE"),
        Option("--statsd-host", "statsd_host", "host:port to send metrics to"),
        Option("--statsd-prefix", "statsd_prefix", "in front of each metric"),
    ),
}


def add_to(parser: argparse.ArgumentParser) -> None:
    """Give `parser` all options."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="a TOML file, file:FILE (Python) or python:MODULE; the command line has precedence",
    )
    parser.add_argument("--debug", action="store_true", help="more log, and details in the application's errors")
    parser.add_argument("--reload", action="store_true", help="start again when a source file changes")
    parser.add_argument("-D", "--daemon", action="store_true", help=argparse.SUPPRESS)  # hypercorn's, without effect
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            kind: dict[str, Any] = {"type": option.type, "action": "append" if option.many else "store"}
            metavar = {int: "N", _seconds: "SECONDS"}.get(option.type, option.field.upper().split("_")[-1])
            group.add_argument(
                *option.flags.split(),
                dest=option.field,
                default=None,
                metavar=metavar,
                help=option.help,
                **kind,
            )


def config_from(arguments: argparse.Namespace) -> RunConfig:
    """The configuration: the file's, then the command line's.

    Raises:
        ConfigError: it cannot be read, or holds something it cannot.
    """
    config = _read(arguments.config)
    for options in GROUPS.values():
        for option in options:
            value = getattr(arguments, option.field)
            if value is not None:
                setattr(config, option.field, value)
    _check_addresses(config)
    config.debug = config.debug or arguments.debug
    config.use_reloader = config.use_reloader or arguments.reload
    if config.drain_timeout is None and "graceful_timeout" in vars(config):
        config.drain_timeout = config.graceful_timeout
    if config.worker_class != "trio":
        raise ConfigError(
            f"there is no worker class {config.worker_class!r}: trivet runs on Trio. Leave -k out.\n"
            f"Other servers take other classes:  hypercorn --worker-class {config.worker_class} module:app"
        )
    if config.protocol != "hypercorn":
        coming = "is still to come" if config.protocol == "trivet" else "is not known"
        raise ConfigError(f"the protocol {config.protocol!r} {coming}.\nUse  --protocol hypercorn")
    if (config.certfile is None) != (config.keyfile is None):
        raise ConfigError("TLS takes both a certificate and its key:  --certfile cert.pem --keyfile key.pem")
    return config


def _check_addresses(config: RunConfig) -> None:
    given = (("--bind", config.bind), ("--insecure-bind", config.insecure_bind), ("--quic-bind", config.quic_bind))
    for flag, addresses in given:
        for address in addresses:
            fault = fault_in(flag, address)
            if fault is not None:
                raise ConfigError(fault)


def _read(path: str | None) -> RunConfig:
    if path is None:
        return RunConfig()
    reader: Any = RunConfig  # its readers end in `from_mapping`, above
    try:
        config: RunConfig
        if path.startswith("python:"):
            config = reader.from_object(path.removeprefix("python:"))
        elif path.startswith("file:"):
            config = reader.from_pyfile(path.removeprefix("file:"))
        else:
            config = reader.from_toml(path)
    except OSError as error:
        raise ConfigError(f"the configuration {path!r} cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOML that does not parse
        raise ConfigError(f"the configuration {path!r} does not parse: {error}") from None
    return config
