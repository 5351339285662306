"""Says `async with` to who writes `with`: what synchronous test clients have taught everybody.

This file owns the message. What is entered, and how, is its class's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn


class AsyncWith:
    """What is entered by `async with`, and explains that to a `with`."""

    _entered: ClassVar[str]
    """How it is entered, as code."""

    if not TYPE_CHECKING:  # a type checker says by itself that there is no such thing, and is to go on saying it

        def __enter__(self) -> NoReturn:
            """Refuse.

            Raises:
                TypeError: always; it has the line to write.
            """
            raise TypeError(
                f"{type(self).__name__} is entered by `async with`, in a test that runs on Trio:\n\n"
                "    async def test_it() -> None:\n"
                f"        {self._entered}:\n"
                "            ...\n\n"
                "pytest-trio runs it, with  trio_mode = true  in pytest's configuration."
            )

        def __exit__(self, *_: object) -> None:
            """Never called, but without it Python would not call `__enter__`."""
