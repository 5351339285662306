"""What a browser's next request still knows: sessions in a signed cookie, or on the server behind a random one.

Names only.
"""

from ._memory import MemoryStore as MemoryStore
from ._store import SessionStore as SessionStore

__all__ = ["MemoryStore", "SessionStore"]
