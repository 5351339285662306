"""The server: who is let in, what runs beside the clients, and how all of it ends.

This file owns the tasks. They are a tree, and that is the whole shutdown: leave the inner nursery and the clients are
gone, leave the outer one and so is what they needed.

    keep                    writes what changes, if there is a log
    serve ---- expiry       deletes what has expired
          `--- clients ---- accept, and one task for each

`keep` is a task of its own, for clients are not all who change something: it has to run until the last of those over
HTTP has gone, too, who may have longer.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import Final, Protocol

import trio

from .connection import Connection
from .engine import Engine
from .journal import Journal
from .settings import Settings, Unusable

log = logging.getLogger("apps.mini_redis")

BACKLOG: Final = 511
"""Connections that the kernel keeps for us, as redis-server has it."""

PURGE: Final = 1000
"""Keys that are deleted in one go, before others have their turn."""

NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Draining(Protocol):
    """An event: a `trio.Event`, or an application's `draining`."""

    async def wait(self) -> object:
        """Until it is time to go."""


class Server:
    """Serves an engine over TCP.

    Args:
        engine: what there is; its handlers over HTTP use it as well.
        settings: how.
        journal: where changes are kept.

    Attributes:
        connections: those that are open.
        port: where it listens, once it does.
    """

    def __init__(self, engine: Engine, settings: Settings, journal: Journal | None = None) -> None:
        self.engine = engine
        self._settings = settings
        self._journal = journal
        self._earlier = trio.Event()
        self.connections: set[Connection] = set()
        self.port = settings.port

    async def serve(self, draining: Draining, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `draining`, then let clients have the replies to what they asked; no longer than `drain` seconds.

        Raises:
            Unusable: it cannot listen there.

        Cancellation: clients are cut off.
        """
        with self._listen() as listener:
            self.port = listener.getsockname()[1]
            self.engine.config[b"port"] = b"%d" % self.port
            log.info("RESP is spoken on %s", self._settings.address(self.port))
            async with trio.open_nursery() as beside:
                beside.start_soon(self._expire)
                async with trio.open_nursery() as clients:
                    clients.start_soon(self._accept, listener, clients)
                    task_status.started(self.port)
                    await draining.wait()
                    self._accepting.cancel()
                    clients.cancel_scope.deadline = trio.current_time() + self._settings.drain
                    for connection in list(self.connections):
                        connection.drain()
                beside.cancel_scope.cancel()

    async def keep(self) -> None:
        """Write the log, if there is one; the body of a task that is to outlive all who change something.

        Raises:
            Unusable: it cannot be written.
        """
        if self._journal is not None:
            await self._journal.run()

    async def settled(self) -> None:
        """Wait until all that has changed is as safe as was promised; for who uses the engine himself.

        Raises:
            NotKept: it cannot be written.
        """
        if self._journal is not None and not self._journal.kept():
            await self._journal.committed()

    def _listen(self) -> socket.socket:
        address = (self._settings.host, self._settings.port)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            listener = socket.create_server(address, family=family, backlog=BACKLOG)
        except OSError as error:
            raise Unusable(_cannot_listen(self._settings, error)) from None
        listener.setblocking(False)
        return listener

    async def _accept(self, listener: socket.socket, clients: trio.Nursery) -> None:
        """Let clients in. A place is taken first: who finds none, waits in the kernel's queue, which costs nothing.

        tokio's twin gives a permit to the task, which drops it. Here the task's `finally` gives the place back.
        """
        places = trio.Semaphore(self._settings.connections)
        with trio.CancelScope() as self._accepting:
            while True:
                await places.acquire()
                self._begin(await self._next(listener), clients, places)
        listener.close()  # who comes during the drain is refused at once, and can go elsewhere

    def _begin(self, sock: socket.socket, clients: trio.Nursery, places: trio.Semaphore) -> None:
        # Not in the loop above: a variable there would have the connection until the next one comes.
        connection = Connection(self.engine, sock, self._settings, self._journal)
        self.connections.add(connection)  # now, not when its task runs: the drain may come between
        clients.start_soon(self._run, connection, places)

    async def _next(self, listener: socket.socket) -> socket.socket:
        pause = 0.05
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                self.engine.counted.refused += 1
                if error.errno not in NO_ROOM:
                    continue  # the client has gone before it was there
                log.warning("cannot accept: %s; trying again in %.2f s", error, pause)
                await trio.sleep(pause)
                pause = min(2 * pause, 2.0)
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock

    async def _run(self, connection: Connection, places: trio.Semaphore) -> None:
        try:
            await connection.run()
        except Exception:
            log.exception("a connection failed; the others go on")
        finally:
            self.connections.discard(connection)
            places.release()

    async def _expire(self) -> None:
        """Delete what has expired. Reads do not rely on it, they look for themselves; it is for what nobody reads."""
        self.engine.when_earlier(self._wake)
        while True:
            self._earlier = trio.Event()
            ends = [end for store in self.engine.stores if (end := store.next_end()) is not None]
            wait = (min(ends) - self.engine.clock()) / 1000 if ends else 3600.0
            with trio.move_on_after(max(0.0, wait)):
                await self._earlier.wait()
            for store in self.engine.stores:
                full = True
                while full:
                    full = store.purge(PURGE) == PURGE
                    await trio.lowlevel.checkpoint()
            # Several keys that end within a moment are one turn; and a clock that was set back is looked at again.
            await trio.sleep(0.01)

    def _wake(self) -> None:
        self._earlier.set()


def _cannot_listen(settings: Settings, error: OSError) -> str:
    reason = str(error.strerror).partition(" (while attempting")[0]  # where, is said in front
    said = f"MINI_REDIS_BIND={settings.address(settings.port)} cannot be listened on: {reason}.\n"
    if error.errno == errno.EADDRINUSE:
        other = settings.address(settings.port % 65535 + 1)
        return f"{said}Something listens there, perhaps this server, started before; choose  MINI_REDIS_BIND={other}"
    return f"{said}Write an address of this machine and a port from 1024 on, as in  MINI_REDIS_BIND=127.0.0.1:6380"
