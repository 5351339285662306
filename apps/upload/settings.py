"""How much may be uploaded, where to, and in what time: from the environment. This file owns names and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """The settings of the app.

    Attributes:
        directory: where the uploads are; `None`: in a temporary directory, which goes with the server.
        max_size: bytes of one upload.
        quota: bytes of all together.
        timeout: seconds that one may take, however it comes.
        stall: seconds within which more of it must come.
    """

    directory: Path | None = None
    max_size: int = 256 * MIB
    quota: int = 1024 * MIB
    timeout: float = 600.0
    stall: float = 10.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read UPLOAD_DIRECTORY, UPLOAD_MAX_SIZE, UPLOAD_QUOTA, UPLOAD_TIMEOUT and UPLOAD_STALL.

        Raises:
            ValueError: one is not a positive number; the message names it.
        """
        directory = environment.get("UPLOAD_DIRECTORY")
        return cls(
            Path(directory) if directory else None,
            int(_number(environment, "UPLOAD_MAX_SIZE", cls.max_size, least=1)),
            int(_number(environment, "UPLOAD_QUOTA", cls.quota, least=1)),
            _number(environment, "UPLOAD_TIMEOUT", cls.timeout),
            _number(environment, "UPLOAD_STALL", cls.stall),
        )


def _number(environment: Mapping[str, str], name: str, default: float, least: float = 0) -> float:
    text = environment.get(name)
    try:
        value = default if not text else float(text)
    except ValueError:
        value = 0.0
    if not (value > 0 and least <= value < float("inf")):
        raise ValueError(f"{name}={text!r} is not a positive number.\nSay  {name}={default:g}")
    return value
