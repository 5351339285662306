"""Scripts, which Redis runs as a whole: nobody else's command comes in between.

This file owns how one is sent: by its digest, and with its text where Redis does not know it (yet, or since it was
started again).
"""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A script in Lua, for `Redis.run`.

    Args:
        text: it has what it works on in `KEYS` and `ARGV`.
    """

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
