"""The architecture, enforced: the floors, the three invariants, and the size of files and functions."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trivet

PACKAGE = Path(trivet.__file__).parent

# A module may import only from floors before its own. The Trio line is drawn below "transport".
FLOORS: list[tuple[str, set[str]]] = [
    ("vocabulary", {"asgi"}),
    ("errors", {"errors"}),
    ("grammar", {"_scalars", "_logline", "_ported", "_aimd", "_damping"}),
    (
        "text",
        {
            "_headers",
            "_percent",
            "_suggest",
            "_language",
            "_source",
            "_head",
            "_collect",
            "_immediate",
            "_markers",
            "_describe",
            "_limit",
            "_origin",
            "_annotation",
        },
    ),
    ("fields", {"_fields"}),
    ("faults, checks of options", {"_faults", "_option_checks", "_limit_checks"}),
    (
        "values",
        {
            "_constraints",
            "_relate",
            "_cookies",
            "_query",
            "_groups",
            "_response_head",
            "_body",
            "_options",
            "_encode",
            "_forwarded",
        }
        | {"_validators", "_ranges", "_disposition", "_mediatype", "_descriptor"},
    ),
    (
        "scalars, response",
        {
            "_forwarded_timeout",
            "_convert",
            "_response",
            "_restart",
            "_repeats",
            "_checks",
            "_document",
            "_modes",
            "_multipart",
            "_ws_close",
        },
    ),
    (
        "syntax, results",
        {"_inside", "_syntax", "_stream", "_redirect", "_results", "_problem", "_conditional", "_ws_json"},
    ),
    ("pattern, extract, file", {"_pattern", "_extract", "_file", "_event"}),
    ("models, parameter", {"_models", "_parameter"}),
    ("texts", {"_texts"}),
    ("conflict, signature", {"_conflict", "_tree", "_urls", "_signature", "_shared", "_path_types"}),
    ("entry, plan", {"_entry", "_plan"}),
    ("reach, socket plan", {"_reach", "_socket_plan"}),
    ("compile", {"_compile"}),
    ("routes", {"_routes", "_service_plan"}),
    ("schemas", {"_openapi_schemas"}),
    ("operations", {"_openapi_inputs", "_openapi_results"}),
    ("openapi", {"_openapi"}),
    # ---- the Trio line: nothing in the floors before this one imports trio
    (
        "transport",
        {"_inbound", "_outbound", "_tasks", "_leaving", "_threads", "_slow"} | {"_drain", "_patience", "_service"},
    ),
    (
        "frames",
        {"_bounds", "_companions", "_dependency", "_fence", "_middleware", "_upload", "_ws_inbound", "_eventstream"},
    ),
    ("scope", {"_scope", "_watch", "_form", "_lifespan"}),
    ("the scope of a WebSocket", {"_ws_scope"}),
    ("request", {"_owner", "_bodystream", "_request_head", "_additions"}),
    ("the request", {"_request"}),
    ("handshake", {"_handshake"}),
    ("the head of a WebSocket", {"_ws_head"}),
    ("the life of a WebSocket", {"_ws_life"}),
    ("the WebSocket", {"_websocket"}),
    ("resolve", {"_resolve", "_answer", "_access", "_sink", "_delivery", "_registered", "_service_registration"}),
    ("events", {"_eventsink", "_limiting", "_services"}),
    ("respond, router", {"_respond", "_router", "_ws_serve"}),
    ("instant", {"_instant"}),
    ("endpoint", {"_endpoint"}),
    ("unmatched, override, docs, sockets", {"_unmatched", "_override", "_docs", "_sockets"}),
    ("door", {"_door", "_life", "_measured"}),
    ("registry", {"_registry"}),
    ("app", {"_app"}),
    ("public", {"__init__"}),
    ("doors", {"__main__", "cli", "testing", "contrib", "server"}),
]
TRIO_LINE = "transport"
FLOOR_OF = {module: floor for floor, (_, modules) in enumerate(FLOORS) for module in modules}
FIRST_ABOVE = next(floor for floor, (name, _) in enumerate(FLOORS) if name == TRIO_LINE)
CORE = sorted(path for path in PACKAGE.glob("*.py") if path.stem != "__main__")
ALL = sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Every name that this file imports, at run time or only for types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(PACKAGE.parent).with_suffix("").parts
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            found |= {module} if node.module else {f"{module}.{alias.name}" for alias in node.names}
    return found


def calls_of(path: Path) -> Iterator[str]:
    """The dotted text of every call in this file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def inside(target: str) -> str | None:
    """The module of the package that a dotted name means, or None."""
    root, _, rest = target.partition(".")
    return (rest.partition(".")[0] or "__init__") if root == PACKAGE.name else None


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_every_module_imports_only_floors_below_it(path: Path) -> None:
    """A module never imports its own floor or a higher one, not even for types."""
    inner = {name for name in map(inside, imports_of(path)) if name is not None}
    assert sorted(name for name in inner if FLOOR_OF[name] >= FLOOR_OF[path.stem]) == []


def test_a_wrong_import_would_be_seen() -> None:
    """The check sees imports at all, so that it cannot pass by blindness."""
    assert {"_pattern", "_compile", "asgi"} <= {inside(name) for name in imports_of(PACKAGE / "_registry.py")}
    assert FLOOR_OF["_pattern"] < FLOOR_OF["_registry"]


