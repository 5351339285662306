"""How many jobs at a time, and how long what they found is kept: from the environment. This file owns names and
defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


def _cores() -> int:
    """As many as there are but one, which the server itself works on."""
    return max(1, len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 2) - 1)


@dataclass(frozen=True)
class Settings:
    """The settings of the app.

    Attributes:
        workers: processes that compute.
        open_jobs: how many may wait or run.
        kept: how many are remembered after they have ended.
        keep: seconds for which they are.
        patience: seconds in which a job must be watched for the first time.
    """

    workers: int = 1
    open_jobs: int = 16
    kept: int = 100
    keep: float = 600.0
    patience: float = 15.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read JOBS_WORKERS and JOBS_KEEP.

        Raises:
            ValueError: one is not a positive number; the message names it.
        """
        return cls(
            workers=int(_number(environment, "JOBS_WORKERS", _cores(), least=1)),
            keep=_number(environment, "JOBS_KEEP", cls.keep),
        )


def _number(environment: Mapping[str, str], name: str, default: float, least: float = 0) -> float:
    text = environment.get(name)
    try:
        value = default if not text else float(text)
    except ValueError:
        value = -1.0
    if not (value > 0 and least <= value < float("inf")):
        raise ValueError(f"{name}={text!r} is not a positive number.\nSay  {name}={default:g}")
    return value
