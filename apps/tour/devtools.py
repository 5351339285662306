"""A headless Chromium for the tests of the page, driven by the DevTools protocol over two pipes.

No driver program and no package: `--remote-debugging-pipe` takes JSON messages on descriptor 3 and answers on 4, each
ended by NUL. Only what the tests of pages need is here; the contrast of two colours is among it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # a container's root may not make one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    # Otherwise it looks up its maker's hosts at every start.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The network is off: nothing is found, names and addresses alike, but for what serves the page.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)

# Chromium wants its pipes at 3 and 4, and Popen can only leave a descriptor where it is.
LAUNCH: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """One tab.

    Args:
        commands: the pipe to the browser.
    """

    def __init__(self, commands: trio.lowlevel.FdStream) -> None:
        self.requested: list[str] = []
        """URLs that the page asked for."""
        self.problems: list[str] = []
        """Exceptions that no script caught, and what the browser refused for the page's own security policy."""
        self._commands = commands
        self._sending = trio.Lock()  # a stream takes one message at a time
        self._session: str | None = None
        self._count = 0
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol.

        Raises:
            RuntimeError: the browser refused.
            trio.TooSlowError: it did not answer within 20 seconds.
        """
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        sender, receiver = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[self._count] = sender
        with trio.fail_after(20):
            async with self._sending:
                await self._commands.send_all(json.dumps(message).encode() + b"\0")
            answer = await receiver.receive()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to `url` and wait until it is loaded."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it is.

        Raises:
            AssertionError: it threw.
        """
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def wait_for(self, expression: str, seconds: float = 10) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            AssertionError: it did not come true in time.
        """
        with trio.move_on_after(seconds):
            while not await self.evaluate(expression):  # noqa: ASYNC110 - the browser tells nobody
                await trio.sleep(0.02)
            return
        raise AssertionError(f"not true within {seconds:g} s: {expression}")

    async def set_display(self, *, width: int, height: int, scheme: str) -> None:
        """Be a screen of so many pixels whose user prefers a colour scheme, `light` or `dark`."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def screenshot(self, path: Path) -> None:
        """Save the whole page as a PNG, for a person to look at."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    async def listen(self, answers: trio.lowlevel.FdStream) -> None:
        """Take in what the browser says, until it ends."""
        buffer = b""
        async for chunk in answers:
            *messages, buffer = (buffer + chunk).split(b"\0")
            for text in messages:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers.pop(message["id"]).send_nowait(message)
            return
        params: dict[str, Any] = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        # An answer of 422 is logged as an error of the network, which is what it should be.
        elif message["method"] == "Log.entryAdded" and params["entry"]["source"] != "network":
            self.problems.append(str(params["entry"]))


@asynccontextmanager
async def browsing(chromium: str, url: str) -> AsyncGenerator[Page]:
    """Open a page in a browser of its own, which ends with the block.

    Args:
        chromium: the program.
        url: the page.
    """
    # At 10 and above, so that moving one to 3 does not close the other.
    (their_in, our_out), (our_in, their_out) = (_high(os.pipe()) for _ in range(2))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await trio.lowlevel.open_process(
            [
                sys.executable,
                "-c",
                LAUNCH,
                str(their_in),
                str(their_out),
                chromium,
                *FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(their_in, their_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        async with trio.lowlevel.FdStream(our_out) as commands, trio.lowlevel.FdStream(our_in) as answers:
            page = Page(commands)
            error: BaseException | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(page.listen, answers)
                try:
                    await page.open(url)
                    yield page
                except trio.Cancelled:
                    raise
                except BaseException as caught:  # noqa: BLE001 - raised outside the nursery, which would wrap it
                    error = caught
                finally:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()
                    nursery.cancel_scope.cancel()
        if error is not None:
            raise error


def _high(pair: tuple[int, int]) -> tuple[int, int]:
    high = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in pair)
    for fd in pair:
        os.close(fd)
    return high[0], high[1]


def palettes(stylesheet: Path) -> list[dict[str, str]]:
    """The colours of a page by name, as its `:root` rules have them: in the light scheme, and in the dark one."""
    rules = re.findall(r":root \{(.*?)\}", stylesheet.read_text("utf-8"), re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#\w+)", rule)) for rule in rules]
    if len(found) != 2:
        raise ValueError(f"{stylesheet.name} has {len(found)} palettes; it is to have one for each colour scheme")
    return found


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
