"""`trivet routes`, `trivet check` and `trivet openapi`: what they print, and their exit status."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Golden
from trivet.cli import main

Module = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Write a module into an empty working directory; returns its name, which no other test uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(text: str, name: str = "cli_example") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = """
from trivet import App, Limit, Router

app = App(timeout=5)
router = Router(on_disconnect="cancel", limit=Limit(20, queue=50, name="all"))

@app.get("/")
async def index() -> str:
    return ""

@app.route("/items/{id}", methods=["GET", "DELETE"], timeout=None)
async def item(id: int) -> None: ...

@router.post("/new", timeout=2.5, limit=Limit.adaptive(0.5))
async def create() -> None: ...

app.mount("/api", router)

async def other(scope, receive, send): ...

app.mount("/old", other)
"""


def test_routes_looks_into_mounted_trivet_applications(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """A mounted App is no black box: its routes stand below its prefix, with options of its own."""
    inner = "inner = App(timeout=7)\ninner.get('/here')(lambda: None)\ninner.mount('/old', other)\n"
    text = GOOD + inner + "outer = App()\nouter.mount('/in', inner)\n"
    assert main(["routes", f"{module(text)}:outer"]) == 0
    _, here, old = capsys.readouterr().out.splitlines()
    assert here.split()[:2] == ["GET,HEAD", "/in/here"]
    assert "7 s" in here
    assert old.split()[:2] == ["*", "/in/old/..."]


SOCKETS = """
from trivet import App, WebSocket

app, inner = App(), App()

@app.websocket("/rooms/{name}", timeout=5)
async def room(ws: WebSocket, name: str) -> None: ...

@inner.websocket("/in", on_disconnect="cancel", on_drain="finish")
async def other(ws: WebSocket) -> None: ...

app.mount("/mounted", inner)
"""


def test_routes_lists_websockets(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """After the routes of their application, mounted ones below their prefix, and what is mounted only once."""
    assert main(["routes", module(SOCKETS)]) == 0
    rows = [line.split()[:2] + line.split()[-2:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["WEBSOCKET", "/mounted/in", "cancel", "finish"],
        ["WEBSOCKET", "/rooms/{name}", "grace", "cancel"],
    ]


def test_check_finds_a_websocket_that_cannot_be_reached(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """One whose path others take; a route for requests does not count."""
    more = (
        "from typing import Literal\n"
        "async def one(ws: WebSocket, n: Literal['a', 'b']) -> None: ...\n"
        "async def two(ws: WebSocket) -> None: ...\n"
        "app.websocket('/x/{n}')(one)\napp.websocket('/x/a')(two)\n"
    )
    assert main(["check", module(SOCKETS + more)]) == 0
    assert main(["check", module(SOCKETS + more + "app.websocket('/x/b')(two)\n", "cli_more")]) == 1
    assert "no request can reach /x/{n}" in capsys.readouterr().out


def test_routes_prints_a_table(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """Method, path, handler, place, timeout, limits and disconnect policy, as requests meet them."""
    assert main(["routes", module(GOOD)]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    table = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert table == [
        ["METHODS", "PATH", "HANDLER", "WHERE", "TIMEOUT", "LIMIT", "ON DISCONNECT", "ON DRAIN"],
        ["GET,HEAD", "/", "index", "cli_example.py:7", "5 s", "-", "cancel", "-"],
        [
            "DELETE,GET,HEAD", "/items/{id}", "item", "cli_example.py:11", "none", "-",
            "DELETE: finish, GET: cancel, HEAD: cancel", "-",
        ],
        ["POST", "/api/new", "create", "cli_example.py:14", "2.5 s", "all: 20, queue 50 > adaptive", "cancel", "-"],
        ["*", "/old/...", "other", "cli_example.py:21", *["its own"] * 4],
    ]  # fmt: skip


def test_check_is_content_with_what_is_right(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, and it says so."""
    assert main(["check", module(GOOD) + ":app"]) == 0
    assert capsys.readouterr().out == "cli_example:app: no faults\n"


BAD = """
from __future__ import annotations
from typing import TYPE_CHECKING, Literal
from trivet import App, Router, Depends

if TYPE_CHECKING:
    from somewhere import Model

app, router = App(), Router()

@app.get("/a/{x}")
async def first(x: str) -> None: ...

@app.get("/{y}/b")
async def conflicting(y: str) -> None: ...

@app.post("/m")
async def unresolved(model: Model) -> None: ...

@app.get("/two")
async def two(a: dict[str, int], b: dict[str, int]) -> None: ...

@app.get("/three")
async def generator():
    yield 1

@app.get("/four", timeot=5)
async def option() -> None: ...

@router.get("/a/one")
async def fine() -> None: ...

@router.get("/a/{z}")
async def again(z: str) -> None: ...

@router.get("/broken/{")
async def broken() -> None: ...

app.mount("", router)

@router.get("/late/{q}")
async def late() -> None: ...

@app.get("/shadowed/{kind}")
async def shadowed(kind: Literal["a", "b"]) -> None: ...

@app.get("/shadowed/a")
async def a() -> None: ...

@app.get("/shadowed/b")
async def b() -> None: ...

@app.middleware
def not_middleware(request): ...

@app.catch(404)
def not_catcher(request, exc): ...
"""


