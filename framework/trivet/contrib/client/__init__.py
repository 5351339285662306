"""Calls to other services within the deadline of the request that makes them: an httpx client on Trio.

Names only. Needs httpx: `pip install 'trivet[client]'`.
"""

try:
    import httpx as _httpx
except ImportError as error:
    raise ImportError('trivet.contrib.client needs httpx:  pip install "trivet[client]"') from error

from ._client import Client as Client
from ._deadline import DeadlineExceeded as DeadlineExceeded
from ._retry import Retry as Retry
from ._trace import Trace as Trace
from ._trace import traced as traced

__all__ = ["Client", "DeadlineExceeded", "Retry", "Trace", "traced"]

del _httpx
