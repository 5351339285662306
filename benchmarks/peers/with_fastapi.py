"""FastAPI, with return annotations: they choose its faster, typed way to JSON."""

from __future__ import annotations

from typing import Annotated, Any

import trio
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from benchmarks.cases import DOWNLOAD, GREETING, PROFILE, QUANTITY, SKU_MAX

app = FastAPI()


class Order(BaseModel):
    sku: str
    quantity: int
    price: float
    tags: list[str]
    gift: bool


class Checked(BaseModel):
    sku: Annotated[str, Field(max_length=SKU_MAX)]
    quantity: Annotated[int, Field(ge=QUANTITY[0], le=QUANTITY[1])]
    price: float
    tags: list[str]
    gift: bool


class Receipt(BaseModel):
    sku: str
    total: float


async def session(item_id: int) -> int:
    return item_id


async def user(session: Annotated[int, Depends(session)]) -> int:
    return session + 1


async def account(user: Annotated[int, Depends(user)]) -> int:
    return user + 1


@app.get("/hello", response_class=PlainTextResponse)
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


@app.post("/echo")
async def echo(order: Order) -> Order:
    return order


@app.post("/orders")
async def order(order: Checked) -> Receipt:
    return Receipt(sku=order.sku, total=order.quantity * order.price)


@app.get("/nested/{item_id}")
async def nested(account: Annotated[int, Depends(account)]) -> dict[str, int]:
    return {"account": account}


@app.get("/download")
async def download() -> Response:
    return Response(DOWNLOAD, media_type="application/octet-stream")


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
    return {"received": received}
