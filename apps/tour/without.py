"""The same handlers without structured concurrency, as they are written with care on asyncio; the tour shows both.

This file owns the other half of each comparison. It is FastAPI's, because that is what most readers know, and it runs,
`uvicorn apps.tour.without:app`, so that what the tour says of it can be tried: it is no straw man. What it leaves out
is what the tour is about, and a comment says so there.
"""

# ruff: noqa: D103 - what there is to say stands beside them on the page

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Annotated, Final

import httpx
from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

app = FastAPI()

log: Final[list[str]] = []
"""What happened to those whom nobody waits for, for the tests."""


@app.get("/hello/{name}")
async def hello(name: str, excited: bool = False) -> PlainTextResponse:
    return PlainTextResponse(f"Hello, {name}{'!' if excited else '.'}")


@app.get("/sleep")
async def sleep(request: Request, seconds: float) -> Response:
    sleeper = asyncio.create_task(asyncio.sleep(seconds))
    leaver = asyncio.create_task(left(request))
    try:
        await asyncio.wait({sleeper, leaver}, timeout=70, return_when=asyncio.FIRST_COMPLETED)
        finished = sleeper.done()
    finally:
        for task in (sleeper, leaver):
            task.cancel()
        await asyncio.gather(sleeper, leaver, return_exceptions=True)
    log.append("finished" if finished else "stopped")
    return PlainTextResponse(f"slept for {seconds} seconds\n", 200 if finished else 503)


async def left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@app.get("/counter")
async def index(url: str) -> PlainTextResponse:
    # For each step: one that drips a byte a second passes them all. And who leaves is still counted.
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        try:
            (await client.post(url)).raise_for_status()
        except httpx.HTTPError:
            return PlainTextResponse("Error registering your visit")
    return PlainTextResponse("Welcome to my site!")


@app.get("/page")
async def page(request: Request) -> list[str]:
    # The first that fails is raised here; the others go on, and nobody will read what they find.
    return await asyncio.gather(*(section(name) for name in request.query_params.getlist("section")))


async def section(name: str) -> str:
    await asyncio.sleep(float(name.rstrip("!")))
    log.append(f"section {name}")
    if name.endswith("!"):
        raise OSError(name)
    return name


@app.get("/gateway")
async def forward(request: Request, url: str) -> Response:
    # No body: whoever listens for the client reads it away.
    ask = client.build_request("GET", url)
    asking = asyncio.create_task(client.send(ask, stream=True))
    leaver = asyncio.create_task(left(request))
    try:
        await asyncio.wait({asking, leaver}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            return Response(status_code=504)  # it was late, or nobody is there
        answer = asking.result()
    finally:
        for task in (asking, leaver):
            task.cancel()
        await asyncio.gather(asking, leaver, return_exceptions=True)

    async def body() -> AsyncGenerator[bytes]:
        try:
            async for part in answer.aiter_raw():
                yield part
        finally:
            await answer.aclose()  # unless nobody asks for a first part

    return StreamingResponse(body(), answer.status_code)


client: Final = httpx.AsyncClient(timeout=30, trust_env=False)


@app.post("/uploads")
async def receive(request: Request) -> int:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - what closes it is below
    try:
        async for piece in request.stream():
            await asyncio.to_thread(file.write, piece)  # cancelled, this returns while the thread still writes
        return file.tell()
    finally:
        # A second cancellation, from a timeout or a server that stops, leaves this at its first await.
        await asyncio.shield(asyncio.to_thread(file.close))


jobs: Final[set[asyncio.Task[None]]] = set()


@app.get("/jobs")
async def watch(request: Request, seconds: float) -> StreamingResponse:
    changes = asyncio.Queue[str](1)
    job = asyncio.create_task(work(seconds, changes))
    jobs.add(job)  # or the garbage collector may have it
    job.add_done_callback(jobs.discard)

    async def events() -> AsyncGenerator[str]:
        try:
            while (change := await changes.get()) != "done":
                yield f"data: {change}\n\n"
        finally:
            job.cancel()  # when the generator is closed: at the next garbage collection, perhaps

    return StreamingResponse(events(), media_type="text/event-stream")


async def work(seconds: float, changes: asyncio.Queue[str]) -> None:
    for done in range(10):
        await changes.put(f"{done * 10} %")
        await asyncio.sleep(seconds / 10)
    await changes.put("done")


@app.websocket("/chat")
async def chat(ws: WebSocket) -> None:
    await ws.accept()
    news = asyncio.Queue[str](100)
    tasks = {asyncio.create_task(each(ws, news)) for each in FOUR}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()  # or its error is gone; those of the other three are


async def read(ws: WebSocket, news: asyncio.Queue[str]) -> None:
    async for text in ws.iter_text():
        await news.put(text)


async def write(ws: WebSocket, news: asyncio.Queue[str]) -> None:
    while True:
        await ws.send_text(await news.get())


async def beat(ws: WebSocket, news: asyncio.Queue[str]) -> None:
    while True:
        await asyncio.sleep(20)
        await ws.send_text("beat")


FOUR: Final[tuple[Callable[[WebSocket, asyncio.Queue[str]], Coroutine[None, None, None]], ...]] = (read, write, beat)


@app.get("/serve")
async def serve(port: int, seconds: float) -> int:
    clients: dict[asyncio.Task[None], asyncio.StreamReader] = {}

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(echo(reader, writer))
        clients[task] = reader  # nobody else knows them
        task.add_done_callback(clients.pop)

    server = await asyncio.start_server(run, "127.0.0.1", port)
    await asyncio.sleep(seconds)
    server.close()
    for reader in clients.values():  # without those who were let in, and have not begun
        reader.feed_eof()
    if there := set(clients):
        _, late = await asyncio.wait(there, timeout=5)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return len(there)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    finally:
        writer.close()


async def transaction() -> AsyncGenerator[list[str]]:
    changes: list[str] = []
    yield changes
    # The response is out by now. If this fails, the client has been told that it did not.
    await commit(changes)


async def commit(changes: list[str]) -> None:
    if "" in changes:
        raise OSError("a title is missing")


@app.put("/notes")
async def change_note(title: str, tx: Annotated[list[str], Depends(transaction)]) -> None:
    tx.append(title)


@app.get("/log")
async def read_log() -> list[str]:
    return log
