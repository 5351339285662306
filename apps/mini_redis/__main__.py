"""`python -m apps.mini_redis`: the server alone, without HTTP; `--help` tells what may be said to it.

This file owns how a command line is read. An option stands above the variable of the environment that says the same
(README.md), so that there is one reader of both.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import cast

import trio

from .alone import serve_alone
from .aof import Damaged
from .settings import Settings, Unusable

OPTIONS = {
    "--bind": ("MINI_REDIS_BIND", "HOST:PORT", "where RESP is spoken (127.0.0.1:6380); port 0: a free one"),
    "--connections": ("MINI_REDIS_CONNECTIONS", "N", "at a time (1000); who comes then waits in the kernel's queue"),
    "--clients-mb": ("MINI_REDIS_CLIENTS_MB", "N", "that all clients may hold together (1024)"),
    "--slow": ("MINI_REDIS_SLOW", "POLICY", "of subscribers that do not read: disconnect (as it is), drop"),
    "--log": ("MINI_REDIS_LOG", "FILE", "the append-only file; without one all is forgotten"),
    "--fsync": ("MINI_REDIS_FSYNC", "WHEN", "a change is on the disk: always, everysec (as it is), no"),
}


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings of a command line, and of an environment where it says nothing.

    Raises:
        Unusable: a setting is none of what it may be.
        SystemExit: the line asked for help, or has an option that there is not.
    """
    parser = argparse.ArgumentParser(
        "python -m apps.mini_redis",
        description="A Redis to learn from. Each option stands above the variable of the environment beside it.",
        allow_abbrev=False,
    )
    for option, (variable, value, meaning) in OPTIONS.items():
        parser.add_argument(option, dest=variable, metavar=value, help=f"{meaning} [{variable}]")
    parser.add_argument("--port", metavar="PORT", help="the same as --bind 127.0.0.1:PORT")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    if (port := given.pop("port", None)) is not None:
        if "MINI_REDIS_BIND" in given:
            parser.error("--port is a part of --bind; write one of them")
        given["MINI_REDIS_BIND"] = f"{Settings().host}:{port}"
    return Settings.read({**environment, **given})


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until SIGTERM or SIGINT; the second one does not wait for clients."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        trio.run(serve_alone, read(arguments, os.environ), (signal.SIGTERM, signal.SIGINT))
    except Exception as error:
        reason = error
        while isinstance(reason, ExceptionGroup):  # of the nurseries around
            first, *others = cast("ExceptionGroup[Exception]", reason).exceptions
            if others:
                raise
            reason = first
        if not isinstance(reason, (Unusable, Damaged)):
            raise
        print(f"mini_redis: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
