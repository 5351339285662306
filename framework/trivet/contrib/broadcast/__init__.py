"""Messages from one to many: topics, subscribers that may be slow, history to resume from, and who is there.

Names only.
"""

from ._backend import Backend as Backend
from ._backend import Hub as Hub
from ._backend import Kept as Kept
from ._broadcast import Broadcast as Broadcast
from ._memory import MemoryBackend as MemoryBackend
from ._message import Joined as Joined
from ._message import Left as Left
from ._message import Member as Member
from ._message import Message as Message
from ._message import Present as Present
from ._subscription import Counters as Counters
from ._subscription import Slow as Slow
from ._subscription import SlowSubscriber as SlowSubscriber
from ._subscription import Subscription as Subscription

__all__ = [
    "Backend",
    "Broadcast",
    "Counters",
    "Hub",
    "Joined",
    "Kept",
    "Left",
    "Member",
    "MemoryBackend",
    "Message",
    "Present",
    "Slow",
    "SlowSubscriber",
    "Subscription",
]
