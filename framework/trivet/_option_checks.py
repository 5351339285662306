"""What the values of options may be: each check refuses the others, with the line to write.

This file owns those messages. Which options there are, and whose, is `_options`' business; all of it runs at
registration, and raises `RegistrationError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from ._limit import Limit
from .errors import RegistrationError


def check_seconds(name: str, value: object) -> None:
    """Refuse what is neither a positive number of seconds nor `None`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise RegistrationError(
            f"{name}={value!r} is not a number of seconds.\n"
            f"Write a positive number, {name}=2.5, or {name}=None for no bound."
        )


def check_patience(name: str, value: object) -> None:
    """Refuse what is no number of seconds; without a bound, one that does not end would hold up all others.

    Raises:
        RegistrationError: `value` is not a finite number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise RegistrationError(f"{name}={value!r} is not a number of seconds.\nWrite {name}=2.5, or {name}=0.")


def check_policy(name: str, options: Mapping[str, Any], when: str) -> None:
    """Refuse what is neither `"cancel"` nor `"finish"`, if it is given; `when` is said in the remedy."""
    policy = options.get(name, "cancel")
    if policy not in ("cancel", "finish"):
        raise RegistrationError(
            f'{name}={policy!r} is not a policy.\nWrite {name}="cancel" (stop {when}) or {name}="finish" (carry on).'
        )


def check_bytes(value: object) -> None:
    """Refuse what is neither a number of bytes nor `None`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RegistrationError(
            f"max_body={value!r} is not a number of bytes.\nWrite max_body=1024 * 1024, or max_body=None for no bound."
        )


def checked_limit(value: object) -> Limit | None:
    """The value of the option `limit`."""
    if value is None or isinstance(value, Limit):
        return value
    if type(value).__name__ == "RateLimit":  # an optional package's, of which this floor knows the name only
        raise RegistrationError(
            "limit: a RateLimit is not a Limit. It says how often a client may ask, not how many requests may run.\n"
            "That is a dependency. Write dependencies=[Depends(rate_limit)] beside it, or instead."
        )
    number = value if isinstance(value, int) and value > 1 else 20
    remedy = (
        f"Write limit=Limit({number}) for {number} requests at once; who is given the same object shares it.\n"
        "limit=None is for what is to be answered when those further out are full."
    )
    shown = repr(value) if isinstance(value, int | float | str) else f"a {type(value).__name__}"
    raise RegistrationError(f"limit: {shown} is not a Limit.\n{remedy}")


def checked_responses(value: object) -> Mapping[int, str]:
    """The value of the option `responses`."""
    found = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {"": ""}
    for status, text in found.items():
        if not isinstance(status, int) or not 200 <= status <= 599 or not isinstance(text, str):
            raise RegistrationError(
                f"responses={value!r} does not say what statuses mean.\n"
                'Write responses={404: "There is no such note."}.'
            )
    return cast("Mapping[int, str]", found)