def test_check_reports_every_fault_at_once(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """Conflicts, signatures, annotations, options, mounted routes and what cannot be reached, numbered; exit 1."""
    assert main(["check", module(BAD)]) == 1
    out = capsys.readouterr().out
    expected = [
        "two routes take the same request",  # conflicting
        "the annotation 'Model' cannot be resolved",
        "two parameters want the body",
        "a handler cannot be a generator",
        "unknown option 'timeot'",
        "two routes take the same request",  # again, at the mount
        "'{' without '}'",  # broken, at the mount
        "{q}, which the handler does not take",  # late, by way of the router
        "this is not a middleware",
        "this is not a catcher",
        "no request can reach /shadowed/{kind}",
    ]
    position = 0
    for number, text in enumerate(expected, 1):
        position = out.index(f"{number}. ", position)
        assert text in out[position : out.find(f"\n{number + 1}. ", position)]
    assert out.rstrip().endswith(f"cli_example: {len(expected)} faults")
    # Each says where.
    assert out.count("cli_example.py:") >= len(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from trivet import App\napp = App(timeout=0)\n", "timeout=0 is not a number of seconds"),
        ("raise KeyError('at import')\n", "importing it raised KeyError: 'at import'"),
        ("app = (\n", "importing it raised SyntaxError"),
        (
            "from trivet import App\napp = App()\n@app.get('/', x=1)\nasync def f(): ...\nraise ValueError('later')\n",
            "unknown option 'x'",
        ),
    ],
)
def test_check_reports_what_stops_the_import(
    module: Module, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be collected ends the report, with what was found before it; exit 1."""
    assert main(["check", module(text)]) == 1
    assert message in capsys.readouterr().out


def test_check_leaves_nothing_behind(module: Module) -> None:
    """Collecting ends with the command: the next wrong registration raises again."""
    from trivet import App
    from trivet.errors import RegistrationError

    main(["check", module(BAD)])
    with pytest.raises(RegistrationError):

        @App().get("/{x}")
        async def handler() -> None: ...


@pytest.mark.parametrize("command", ["check", "routes", "openapi"])
@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        ("", "no_such_module", "there is no module 'no_such_module'"),
        ("", "cli_exampel", "Did you mean  cli_example:app"),
        ("from trivet import App\napplication = App()\n", "cli_example", "Did you mean  cli_example:application"),
        ("def app(scope, receive, send): ...\n", "cli_example", "not a trivet App"),
        ("app = 5\n", "cli_example", "is no application"),
    ],
)
def test_what_is_no_application_is_explained(
    module: Module, command: str, text: str, reference: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with the likely meaning; exit 1."""
    module(text)
    assert main([command, reference]) == 1
    assert message in capsys.readouterr().err


def test_openapi_prints_the_document(module: Module, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As JSON, on standard output or into a file, on one line or on many."""
    name = module(GOOD)
    assert main(["openapi", name]) == 0
    text = capsys.readouterr().out
    document = json.loads(text)
    assert list(document["paths"]) == ["/", "/items/{id}", "/api/new"]
    assert text.startswith('{\n  "openapi": "3.1.1",\n')
    assert main(["openapi", "--indent", "0", f"{name}:app"]) == 0
    assert capsys.readouterr().out == json.dumps(document) + "\n"
    assert main(["openapi", name, "--output", "api.json"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "api.json").read_text() == text


def test_openapi_says_what_is_wrong(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 if the file cannot be written or the application cannot be imported, 2 for a wrong option."""
    name = module(GOOD)
    assert main(["openapi", name, "--output", "no/such/api.json"]) == 1
    assert "no/such/api.json cannot be written: No such file or directory" in capsys.readouterr().err
    assert main(["openapi", module("raise KeyError('early')", "cli_broken")]) == 1
    assert "cli_broken cannot be imported" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["openapi", name, "--indent", "two"])
    assert "'two' is not a number of blanks from 0 to 16" in capsys.readouterr().err


BODIES = """
from typing import Annotated
from msgspec import Struct
from trivet import App, Body, Query

app = App()

class Search(Struct):
    text: str = ""

@app.get("/likely")
async def likely(search: Search) -> None: ...

@app.get("/said")
async def said(search: Annotated[Search, Body()]) -> None: ...

@app.get("/query")
async def query(search: Annotated[Search, Query()]) -> None: ...

@app.post("/post")
async def post(search: Search) -> None: ...

@app.route("/both", methods=["GET", "POST"])
async def both(search: Search) -> None: ...
"""


def test_check_warns_of_a_get_with_a_body(module: Module, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """A model is the body by its type, which a GET has next to never: nothing is wrong, and the query is likelier."""
    assert main(["check", f"{module(BODIES)}:app"]) == 0
    golden("cli/check_body_of_get", capsys.readouterr().out)
