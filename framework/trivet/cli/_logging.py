"""Where `trivet run` logs. This file owns the configuration of the standard library's logging."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

from trivet.server._access_log import NAME as ACCESS
from trivet.server._access_log import write_to

from ._options import ConfigError, RunConfig

FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"


def configure(config: RunConfig) -> None:
    """Send what is logged to stderr, or where the configuration says, and the access log to where it says, if it does.

    Ours from INFO on (`--log-level`), all else from WARNING on. A logging configuration of the user's replaces this,
    the part of the access log too, unless `--access-log` asks for one.

    Raises:
        ConfigError: there is no such level, or a file cannot be opened.
    """
    target = config.accesslog
    config.accesslog = None  # else hypercorn would open it as well, for its own log
    if config.logconfig is not None or cast(Any, config).logconfig_dict is not None:
        _apply(config)
    else:
        _configure(config)
        if target is None:
            logging.getLogger(ACCESS).setLevel(logging.WARNING)  # off, for it is below our INFO
    if isinstance(target, str):
        try:
            target = write_to(target, config.access_log_format)
        except OSError as error:
            raise ConfigError(
                f"--access-log {target} cannot be written: {error.strerror}.\n"
                "Name another file, or  -  for standard output"
            ) from None
    config.accesslog = target


def _apply(config: RunConfig) -> None:
    try:
        _ = config.log  # hypercorn reads and applies it
    except Exception as error:  # noqa: BLE001 - whatever the parsers and logging.config make of a wrong one
        name = "the log configuration" if config.logconfig is None else f"--log-config {config.logconfig}"
        reasons = [f"{type(each).__name__}: {each}" for each in (error, error.__cause__) if each is not None]
        raise ConfigError(
            f"{name} cannot be used.\n{'; '.join(reasons)}\n"
            "A file is read as ini, others with their kind in front:  --log-config json:FILE  or  toml:FILE"
        ) from None


def _configure(config: RunConfig) -> None:
    level = logging.getLevelNamesMapping().get(str(config.loglevel).upper())
    if level is None:
        raise ConfigError(f"there is no log level {config.loglevel!r}.\nUse  --log-level info")
    target = config.errorlog if isinstance(config.errorlog, str) else None
    try:
        handler = logging.StreamHandler(sys.stderr) if target in (None, "-") else logging.FileHandler(str(target))
    except OSError as error:
        raise ConfigError(
            f"--error-log {target} cannot be written: {error.strerror}.\nName another file, or  -  for standard error"
        ) from None
    logging.basicConfig(level=logging.WARNING, format=FORMAT, handlers=[handler])
    logging.getLogger("trivet").setLevel(logging.DEBUG if config.debug else level)
    # As an object, hypercorn takes it as it is; as a name, it would add a handler of its own and log twice.
    config.errorlog = logging.getLogger("hypercorn.error")
