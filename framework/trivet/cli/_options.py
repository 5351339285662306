"""The options of `trivet run`. This file owns their names, and what is checked before anything is started.

They are hypercorn's, so that what was written for it works: a test compares the table with hypercorn's own parser. The
parser itself is not reused, for it starts the server as it parses.
"""

from __future__ import annotations

import argparse
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivet.server._access_format import formatter_of

from . import _tls
from ._addresses import fault_in
from ._config import ConfigError as ConfigError
from ._config import RunConfig as RunConfig
from ._config import limits_from as limits_from
from ._config import read, verify_mode_of
from ._limits import LIMITS, Limit

RELOAD_DRAIN_TIMEOUT = 1.0
"""Seconds that requests have at most with `--reload`: who has saved a file wants to see what it does. A worker, which
says how long they have, cannot tell a reload from the end, so that it is one time for both."""

PROTOCOLS = ("trivet", "hypercorn")


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
    metavar: str | None = None


def _verify_mode(value: str) -> ssl.VerifyMode:
    try:
        return verify_mode_of(int(value) if value.isdecimal() else value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds, such as 10 or 0.5")
    return seconds


def _limit(limit: Limit) -> Option:
    """The option of a limit; hypercorn's flag for the same, where it has one, is another name."""

    def read(value: str) -> float:
        try:
            return limit.read(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{value!r}: {error}, as in  {limit.flag} {limit.example}") from None

    flags = f"--keep-alive {limit.flag}" if limit.field == "idle_timeout" else limit.flag
    return Option(flags, limit.setting, limit.described, read, metavar=limit.unit)


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
        Option("--cert-reqs", "verify_mode", "the same as 0, 1 or 2 (hypercorn's older name)", _verify_mode),
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
        Option(
            "--read-timeout",
            "read_timeout",
            "how long a read of the socket may take, while we answer too (hypercorn's protocols only)",
            _seconds,
        ),
        Option(
            "--websocket-ping-interval",
            "websocket_ping_interval",
            "how long a WebSocket may be silent before it is pinged; 0: for ever (default 20, hypercorn's: none)",
            _seconds,
        ),
    ),
    "limits of what a client may take": tuple(_limit(limit) for limit in LIMITS),
    "processes": (
        Option("-w --workers", "workers", "how many processes share the work (default 1)", int),
        Option("--max-requests", "max_requests", "replace a process after that many requests", int),
        Option("--max-requests-jitter", "max_requests_jitter", "and up to that many more, at random", int),
        Option("-p --pid", "pid_path", "write the process id to this file"),
        Option("-k --worker-class", "worker_class", "trio, the only one"),
        Option("--protocol", "protocol", "whose HTTP/1.1 to speak: trivet (default) or hypercorn"),
    ),
    "logging": (
        Option(
            "--access-log --access-logfile",
            "accesslog",
            "write a line for each request to this file, - for stdout",
            metavar="FILE",
        ),
        Option(
            "--access-log-format --access-logformat",
            "access_log_format",
            "text (default), json, or one of hypercorn's such as '%%(h)s \"%%(r)s\" %%(s)s'",
        ),
        Option("--error-logfile --log-file --error-log", "errorlog", "write our log to this file, - for stderr"),
        Option(
            "--slow-steps",
            "slow_steps",
            "log who holds up the event loop for longer than that, such as 0.1 (default: nobody is watched)",
            _seconds,
        ),
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
    parser.add_argument(
        "--reload", action="store_true", help="start again when a source file changes; requests have 1 s then"
    )
    parser.add_argument("-D", "--daemon", action="store_true", help=argparse.SUPPRESS)  # hypercorn's, without effect
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            kind: dict[str, Any] = {"type": option.type, "action": "append" if option.many else "store"}
            named = {int: "N", _seconds: "SECONDS"}.get(option.type, option.field.upper().split("_")[-1])
            group.add_argument(
                *option.flags.split(),
                dest=option.field,
                default=None,
                metavar=option.metavar or named,
                help=option.help,
                **kind,
            )


def config_from(arguments: argparse.Namespace) -> RunConfig:
    """The configuration: the file's, then the command line's.

    Raises:
        ConfigError: it cannot be read, or holds something it cannot.
    """
    config = read(arguments.config)
    for options in GROUPS.values():
        for option in options:
            value = getattr(arguments, option.field)
            if value is not None:
                setattr(config, option.field, value)
    _check_addresses(config)
    _check_counts(config)
    config.debug = config.debug or arguments.debug
    config.use_reloader = config.use_reloader or arguments.reload
    if config.drain_timeout is None and "graceful_timeout" in vars(config):
        config.drain_timeout = config.graceful_timeout
    if config.use_reloader:
        given = RELOAD_DRAIN_TIMEOUT if config.drain_timeout is None else config.drain_timeout
        config.drain_timeout = min(given, RELOAD_DRAIN_TIMEOUT)
    if config.worker_class != "trio":
        raise ConfigError(
            f"there is no worker class {config.worker_class!r}: trivet runs on Trio. Leave -k out.\n"
            f"Other servers take other classes:  hypercorn --worker-class {config.worker_class} module:app"
        )
    if config.protocol not in PROTOCOLS:
        raise ConfigError(
            f"the protocol {config.protocol!r} is not known.\nUse  --protocol trivet  or  --protocol hypercorn"
        )
    try:
        formatter_of(config.access_log_format)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if config.slow_steps is not None and not 0 < config.slow_steps < math.inf:
        raise ConfigError(
            f"--slow-steps {config.slow_steps:g}: a step of a task takes more than no time.\n"
            "For those of more than a tenth of a second:  --slow-steps 0.1"
        )
    _check_limits(config)
    _tls.check(config)
    return config


COUNTS = (
    ("workers", "--workers", 0, 4),  # 0 is hypercorn's word for a single process
    ("backlog", "--backlog", 1, 2048),
    ("max_requests", "--max-requests", 1, 10000),
    ("max_requests_jitter", "--max-requests-jitter", 0, 1000),
    ("wsgi_max_body_size", "wsgi_max_body_size =", 0, 16777216),
)
"""Settings that are whole numbers: how each is written, its least value, and one that would do."""


def _check_counts(config: RunConfig) -> None:
    for field, written, least, example in COUNTS:
        value: object = getattr(config, field)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
            continue
        raise ConfigError(f"{written} {value!r}: it takes a whole number from {least} on, as in  {written} {example}")


def _check_limits(config: RunConfig) -> None:
    if config.protocol == "trivet":
        limits_from(config)
        return
    for limit in LIMITS:
        if limit.hypercorn is None and limit.setting in vars(config):
            raise ConfigError(
                f"{limit.flag} is a limit of trivet's own protocol: hypercorn's has none like it.\n"
                "Leave  --protocol hypercorn  out"
            )


def _check_addresses(config: RunConfig) -> None:
    given = (("--bind", config.bind), ("--insecure-bind", config.insecure_bind), ("--quic-bind", config.quic_bind))
    for flag, addresses in given:
        for address in addresses:
            fault = fault_in(flag, address)
            if fault is not None:
                raise ConfigError(fault)
