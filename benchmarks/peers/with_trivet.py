"""trivet in four ways: as it comes (a handler is cancelled when its client leaves), with `on_disconnect="finish"`, with
handlers that wait, each for one checkpoint, which the server cannot answer at once, and with metrics of it all."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import trio

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE, QUANTITY, SKU_MAX, UPLOAD
from trivet import App, Depends, Request, Response
from trivet.contrib import observe


class Order(msgspec.Struct):
    sku: str
    quantity: int
    price: float
    tags: list[str]
    gift: bool


class Checked(msgspec.Struct):
    sku: Annotated[str, msgspec.Meta(max_length=SKU_MAX)]
    quantity: Annotated[int, msgspec.Meta(ge=QUANTITY[0], le=QUANTITY[1])]
    price: float
    tags: list[str]
    gift: bool


class Receipt(msgspec.Struct):
    sku: str
    total: float


async def session(item_id: int) -> int:
    return item_id


async def user(session: Annotated[int, Depends(session)]) -> int:
    return session + 1


async def account(user: Annotated[int, Depends(user)]) -> int:
    return user + 1


def routes(app: App) -> App:
    @app.get("/hello")
    async def hello() -> str:
        return GREETING

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"item_id": item_id}

    @app.get("/waits/{item_id}")
    async def waits(item_id: int) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"item_id": item_id}

    @app.get("/profile")
    async def profile() -> dict[str, Any]:
        return PROFILE

    @app.get("/nested/{item_id}")
    async def nested(account: Annotated[int, Depends(account)]) -> dict[str, int]:
        return {"account": account}

    @app.get("/download")
    async def download() -> bytes:
        return DOWNLOAD

    return posts(app)


def posts(app: App) -> App:
    @app.post("/echo")
    async def echo(order: Order) -> Order:
        return order

    @app.post("/orders")
    async def order(order: Checked) -> Receipt:
        return Receipt(order.sku, order.quantity * order.price)

    @app.post("/upload", max_body=2 * UPLOAD)
    async def upload(request: Request) -> dict[str, int]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
        return {"received": received}

    return app


def waiting(app: App) -> App:
    @app.get("/hello")
    async def hello() -> str:
        await trio.lowlevel.checkpoint()
        return GREETING

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"item_id": item_id}

    @app.get("/profile")
    async def profile() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return PROFILE

    @app.get("/nested/{item_id}")
    async def nested(account: Annotated[int, Depends(account)]) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {"account": account}

    @app.get("/download")
    async def download() -> Response:
        await trio.lowlevel.checkpoint()
        return Response(DOWNLOAD, media_type="application/octet-stream")

    return posts(app)


app = routes(App())
finish = routes(App(on_disconnect="finish"))
waits = waiting(App())
metrics = routes(App())
metrics.mount("/observe", observe.router("metrics"))
