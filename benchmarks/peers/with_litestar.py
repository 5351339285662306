"""Litestar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import trio
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.di import Provide
from litestar.status_codes import HTTP_200_OK

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE, QUANTITY, SKU_MAX, UPLOAD


@dataclass
class Order:
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


async def user(session: int) -> int:
    return session + 1


async def account(user: int) -> int:
    return user + 1


@get("/hello", media_type=MediaType.TEXT)
async def hello() -> str:
    return GREETING


@get("/items/{item_id:int}")
async def item(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@get("/waits/{item_id:int}")
async def waits(item_id: int) -> dict[str, int]:
    await trio.lowlevel.checkpoint()
    return {"item_id": item_id}


@get("/profile")
async def profile() -> dict[str, Any]:
    return PROFILE


@post("/echo", status_code=HTTP_200_OK)
async def echo(data: Order) -> Order:
    return data


@post("/orders", status_code=HTTP_200_OK)
async def order(data: Checked) -> Receipt:
    return Receipt(data.sku, data.quantity * data.price)


@get(
    "/nested/{item_id:int}",
    dependencies={"session": Provide(session), "user": Provide(user), "account": Provide(account)},
)
async def nested(account: int) -> dict[str, int]:
    return {"account": account}


@get("/download")
async def download() -> Response[bytes]:
    return Response(DOWNLOAD, media_type="application/octet-stream")


# It takes ten million bytes unless told otherwise; 10 MB are a few more.
@post("/upload", status_code=HTTP_200_OK, request_max_body_size=2 * UPLOAD)
async def upload(request: Request[Any, Any, Any]) -> dict[str, int]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
    return {"received": received}


# Its default logging starts a thread of its own.
app = Litestar([hello, item, waits, profile, echo, order, nested, download, upload], logging_config=None)
