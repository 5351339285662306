"""Each documented status is one that a request can get: for every operation there is a request that gets it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
import trio
from openapi_spec_validator import OpenAPIV31SpecValidator
from trio.testing import MockClock

from tests.openapi.everything import app
from trivet import App, Depends
from trivet.testing import TestClient

USER = {"authorization": "Bearer user"}
ADMIN = {"authorization": "Bearer admin"}
JSON = {"content-type": "application/json"}
MSGPACK = {"content-type": "application/msgpack"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
LARGE = b" " * (2 * 1024 * 1024 + 1)
ITEM = {"name": "pen"}

# Method, path and arguments of a request, and the status that it gets.
REQUESTS: list[tuple[int, str, str, dict[str, Any]]] = [
    (200, "GET", "/items", {}),
    (400, "GET", "/items?text=%zz", {}),
    (422, "GET", "/items?limit=101", {}),
    (200, "GET", "/items/7", {}),
    (204, "GET", "/items/700", {}),
    (404, "GET", "/items/x", {}),
    (405, "GET", "/items/0", {}),
    (201, "POST", "/items", {"json": ITEM, "headers": USER}),
    (400, "POST", "/items", {"content": b"{", "headers": USER | JSON}),
    (401, "POST", "/items", {"json": ITEM}),
    (409, "POST", "/items", {"json": {"name": "taken"}, "headers": USER}),
    (413, "POST", "/items", {"content": LARGE, "headers": USER | JSON}),
    (415, "POST", "/items", {"content": b"{}", "headers": USER}),
    (422, "POST", "/items", {"json": {"name": ""}, "headers": USER}),
    (204, "DELETE", "/items/7", {"headers": ADMIN}),
    (401, "DELETE", "/items/7", {}),
    (403, "DELETE", "/items/7", {"headers": USER}),
    (404, "DELETE", "/items/x", {}),
    (200, "PUT", "/items/7", {"json": ITEM}),
    (201, "PUT", "/items/70", {"json": ITEM}),
    (400, "PUT", "/items/7", {"content": b"{", "headers": JSON}),
    (404, "PUT", "/items/x", {"json": ITEM}),
    (413, "PUT", "/items/7", {"content": LARGE, "headers": JSON}),
    (415, "PUT", "/items/7", {"content": b"{}"}),
    (422, "PUT", "/items/7", {"json": {}}),
    (200, "GET", "/range?low=1", {}),
    (400, "GET", "/range?low=%", {}),
    (422, "GET", "/range?low=x", {}),
    (200, "GET", "/heads", {"headers": {"x-name": "a"}}),
    (422, "GET", "/heads", {}),
    (200, "GET", "/free", {}),
    (200, "GET", "/by-version/v1", {}),
    (400, "GET", "/by-version/v1?kind=%", {}),
    (404, "GET", "/by-version/1", {}),
    (422, "GET", "/by-version/v1?kind=c", {}),
    (200, "GET", "/files/a/b", {}),
    (200, "GET", "/page", {}),
    (303, "GET", "/there", {}),
    (200, "GET", "/either", {}),
    (400, "GET", "/either?text=%", {}),
    (422, "GET", "/either?text=1", {}),
    (200, "GET", "/many", {}),
    (200, "POST", "/many", {}),
    (200, "HEAD", "/many", {}),
    (200, "GET", "/by/7", {}),
    (204, "DELETE", "/by/7", {}),
    (200, "GET", "/team/ada", {}),
    (200, "GET", "/admin/", {}),
    (200, "POST", "/orders", {"json": {"note": ""}}),
    (200, "POST", "/raw", {"content": b"x"}),
    (415, "POST", "/raw", {"content": b"x", "headers": {"content-encoding": "br"}}),
]
BODIES: list[tuple[str, Any, Any]] = [
    ("/orders", {"note": "a"}, {"note": 1}),
    ("/points", [{"x": 1, "y": 2}], [1]),
    ("/count", 1, ""),
]
for path, good, bad in BODIES:
    REQUESTS += [
        (200, "POST", path, {"json": good}),
        (200, "POST", path, {"content": msgspec.msgpack.encode(good), "headers": MSGPACK}),
        (400, "POST", path, {"content": b"{", "headers": JSON}),
        (413, "POST", path, {"content": LARGE, "headers": JSON}),
        (415, "POST", path, {"content": b"{}", "headers": {"content-type": "text/csv"}}),
        (422, "POST", path, {"json": bad}),
    ]
REQUESTS += [
    (200, "POST", "/profile", {"data": {"nick": "ada"}}),
    (400, "POST", "/profile", {"content": b"nick=%zz", "headers": FORM}),
    (413, "POST", "/profile", {"content": b"nick=a&" * 1001, "headers": FORM}),
    (415, "POST", "/profile", {"json": {}}),
    (422, "POST", "/profile", {"data": {"age": "1"}}),
    (200, "POST", "/photos", {"data": {"title": "a"}, "files": {"photo": b"x"}}),
    (400, "POST", "/photos", {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}),
    (413, "POST", "/photos", {"data": {"title": LARGE.decode()}, "files": {"photo": b"x"}}),
    (415, "POST", "/photos", {"json": {}}),
    (422, "POST", "/photos", {"data": {"title": "a"}, "files": {"other": b"x"}}),
]  # fmt: skip

# What the application says of all its routes, or of a router's, and never raises; and the handler's own choice.
ITS_OWN = {"418", "410", "default"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def documented_at(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The operation that documents a request."""
    found: list[tuple[str, dict[str, Any]]] = []
    for template, verb, operation in operations():
        tail = ".+" if template == "/files/{rest}" else "[^/]+"
        pattern = re.sub(r"\\\{\w+\\\}", tail, re.escape(template))
        if verb == method and re.fullmatch(pattern, path.partition("?")[0]):
            found.append((template, operation))
    (only,) = found
    return only


