"""`python -m apps.mini_redis`: the server alone, without HTTP. Settings are read from the environment (README.md)."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import cast

import trio

from .alone import serve_alone
from .aof import Damaged
from .settings import Settings, Unusable


def main() -> int:
    """Serve until SIGTERM or SIGINT; the second one does not wait for clients."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        trio.run(serve_alone, Settings.read(os.environ), (signal.SIGTERM, signal.SIGINT))
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
    sys.exit(main())
