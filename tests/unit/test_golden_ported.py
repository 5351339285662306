"""What other frameworks have and trivet does not, as a user meets it beyond registration: `tests/golden/ported/`.

Each case does something that is right elsewhere; the message has the line that is right here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastapi.responses
import pytest
import starlette.responses
import trio.testing

import trivet
import trivet.errors
from tests.harness import Golden
from trivet import App, File, HTTPError, Request, Router, WebSocket
from trivet._ported import _ATTRIBUTES, explain_loop, instead_of_name
from trivet._results import to_response
from trivet.contrib.security import OAuth2Password
from trivet.contrib.static import StaticFiles
from trivet.testing import TestClient
from trivet.testing._events import Events
from trivet.testing._exchange import Exchange


async def mail() -> None: ...


def blocking_mail() -> None: ...


async def somebody() -> str:
    return "ada"


def enter(client: Any) -> None:
    with client:
        pass


class Page(starlette.responses.HTMLResponse):
    pass


oauth2 = OAuth2Password(token_url="token", scopes={"read": "to read"})
made: Any = HTTPError
app: Any = App()
tasks: Any = App().tasks

WRONG: dict[str, Callable[[], object]] = {
    "error_text_first": lambda: made("not found"),
    "error_status_code": lambda: made(status_code=404, detail="x"),
    "result_json_response": lambda: to_response(fastapi.responses.JSONResponse({}), None),
    "result_own_response": lambda: to_response(Page(""), None),
    "result_flask_order": lambda: to_response(({"a": 1}, 201), None),
    "result_flask_order_headers": lambda: to_response(({"a": 1}, 201, {"x-a": "b"}), None),
    "task_called": lambda: tasks.start_soon(mail()),
    "task_something": lambda: tasks.start_soon("mail"),
    "attribute_include_router": lambda: app.include_router,
    "attribute_overrides": lambda: app.dependency_overrides,
    "attribute_middleware": lambda: app.add_middleware,
    "attribute_unknown": lambda: app.get_items,
    "attribute_of_state": lambda: setattr(app.state, "db", 1),
    "attribute_of_state_read": lambda: app.state.db,
    "attribute_of_router": lambda: Router().api_route,  # type: ignore[attr-defined]
    "with_test_client": lambda: enter(TestClient(app)),
    "with_exchange": lambda: enter(object.__new__(Exchange)),
    "with_websocket": lambda: enter(TestClient(app).websocket("/")),
    "with_events": lambda: enter(object.__new__(Events)),
    "name_path": lambda: exec("from trivet import Path"),
    "name_of_errors": lambda: exec("from trivet import RegistrationError"),
    "name_json_response": lambda: exec("from trivet import JSONResponse"),
    "name_as_attribute": lambda: trivet.HTTPException,  # type: ignore[attr-defined]
    "name_unknown": lambda: trivet.Item,  # type: ignore[attr-defined]
    "requires_without_scopes": lambda: oauth2.requires(somebody, "read"),  # type: ignore[type-var]
}


@pytest.mark.parametrize("name", WRONG)
def test_the_message_has_the_remedy(name: str, golden: Golden) -> None:
    """What is written as elsewhere fails at its line with exactly this message."""
    with pytest.raises((TypeError, AttributeError, ImportError, trivet.errors.TrivetError)) as caught:
        WRONG[name]()
    golden(f"ported/{name}", f"{type(caught.value).__name__}: {caught.value}")


class NoSuchItem(HTTPError):
    def __init__(self, *, status_code: int) -> None:
        super().__init__(404, "no such item", status_code=status_code)


def test_errors_of_ones_own_take_what_they_like() -> None:
    """A class derived from HTTPError has arguments of its own, whatever Starlette calls them."""
    assert NoSuchItem(status_code=7).members == {"status_code": 7}
    assert HTTPError(404, "x", status_code=7).members == {"status_code": 7}
    assert HTTPError(status=404, detail="x").status == 404


def test_a_name_that_nobody_has_is_no_import_error() -> None:
    """`hasattr` and the import of submodules see an ordinary module."""
    assert not hasattr(trivet, "Item")
    assert not hasattr(trivet, "Path")
    assert getattr(App(), "get_items", None) is None


@pytest.mark.parametrize("ours", sorted(trivet.__all__))
def test_what_there_is_has_no_remedy(ours: str) -> None:
    """No word of the tables takes the place of something that trivet has."""
    assert instead_of_name(ours) == ""


@pytest.mark.parametrize("name", sorted(_ATTRIBUTES))
def test_no_attribute_of_an_application_is_in_the_table(name: str) -> None:
    """The table names only what is missing, or its words would never be seen."""
    assert not hasattr(App(), name)


async def test_asyncio_in_a_handler_is_explained_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log of the 500 says that this is Trio, and what stands for the call."""
    served = App()

    @served.get("/")
    async def sleepy() -> None:
        await asyncio.sleep(1)

    async with TestClient(served) as client:
        assert (await client.get("/")).status_code == 500
    assert "trio.sleep(...) stands for asyncio.sleep(...)" in caplog.text
    assert "no running event loop" in caplog.text


def test_only_what_asyncio_says_is_explained() -> None:
    """Other errors are left as they are, and one that is logged twice is explained once."""
    other, asked = RuntimeError("no such room"), RuntimeError("no running event loop")
    for error in (other, asked, asked):
        explain_loop(error)
    assert not hasattr(other, "__notes__")
    assert len(asked.__notes__) == 1


async def test_a_background_task_that_is_no_async_function_is_explained(
    caplog: pytest.LogCaptureFixture, golden: Golden
) -> None:
    """It has run by then, and the log says how it should have been started."""
    served: Any = App()
    async with TestClient(served):
        served.tasks.start_soon(blocking_mail)
        await trio.testing.wait_all_tasks_blocked()
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    golden("ported/task_blocking", f"{record.getMessage()}\n{record.exc_info[1]}")


async def test_a_get_where_only_a_websocket_is_says_so() -> None:
    """404 as ever, and the detail tells what there is."""
    served = App()

    @served.websocket("/rooms/{name}")
    async def room(ws: WebSocket, name: str) -> None: ...

    async with TestClient(served) as client:
        found, nothing = await client.get("/rooms/tea"), await client.get("/tea")
    assert (found.status_code, found.json()["detail"]) == (404, "there is a WebSocket at this path, and nothing else")
    assert (nothing.status_code, nothing.json()["detail"]) == (404, "there is nothing at this path")


async def test_a_file_that_is_not_there_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The log has the directory in which a relative path was looked for; a client cannot fill it by asking again."""
    monkeypatch.setattr("trivet._file._told", set())
    served = App()

    @served.get("/{name}")
    async def file(request: Request, name: str) -> File:
        return File(name)

    served.mount("/static", StaticFiles(tmp_path))
    async with TestClient(served) as client:
        assert (await client.get("/static/nope.txt")).status_code == 404  # of that directory clients ask what they like
        for number in range(2):
            for name in range(12):
                assert (await client.get(f"/{name}.txt")).status_code == 404, number
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(told) == 10
    assert "<File 200, '0.txt'> is a 404" in told[0]
    assert "looked for in the working directory, '" in told[0]