def test_nothing_below_the_trio_line_imports_trio() -> None:
    """The third invariant: below the line are plain functions and values, tested without a loop."""
    low = [path for path in CORE if FLOOR_OF[path.stem] < FIRST_ABOVE]
    assert [path.stem for path in low if any(name.split(".")[0] == "trio" for name in imports_of(path))] == []
    assert len(low) > 15


def test_one_module_reads_receive_and_one_calls_send() -> None:
    """The first invariant: for a request `_inbound` alone reads `receive`, and `_outbound` alone calls `send`."""
    receivers = {path.stem for path in CORE for call in calls_of(path) if call in ("receive", "self._receive")}
    senders = {path.stem for path in CORE for call in calls_of(path) if call in ("send", "self._send")}
    # The lifespan has a pair of its own.
    assert {"_inbound", "_lifespan"} == receivers
    assert {"_outbound", "_lifespan"} == senders


def test_one_floor_opens_a_requests_scopes_and_nurseries() -> None:
    """The second invariant: cancel scopes and nurseries of a request are opened on the scope's floor only."""
    openers = {"CancelScope", "open_nursery", "move_on_after", "fail_after", "move_on_at", "fail_at"}
    found = {path.stem for path in CORE for call in calls_of(path) if call.rpartition(".")[2] in openers}
    scope = {"_scope", "_bounds", "_companions", "_dependency", "_fence", "_middleware", "_watch"}
    # Of the application's life, not a request's: how it is left, background tasks, the drain, services.
    life = {"_life", "_tasks", "_drain", "_patience", "_services"}
    # It makes the nursery that a handler asked for and hands it to the scope, which enters it.
    assert found <= scope | life | {"_resolve"}
    assert "_scope" in found


def test_the_server_wing_and_the_application_do_not_know_each_other() -> None:
    """They meet at ASGI, one scope extension, and a line of the log; only the wing knows hypercorn."""
    assert [path.stem for path in CORE if any(name.startswith("hypercorn") for name in imports_of(path))] == []
    for path in (PACKAGE / "server").rglob("*.py"):
        assert {inside(name) for name in imports_of(path)} - {None} <= {"server", "asgi", "errors", "_logline"}, path


CONTRIB = sorted(path for path in (PACKAGE / "contrib").rglob("*.py") if path.name != "static.py")
"""`static` is a router whose answers are opened files: it shares the core's descriptors, which nobody else should."""


LENT = {
    "csrf": {f"{PACKAGE.name}._origin"},
    "_slow_steps": {f"{PACKAGE.name}._damping"},
    "_failures": {f"{PACKAGE.name}._damping", f"{PACKAGE.name}._repeats"},
    "_outage": {f"{PACKAGE.name}._damping"},
    "redis/_redis": {f"{PACKAGE.name}._companions"},
    "redis/_broadcast": {f"{PACKAGE.name}._companions"},
    "_taskframes": {f"{PACKAGE.name}._access"},
    "_spans": {f"{PACKAGE.name}.{name}" for name in ("_access", "_logline", "_outbound")},
}
"""What the core lends: an origin is read in one way, whether it is a WebSocket's or a form's page that has it; the log
is spared in one way; an error passes by what runs beside it in one way; and how a request ended, and where its
application is mounted, is found in one way."""


@pytest.mark.parametrize("path", CONTRIB, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_contrib_is_written_with_what_everybody_can_import(path: Path) -> None:
    """Of the package it imports exported names, and the public modules; its own packages do not know each other, but
    for what Redis is put behind."""
    own = f"{PACKAGE.name}.{'.'.join(path.relative_to(PACKAGE).parts[:2])}"
    shared = {
        f"{PACKAGE.name}.contrib.{name}"
        for name in ("_composed", "_tasktree", "_taskframes", "_response", "_tokens", "_outage", "_meant")
    }
    lent = LENT.get(path.stem, set()) | LENT.get(f"{path.parent.name}/{path.stem}", set())
    public = {PACKAGE.name, f"{PACKAGE.name}.errors", f"{PACKAGE.name}.asgi"} | lent
    if own == f"{PACKAGE.name}.contrib.redis":
        public |= {f"{PACKAGE.name}.contrib.{name}" for name in ("broadcast", "ratelimit")}
    inner = {name for name in imports_of(path) if inside(name) is not None}
    assert {name for name in inner - public if not name.startswith(f"{own}.") and name not in shared} == set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name:
            assert {alias.name for alias in node.names} <= set(trivet.__all__)


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_no_core_module_imports_an_extra(path: Path) -> None:
    """`import trivet` needs trio, msgspec and multipart only; what an extra brings is imported by what needs it."""
    outside = {name.split(".")[0] for name in imports_of(path)} - {"trio", "msgspec", "multipart", "trivet"}
    assert set() == outside - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """A file fits into a head (320 lines at the very most), a function on a screen (60), and it says what it owns."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert len(path.read_text().splitlines()) <= 320
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {node.name: size for node in functions if (size := _code_lines(node)) > 60} == {}


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or first.lineno) - first.lineno + 1
