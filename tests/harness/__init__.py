"""What the suite is built from: servers in three ways, raw sockets, processes and golden files; names
only."""

from __future__ import annotations

from tests.harness.golden import Golden as Golden
from tests.harness.golden import normalized as normalized
from tests.harness.processes import ServerProcess as ServerProcess
from tests.harness.processes import free_port as free_port
from tests.harness.processes import run_server as run_server
from tests.harness.serving import SERVERS as SERVERS
from tests.harness.serving import Serve as Serve
from tests.harness.serving import serving as serving
from tests.harness.sockets import Peer as Peer
from tests.harness.sockets import SocketClient as SocketClient
from tests.harness.sockets import SocketExchange as SocketExchange
from tests.harness.sockets import connect as connect
from tests.harness.tools import require as require

__all__ = [
    "SERVERS",
    "Golden",
    "Peer",
    "Serve",
    "ServerProcess",
    "SocketClient",
    "SocketExchange",
    "connect",
    "free_port",
    "normalized",
    "require",
    "run_server",
    "serving",
]
