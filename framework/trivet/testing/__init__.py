"""Testing applications inside Trio: names only.

`TestClient` serves an application in memory; see `docs/` for what it promises. Needs httpx:
`pip install 'trivet[test]'`.
"""

from __future__ import annotations

try:
    import httpx as _httpx
except ImportError as error:
    raise ImportError('trivet.testing needs httpx:  pip install "trivet[test]"') from error

from ._client import TestClient as TestClient
from ._events import Events as Events
from ._exchange import Exchange as Exchange
from ._leaks import TaskLeak as TaskLeak
from ._lifespan import LifespanFailed as LifespanFailed
from ._rules import ProtocolViolation as ProtocolViolation
from ._socket import TestWebSocket as TestWebSocket
from ._socket import WebSocketRefused as WebSocketRefused

__all__ = [
    "Events",
    "Exchange",
    "LifespanFailed",
    "ProtocolViolation",
    "TaskLeak",
    "TestClient",
    "TestWebSocket",
    "WebSocketRefused",
]

del _httpx
