"""The configuration of `trivet run` as a value. This file owns which settings there are, and what a wrong one is told.

They are hypercorn's and trivet's. A file is read by hypercorn's `Config`; names it does not know, which hypercorn
accepts in silence, are refused.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from hypercorn.config import Config

from trivet.errors import TrivetError
from trivet.server._limits import Limits

from ._limits import BY_NAME, Limit, chosen


class ConfigError(TrivetError):
    """The configuration holds something it cannot."""


def _public(name: str) -> bool:
    return not name.startswith("_") and not callable(getattr(Config, name)) and name not in ("log", "ssl_enabled")


class RunConfig(Config):
    """hypercorn's configuration and trivet's, checked."""

    worker_class = "trio"
    protocol: str = "trivet"
    access_log_format: str = "text"
    drain_timeout: float | None = None
    cleanup_grace: float | None = None
    send_timeout: float | None = 10.0
    slow_steps: float | None = None

    _names: ClassVar[frozenset[str]] = frozenset(
        {
            *filter(_public, dir(Config)),
            "logger_class",
            "protocol",
            "drain_timeout",
            "cleanup_grace",
            "send_timeout",
            "slow_steps",
            *BY_NAME,
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
            if name in BY_NAME:
                _set_limit(config, BY_NAME[name], value)
            elif name in ("verify_mode", "cert_reqs"):
                config.verify_mode = _verify_mode(name, value)
            elif name in cls._names:
                _check_kind(name, value)
                setattr(config, name, value)
            elif not name.startswith("_") and not callable(value):
                # A Python file may define helpers; a plain value it does not keep private is meant as a setting.
                near = difflib.get_close_matches(name, cls._names, n=1)
                hint = f"Did you mean  {near[0]}  ?" if near else "See  trivet run --help"
                raise ConfigError(f"the configuration sets {name!r}, which is no option.\n{hint}")
        return config


def _set_limit(config: RunConfig, limit: Limit, value: Any) -> None:
    try:
        setattr(config, limit.setting, limit.read(value))
    except ValueError as error:
        example = f"{limit.name} = {limit.example}"
        raise ConfigError(f"the configuration sets {limit.name!r} to {value!r}: {error}, as in  {example}") from None


def verify_mode_of(value: object) -> ssl.VerifyMode:
    """What is asked of clients over TLS, by its name or its number.

    Raises:
        ValueError: there is no such mode.
    """
    for mode in ssl.VerifyMode:
        if value in (mode.name, mode.value) and not isinstance(value, bool):
            return mode
    raise ValueError(f"{value!r} is none of {', '.join(mode.name for mode in ssl.VerifyMode)}")


def _verify_mode(name: str, value: Any) -> ssl.VerifyMode | None:
    try:
        return None if value is None else verify_mode_of(value)
    except ValueError as error:
        raise ConfigError(f'the configuration sets {name!r}: {error}, as in  verify_mode = "CERT_REQUIRED"') from None


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


def limits_from(config: RunConfig) -> Limits:
    """The limits of trivet's own protocol that `config` asks for.

    Raises:
        ConfigError: a setting of hypercorn's that means one of them has a value that cannot be.
    """
    try:
        return Limits(**chosen(config))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def read(path: str | None) -> RunConfig:
    """The configuration in a file: TOML, `file:` and a Python file, or `python:` and a module; without one, none.

    Raises:
        ConfigError: it cannot be read, or holds something it cannot.
    """
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
