"""How often each client may ask: a token bucket as a dependency, with `RateLimit` and `Retry-After` in the answer.

Names only.
"""

from ._backend import Backend as Backend
from ._client import ClientAddress as ClientAddress
from ._gcra import Decision as Decision
from ._gcra import Quota as Quota
from ._gcra import take as take
from ._limit import RateLimit as RateLimit
from ._memory import MemoryBackend as MemoryBackend

__all__ = ["Backend", "ClientAddress", "Decision", "MemoryBackend", "Quota", "RateLimit", "take"]
