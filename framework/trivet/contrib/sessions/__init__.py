"""What a browser's next request still knows: sessions in a signed cookie, or on the server behind a random one.

Names only.
"""

from ._memory import MemoryStore as MemoryStore
from ._session import Session as Session
from ._session import SessionError as SessionError
from ._session import TypedSession as TypedSession
from ._sessions import Sessions as Sessions
from ._store import SessionStore as SessionStore

__all__ = ["MemoryStore", "Session", "SessionError", "SessionStore", "Sessions", "TypedSession"]
