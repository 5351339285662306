"""The access log of a server: one line for each request of any application, ASGI middleware and mounted ones included.

This file owns who notes what, and where the lines go; `_logline` owns what is in them, `_access_format` what they look
like. The server's streams note status, bytes and times in an `Entry`, only where `Server.access` is not None: a server
without a log spends nothing.

The logger is `trivet.access`, and each field is an attribute of the record, so that a handler or a formatter of the
user's can do as it likes with them. They are harmless already.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from typing import Final

import trio
from hypercorn.config import Config

from trivet._logline import Entry
from trivet.asgi import ACCESS, ASGIApp, Message, Reason, Receive, Scope, Send

from ._access_format import formatter_of

NAME: Final = "trivet.access"


class AccessLog:
    """Writes the lines.

    How a protocol uses it, for a request that reaches an application and for one that it answers by itself:

        if server.access is not None:
            entry = server.access.begin(scope)                  # puts the entry into the scope, at ASGI's `send`
            entry.head(status, trio.current_time())             # once the head is handed over
            entry.sent += len(chunk)                            # at each chunk of body
            server.access.end(entry, "returned")                # when the request is over: what it looked like

        server.access.refused(line, client, 400, size)          # a request that no application is asked about

    Args:
        log: the logger.
    """

    __slots__ = ("_log",)

    def __init__(self, log: logging.Logger) -> None:
        self._log = log

    @classmethod
    def of(cls, config: Config) -> AccessLog | None:
        """The log that `config` asks for with `accesslog` (a file, `-` for stdout, or a logger); without it, one if the
        logger `trivet.access` is enabled for INFO, as the program that serves has configured it; else None.

        Raises:
            OSError: the file cannot be opened.
            ValueError: `access_log_format` asks for something that is not in the log.
        """
        target = config.accesslog
        if isinstance(target, str):
            log = write_to(target, vars(config).get("access_log_format", "text"))
        else:
            log = target or logging.getLogger(NAME)
        return cls(log) if log.isEnabledFor(logging.INFO) else None

    def begin(self, scope: Scope) -> Entry:
        """A request whose head is complete; its application finds the entry in the scope."""
        entry = scope[ACCESS] = Entry.of(scope, trio.current_time())
        return entry

    def end(self, entry: Entry, outcome: Reason) -> None:
        """The request is over, and looked like `outcome`; what its application says has precedence."""
        entry.write(self._log, outcome, trio.current_time())

    def refused(self, line: tuple[str, bytes, str], client: tuple[str, int] | None, status: int, size: int) -> None:
        """The server has refused a request before an application was asked.

        Args:
            line: method, path and HTTP version; each empty where it cannot be read.
            client: host and port.
            status: of the answer.
            size: of its body in bytes.
        """
        method, path, http_version = line
        now = trio.current_time()
        entry = Entry(method, path, client, http_version, now)
        entry.head(status, now)
        entry.sent = size
        entry.write(self._log, "failed", now)

    def around(self, app: ASGIApp) -> ASGIApp:
        """`app`, logged: for a protocol that knows nothing of this one (HTTP/3, which is hypercorn's)."""

        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            entry = self.begin(scope)
            outcome: Reason = "failed"

            async def noted(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.start":
                    entry.head(message["status"], trio.current_time())
                elif message["type"] == "http.response.body":
                    entry.sent += len(message.get("body", b""))
                    entry.complete = not message.get("more_body", False)

            async def heard() -> Message:
                message = await receive()
                entry.left = entry.left or message["type"] == "http.disconnect"
                return message

            try:
                await app(scope, heard, noted)
                outcome = "returned" if entry.complete else "disconnected" if entry.left else "failed"
            finally:
                if not entry.status:
                    entry.status = 500
                self.end(entry, outcome)

        return logged


def write_to(target: str, shape: str = "text") -> logging.Logger:
    """Send the access log, and nothing else, to a file, or to stdout if `target` is `-`.

    The file is opened again when it has been moved away (logrotate). Called again, the new target replaces the old.

    Args:
        target: the file.
        shape: `text`, `json`, or a format of hypercorn's, as in `%(h)s "%(r)s" %(s)s`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the shape asks for something that is not in the log.
    """
    formatter = formatter_of(shape)
    handler: logging.Handler = (
        logging.StreamHandler(sys.stdout)
        if target == "-"
        else logging.handlers.WatchedFileHandler(target, encoding="utf-8")
    )
    handler.setFormatter(formatter)
    log = logging.getLogger(NAME)
    for old in list(log.handlers):
        log.removeHandler(old)
        old.close()
    log.addHandler(handler)
    log.propagate = False
    log.disabled = False  # a logging configuration may have disabled it as one that it does not know
    log.setLevel(logging.INFO)
    return log