@pytest.mark.parametrize(("status", "method", "path", "arguments"), REQUESTS)
async def test_a_status_is_documented(status: int, method: str, path: str, arguments: dict[str, Any]) -> None:
    """What a request gets is in the document: status, content type and schema."""
    async with TestClient(app, follow_redirects=False) as client:
        response = await client.request(method, path, **arguments)
    assert response.status_code == status
    _, operation = documented_at(method, path)
    responses = operation["responses"]
    documented = responses.get(str(status)) or responses.get(f"{status // 100}XX") or responses["default"]
    if response.content and "content" in documented:
        kind = response.headers["content-type"].partition(";")[0]
        content = documented["content"].get(kind) or documented["content"]["*/*"]
        if kind.endswith("json"):
            check(content["schema"], response.json())


def check(schema: dict[str, Any], value: Any) -> None:
    """Fail unless `value` is what `schema` says."""
    whole = {**schema, "components": app.openapi()["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_every_documented_status_has_a_request() -> None:
    """Nothing is documented that no request gets; slow ones have tests of their own."""
    asked = {(documented_at(method, path)[0], method, str(status)) for status, method, path, _ in REQUESTS}
    missing = [
        (path, method, status)
        for path, method, operation in operations()
        for status in operation["responses"]
        if status not in ITS_OWN | {"408", "503", "3XX"} and (path, method, status) not in asked
    ]
    assert missing == []


async def test_a_slow_body_and_a_slow_dependency(autojump_clock: MockClock) -> None:
    """408 is where a body is read, 503 where there is a timeout."""

    async def slow() -> None:
        await trio.sleep(60)

    inner = App(timeout=5)

    @inner.post("/body")
    async def body(item: dict[str, int]) -> None: ...

    @inner.get("/slow", dependencies=[Depends(slow)])
    async def wait() -> None: ...

    paths = inner.openapi()["paths"]
    assert "408" in paths["/body"]["post"]["responses"]
    assert "408" not in paths["/slow"]["get"]["responses"]
    async with TestClient(inner) as client:
        assert (await client.get("/slow")).status_code == 503
        async with client.open("POST", "/body", headers=JSON, upload=True) as exchange:
            assert (await exchange.head())[0] == 408
    assert "503" in paths["/slow"]["get"]["responses"]
    assert list(OpenAPIV31SpecValidator(inner.openapi()).iter_errors()) == []
