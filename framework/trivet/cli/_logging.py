"""Where `trivet run` logs. This file owns the configuration of the standard library's logging."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

from ._options import ConfigError, RunConfig

FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"


def configure(config: RunConfig) -> None:
    """Send what is logged to stderr, or where the configuration says.

    Ours from INFO on (`--log-level`), all else from WARNING on. A logging configuration of the user's replaces this.
    """
    if config.logconfig is not None or cast(Any, config).logconfig_dict is not None:
        _ = config.log  # hypercorn reads and applies it
        return
    level = logging.getLevelNamesMapping().get(str(config.loglevel).upper())
    if level is None:
        raise ConfigError(f"there is no log level {config.loglevel!r}.\nUse  --log-level info")
    target = config.errorlog if isinstance(config.errorlog, str) else None
    handler = logging.StreamHandler(sys.stderr) if target in (None, "-") else logging.FileHandler(str(target))
    logging.basicConfig(level=logging.WARNING, format=FORMAT, handlers=[handler])
    logging.getLogger("trivet").setLevel(logging.DEBUG if config.debug else level)
    # As an object, hypercorn takes it as it is; as a name, it would add a handler of its own and log twice.
    config.errorlog = logging.getLogger("hypercorn.error")
