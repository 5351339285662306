"""Every message that a wrong registration can give, as a user meets it: `tests/golden/registration/`.

Each shows what came, where (file and line), and the remedy. A case is a function that registers wrongly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import annotated_types
import attrs
import fastapi
import fastapi.security
import msgspec
import pydantic
import pytest

from tests.harness import Golden
from trivet import (
    App,
    Body,
    Cookie,
    Depends,
    EventStream,
    Form,
    Header,
    Limit,
    Next,
    Query,
    Request,
    Response,
    Router,
    UploadFile,
    WebSocket,
)
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.ratelimit import RateLimit
from trivet.contrib.sessions import Session, TypedSession
from trivet.errors import RegistrationError

if TYPE_CHECKING:
    import trio

    from trivet.nowhere import Model  # type: ignore[import-not-found]

CASES: dict[str, Callable[[], object]] = {}
# A message about an option, a prefix or a status has no handler: the traceback shows the line of the call.
WITHOUT_PLACE = {
    "option_unknown", "option_unknown_far", "option_seconds", "option_bytes", "option_policy", "option_list",
    "option_on_drain", "option_slash", "option_patience",
    "mount_prefix", "mount_itself", "mount_something", "mount_without_prefix",
    "docs_without_document", "docs_url", "openapi_url", "title", "version", "responses",
    "catch_status", "catch_something", "form_limit", "depends_scope", "override_with_nothing",
    "wrap_something", "handler_something", "ported_prefix", "option_origins", "option_origins_any",
    "option_origins_url", "option_origins_path", "option_origins_socket", "option_origins_pattern",
    "option_origins_unicode", "option_origins_host", "option_idle_timeout",
    "option_trusted", "option_trusted_anybody", "option_trusted_bits", "option_trusted_name",
    "option_limit", "option_limit_object", "limits_crossed", "limit_concurrent", "limit_queue",
    "limit_wait", "limit_wait_without_queue", "limit_name", "limit_target", "limit_target_none",
    "limit_initial", "limit_between",
}  # fmt: skip


def case(fn: Callable[[], object]) -> Callable[[], object]:
    CASES[fn.__name__] = fn
    return fn


class Item(msgspec.Struct):
    name: str


class Order(msgspec.Struct):
    item: Item


class Opaque:
    pass


class Holder(msgspec.Struct):
    name: str
    things: list[Opaque] = []


class Signed(msgspec.Struct):
    user: Annotated[str, Depends(lambda: "ada")]
    text: str = ""


@dataclass
class Filters:
    session: Annotated[str, Cookie()]


@dataclass
class Page:
    number: int = 1
    tags: list[str] = field(default_factory=list[str])


@attrs.define
class Trace:
    baggage: list[str] = attrs.field(factory=list[str])


class Note(pydantic.BaseModel):
    owner: Annotated[str, Header()]


async def plain() -> None: ...


async def open_room(ws: WebSocket, room: str) -> None: ...


# ---- paths and conflicts


@case
def conflict() -> None:
    app = App()

    @app.get("/users/{name}")
    async def by_name(name: str) -> None: ...

    @app.get("/{collection}/me")
    async def me(collection: str) -> None: ...


@case
def conflict_same_path() -> None:
    app = App()

    @app.route("/users", methods=["GET", "POST"])
    async def users() -> None: ...

    @app.post("/users")
    async def create(item: Item) -> None: ...


@case
def conflict_at_mount() -> None:
    app, router = App(), Router()

    @app.get("/api/{x}/b")
    async def first(x: str) -> None: ...

    @router.get("/a/{y}")
    async def second(y: str) -> None: ...

    app.mount("/api", router)


@case
def conflict_of_mounts() -> None:
    app = App()
    app.mount("/old", App())
    app.mount("/old", App())


@case
def field_unknown() -> None:
    @App().get("/users/{id}/{extra}")
    async def user(id: int) -> None: ...  # noqa: A002


@case
def field_default() -> None:
    @App().get("/users/{id}")
    async def user(id: int = 5) -> None: ...  # noqa: A002


@case
def field_not_a_scalar() -> None:
    @App().get("/users/{ids}")
    async def users(ids: list[int]) -> None: ...


@case
def field_types_disagree() -> None:
    @App().get("/users/{id:int}")
    async def user(id: str) -> None: ...  # noqa: A002


@case
def field_types_of_provider_disagree() -> None:
    async def owner(id: str) -> None: ...  # noqa: A002

    @App().get("/users/{id}", dependencies=[Depends(owner)])
    async def user(id: int) -> None: ...  # noqa: A002


@case
def path_does_not_parse() -> None:
    @App().get("/users/{id")
    async def user(id: int) -> None: ...  # noqa: A002


@case
def path_does_not_parse_at_mount() -> None:
    router = Router()

    @router.get("users")
    async def users() -> None: ...

    App().mount("", router)


# ---- parameters


@case
def parameter_without_annotation() -> None:
    @App().get("/")
    async def search(q) -> None: ...  # type: ignore[no-untyped-def]


@case
def parameter_args() -> None:
    @App().get("/")
    async def search(*terms: str) -> None: ...


@case
def parameter_kwargs() -> None:
    @App().get("/")
    async def search(**terms: str) -> None: ...


@case
def parameter_container_without_item_type() -> None:
    @App().get("/")
    async def search(tags: list) -> None: ...  # type: ignore[type-arg]


@case
def parameter_dict_without_item_type() -> None:
    @App().post("/")
    async def search(filters: dict) -> None: ...  # type: ignore[type-arg]


@case
def parameter_tuple_without_item_type() -> None:
    @App().get("/")
    async def search(tags: tuple = ("a",)) -> None: ...  # type: ignore[type-arg]


@case
def parameter_default_does_not_fit() -> None:
    @App().get("/")
    async def search(page: int = "one") -> None: ...  # type: ignore[assignment]


@case
def parameter_default_is_no_list() -> None:
    @App().get("/")
    async def search(tags: list[str] = "abc") -> None: ...  # type: ignore[assignment]


@case
def parameter_default_is_too_short() -> None:
    @App().get("/")
    async def search(tags: Annotated[list[str], msgspec.Meta(min_length=1)] = []) -> None: ...  # noqa: B006


@case
def parameter_constraint_of_a_list() -> None:
    @App().get("/")
    async def search(ids: Annotated[list[int], msgspec.Meta(ge=1)]) -> None: ...


@case
def parameter_of_a_provider() -> None:
    @App().get("/")
    async def search(session: Session) -> None: ...


@case
def parameter_of_a_provider_or_none() -> None:
    @App().get("/")
    async def search(session: TypedSession[Item] | None = None) -> None: ...


@case
def parameter_type_unknown() -> None:
    @App().get("/")
    async def search(thing: Opaque) -> None: ...


@case
def parameter_request_or_none() -> None:
    @App().get("/")
    async def search(request: Request | None = None) -> None: ...


@case
def parameter_request_annotated() -> None:
    @App().get("/")
    async def search(request: Annotated[Request, "of the client"]) -> None: ...


@case
def parameter_read_as_two_things() -> None:
    @App().get("/")
    async def search(page: Annotated[int, Query(alias="p")], parts: Annotated[str, Query(alias="p")]) -> None: ...


@case
def parameter_read_as_two_things_by_two() -> None:
    async def audited(photo: Annotated[list[str], Form()]) -> None: ...

    @App().post("/", dependencies=[Depends(audited)])
    async def create(photo: UploadFile) -> None: ...


@case
def parameter_union() -> None:
    @App().get("/")
    async def search(q: int | str) -> None: ...


@case
def parameter_depends_as_default() -> None:
    @App().get("/")
    async def search(user: str = Depends(plain)) -> None: ...  # type: ignore[assignment]


@case
def parameter_depends_itself() -> None:
    @App().get("/")
    async def search(user: Annotated[str, Depends]) -> None: ...


@case
def marker_class() -> None:
    @App().get("/")
    async def search(q: Annotated[str, Query]) -> None: ...


@case
def marker_as_default() -> None:
    @App().get("/")
    async def search(q: str = Header()) -> None: ...  # type: ignore[assignment]


@case
def marker_twice() -> None:
    @App().get("/")
    async def search(q: Annotated[str, Query(), Header(alias="q")]) -> None: ...


@case
def marker_of_another_framework() -> None:
    @App().get("/")
    async def search(q: Annotated[int, annotated_types.Ge(1)]) -> None: ...


@case
def marker_of_another_framework_inside() -> None:
    @App().post("/")
    async def search(q: dict[str, Annotated[int, annotated_types.Ge(1)]]) -> None: ...


@case
def marker_inside_of_a_list() -> None:
    @App().get("/")
    async def search(ids: list[Annotated[int, Query(alias="id")]]) -> None: ...


@case
def marker_inside_of_a_union() -> None:
    @App().post("/")
    async def create(user: Annotated[dict[str, int], Depends(plain)] | list[int]) -> None: ...


@case
def marker_inside_of_a_dependency() -> None:
    @App().get("/")
    async def search(user: Annotated[list[Annotated[str, Header()]], Depends(plain)]) -> None: ...


@case
def marker_class_inside() -> None:
    @App().get("/")
    async def search(ids: list[Annotated[int, Query]]) -> None: ...


@case
def dependency_with_default() -> None:
    @App().get("/")
    async def search(user: Annotated[str | None, Depends(plain)] = None) -> None: ...


@case
def marker_alias_empty() -> None:
    @App().get("/")
    async def search(q: Annotated[str, Query(alias="")]) -> None: ...


@case
def marker_on_path_field() -> None:
    @App().get("/{item}")
    async def search(item: Annotated[str, Query()]) -> None: ...


@case
def marker_on_something() -> None:
    @App().get("/")
    async def search(q: Annotated[dict[str, int], Query()]) -> None: ...


@case
def header_name_impossible() -> None:
    @App().get("/")
    async def search(q: Annotated[str, Header(alias="a b")]) -> None: ...


@case
def cookie_list() -> None:
    @App().get("/")
    async def search(ids: Annotated[list[int], Cookie()]) -> None: ...


@case
def model_with_alias() -> None:
    @App().get("/")
    async def search(item: Annotated[Item, Query(alias="i")]) -> None: ...


@case
def model_nested() -> None:
    @App().get("/")
    async def search(order: Annotated[Order, Query()]) -> None: ...


@case
def model_of_pydantic_nested() -> None:
    class Search(pydantic.BaseModel):
        by: dict[str, int]

    async def search(search: Annotated[Search, Query()]) -> None: ...

    search.__annotations__["search"] = Annotated[Search, Query()]
    App().get("/")(search)


@case
def model_of_pydantic_with_path() -> None:
    class Search(pydantic.BaseModel):
        name: str = pydantic.Field(validation_alias=pydantic.AliasPath("names", 0))

    async def search(search: Annotated[Search, Query()]) -> None: ...

    search.__annotations__["search"] = Annotated[Search, Query()]
    App().get("/")(search)


@case
def model_of_pydantic_root() -> None:
    class Search(pydantic.RootModel[int]):
        pass

    async def search(search: Annotated[Search, Query()]) -> None: ...

    search.__annotations__["search"] = Annotated[Search, Query()]
    App().get("/")(search)


@case
def model_with_init_var() -> None:
    @dataclass
    class Search:
        name: str
        exact: InitVar[bool]

    async def search(search: Annotated[Search, Query()]) -> None: ...

    search.__annotations__["search"] = Annotated[Search, Query()]
    App().get("/")(search)


@case
def form_and_body() -> None:
    @App().post("/")
    async def create(item: Item, photo: UploadFile) -> None: ...


@case
def form_and_body_of_a_provider() -> None:
    async def audited(name: Annotated[str, Form()]) -> None: ...

    @App().post("/", dependencies=[Depends(audited)])
    async def create(item: Item) -> None: ...


@case
def form_with_two_limits() -> None:
    @App().post("/")
    async def create(a: Annotated[str, Form(max_parts=1)], b: Annotated[str, Form(max_parts=2)]) -> None: ...


@case
def form_limit() -> None:
    Form(max_file=-1)


@case
def file_with_default() -> None:
    @App().post("/")
    async def create(photo: UploadFile = "x") -> None: ...  # type: ignore[assignment]


@case
def files_with_default() -> None:
    @App().post("/")
    async def create(photos: list[UploadFile] = ()) -> None: ...  # type: ignore[assignment]


@case
def depends_scope() -> None:
    Depends(plain, scope="session")  # type: ignore[arg-type]


@case
def body_of_no_type() -> None:
    @App().post("/")
    async def create(thing: Annotated[Opaque, Body()]) -> None: ...


@case
def body_of_no_type_inside() -> None:
    @App().post("/")
    async def create(things: dict[str, Opaque]) -> None: ...


@case
def body_of_no_type_in_a_field() -> None:
    @App().post("/")
    async def create(holder: list[Holder] | None) -> None: ...


@case
def body_of_files() -> None:
    @App().post("/")
    async def create(photos: dict[str, UploadFile]) -> None: ...


@case
def body_of_pydantic_and_no_type() -> None:
    @App().post("/")
    async def create(notes: dict[str, Note | Opaque]) -> None: ...


@case
def body_with_marked_field() -> None:
    @App().post("/")
    async def create(note: list[Signed]) -> None: ...


@case
def body_of_pydantic_with_marked_field() -> None:
    @App().post("/")
    async def create(note: Note) -> None: ...


@case
def model_with_marked_field() -> None:
    @App().get("/")
    async def search(filters: Annotated[Filters, Query()]) -> None: ...


@case
def body_default() -> None:
    @App().post("/")
    async def create(item: Item = 5) -> None: ...  # type: ignore[assignment]


@case
def body_default_inside() -> None:
    @App().post("/")
    async def create(items: Annotated[list[Item], Body()] = [{"name": "a"}]) -> None: ...  # type: ignore[list-item]  # noqa: B006


@case
def body_default_of_bytes() -> None:
    @App().post("/")
    async def create(raw: Annotated[bytes, Body()] = "") -> None: ...  # type: ignore[assignment]


@case
def model_default() -> None:
    @App().get("/")
    async def search(item: Annotated[Item, Query()] = {"name": "a"}) -> None: ...  # type: ignore[assignment]  # noqa: B006


@case
def parameter_constraint_impossible() -> None:
    @App().get("/")
    async def search(q: Annotated[bool, msgspec.Meta(ge=1)]) -> None: ...


@case
def annotation_unresolved() -> None:
    @App().post("/")
    async def create(item: Model) -> None: ...


@case
def annotation_broken() -> None:
    @App().post("/")
    async def create(item: Item[int]) -> None: ...  # type: ignore[type-arg]


@case
def two_bodies() -> None:
    @App().post("/")
    async def create(item: Item, other: dict[str, int]) -> None: ...


@case
def two_bodies_in_two_functions() -> None:
    async def audited(item: Item) -> None: ...

    @App().post("/")
    async def create(item: Item, audit: Annotated[None, Depends(audited)]) -> None: ...


# ---- providers


@case
def provider_bare_generator() -> None:
    def session() -> Iterator[int]:
        yield 1

    @App().get("/")
    async def search(s: Annotated[int, Depends(session)]) -> None: ...


@case
def provider_bare_async_generator() -> None:
    async def session(request: Request) -> AsyncIterator[int]:
        yield 1

    @App().get("/", dependencies=[Depends(session)])
    async def search() -> None: ...


@case
def provider_struct() -> None:
    @App().get("/")
    async def search(item: Annotated[Item, Depends(Item)]) -> None: ...


@case
def provider_pydantic_model() -> None:
    @App().get("/")
    async def search(note: Annotated[Note, Depends(Note)]) -> None: ...


@case
def provider_dataclass_with_factory() -> None:
    @App().get("/")
    async def search(page: Annotated[Page, Depends(Page)]) -> None: ...


@case
def provider_attrs_with_factory() -> None:
    @App().get("/")
    async def search(trace: Annotated[Trace, Depends(Trace)]) -> None: ...


@case
def provider_not_callable() -> None:
    @App().get("/")
    async def search(s: Annotated[int, Depends(5)]) -> None: ...  # type: ignore[arg-type]


@case
def provider_to_be_entered() -> None:
    rooms: Any = Broadcast()

    @App().get("/")
    async def search(s: Annotated[Broadcast, Depends(rooms)]) -> None: ...


@case
def provider_cycle() -> None:
    async def a(b: Annotated[int, Depends(lambda: 1)]) -> int:
        return b

    async def b(a: Annotated[int, Depends(a)]) -> int:
        return a

    a.__annotations__["b"] = Annotated[int, Depends(b)]

    @App().get("/")
    async def search(a: Annotated[int, Depends(a)]) -> None: ...


@case
def provider_takes_nursery() -> None:
    import trio

    async def background(nursery: trio.Nursery) -> None: ...

    background.__annotations__["nursery"] = trio.Nursery

    @App().get("/", dependencies=[Depends(background)])
    async def search() -> None: ...


@case
def provider_missing_deep_down() -> None:
    async def connection(database: Opaque) -> None: ...

    async def session(c: Annotated[None, Depends(connection)]) -> None: ...

    async def user(s: Annotated[None, Depends(session)]) -> None: ...

    @App().get("/")
    async def search(u: Annotated[None, Depends(user)]) -> None: ...


@case
def provider_instance_with_generator() -> None:
    class Session:
        async def __call__(self) -> AsyncIterator[int]:
            yield 1

    @App().get("/", dependencies=[Depends(Session())])
    async def search() -> None: ...


@case
def provider_outlives_what_it_needs() -> None:
    @asynccontextmanager
    async def cursor() -> AsyncIterator[int]:
        yield 1

    @asynccontextmanager
    async def session(c: Annotated[int, Depends(cursor, scope="handler")]) -> AsyncIterator[int]:
        yield 1

    @App().get("/", dependencies=[Depends(session)])
    async def search() -> None: ...


@case
def provider_of_handler_beside_nursery() -> None:
    import trio

    @asynccontextmanager
    async def cursor() -> AsyncIterator[int]:
        yield 1

    async def search(n: trio.Nursery, c: Annotated[int, Depends(cursor, scope="handler")]) -> None: ...

    search.__annotations__["n"] = trio.Nursery
    App().get("/")(search)


@case
def provider_of_two_scopes() -> None:
    async def session() -> None: ...

    async def user(s: Annotated[None, Depends(session)]) -> None: ...

    @App().get("/", dependencies=[Depends(user)])
    async def search(s: Annotated[None, Depends(session, scope="app")]) -> None: ...


@case
def app_scope_needs_request() -> None:
    async def pool(size: int = 5) -> None: ...

    @App().get("/", dependencies=[Depends(pool, scope="app")])
    async def search() -> None: ...


@case
def app_scope_needs_request_scope() -> None:
    async def settings() -> None: ...

    async def pool(settings: Annotated[None, Depends(settings)]) -> None: ...

    @App().get("/", dependencies=[Depends(pool, scope="app")])
    async def search() -> None: ...


@case
def app_scope_cycle() -> None:
    async def a(b: Annotated[int, Depends(lambda: 1, scope="app")]) -> int:
        return b

    a.__annotations__["b"] = Annotated[int, Depends(a, scope="app")]

    @App().get("/", dependencies=[Depends(a, scope="app")])
    async def search() -> None: ...


@case
def override_of_nothing() -> None:
    async def provider() -> None: ...

    App().override(provider, plain)


@case
def override_of_mounted() -> None:
    async def provider() -> None: ...

    inner, outer = App(), App()
    inner.get("/", dependencies=[Depends(provider)])(plain)
    outer.mount("/inner", inner)
    outer.override(provider, plain)


def shared() -> int:
    return 1


async def needs_shared(shared: Annotated[int, Depends(shared, scope="app")]) -> int:
    return shared


@case
def override_that_needs_too_late() -> None:
    app = App(dependencies=[Depends(plain)])
    app.get("/")(plain)
    with app._overrides.running():
        app.override(plain, needs_shared)


@case
def override_taken_back_too_early() -> None:
    app = App(dependencies=[Depends(needs_shared)])
    app.get("/")(plain)
    override = app.override(needs_shared, plain)
    with app._overrides.running():
        override.undo()


@case
def override_with_nothing() -> None:
    App().override(plain, 5)  # type: ignore[arg-type]


@case
def dependencies_without_depends() -> None:
    @App().get("/", dependencies=[plain])
    async def search() -> None: ...


@case
def dependencies_with_an_instance() -> None:
    @App().get("/", dependencies=[RateLimit(1, per=2)])
    async def search() -> None: ...


@case
def dependencies_with_something() -> None:
    @App().get("/", dependencies=["search"])
    async def search() -> None: ...


@case
def handler_generator_of_events() -> None:
    @App().get("/")
    async def events() -> EventStream:  # type: ignore[misc]
        yield "an event"


# ---- handlers


@case
def handler_generator() -> None:
    @App().get("/")
    async def events() -> AsyncIterator[str]:
        yield "x"


@case
def handler_something() -> None:
    App().get("/")("handler")  # type: ignore[type-var]


@case
def methods_text() -> None:
    App().route("/", methods="GET")(plain)


@case
def methods_empty() -> None:
    App().route("/", methods=[])(plain)


@case
def methods_lower_case() -> None:
    App().route("/", methods=["get"])(plain)


@case
def methods_not_a_token() -> None:
    App().route("/", methods=["GET /"])(plain)


@case
def status_impossible() -> None:
    App().get("/", status=101)(plain)


@case
def status_text() -> None:
    App().get("/", status="201")(plain)  # type: ignore[arg-type]


# ---- options


@case
def option_unknown() -> None:
    App(timeot=3)  # type: ignore[call-arg]


@case
def option_unknown_far() -> None:
    Router(colour="red")  # type: ignore[call-arg]


@case
def option_unknown_of_route() -> None:
    App().get("/", sumary="x")(plain)  # type: ignore[call-arg]


@case
def option_of_app_on_route() -> None:
    App().get("/", cleanup_grace=3)(plain)  # type: ignore[call-arg]


@case
def option_seconds() -> None:
    App(timeout=0)


@case
def option_seconds_of_route() -> None:
    App().get("/", timeout="3s")(plain)  # type: ignore[arg-type]


@case
def option_limit() -> None:
    App(limit=100)  # type: ignore[arg-type]


@case
def option_limit_object() -> None:
    Router(limit=asyncio.Semaphore(20))  # type: ignore[arg-type]


@case
def option_limit_of_rate() -> None:
    App().get("/", limit=RateLimit(20, per=60))(plain)  # type: ignore[arg-type]


@case
def limits_crossed() -> None:
    one, two = Limit(1, queue=1), Limit(2, queue=1)
    app, reports, exports = App(), Router(limit=one), Router(limit=two)
    reports.get("/a", limit=two)(plain)
    exports.get("/b", limit=one)(plain)
    app.mount("/reports", reports)
    app.mount("/exports", exports)
    app._freeze()


@case
def limit_of_websocket() -> None:
    App().websocket("/chat/{room}", limit=Limit.adaptive(0.5))(open_room)


@case
def limit_over_websocket() -> None:
    app, chat = App(limit=Limit.adaptive(0.5)), Router()
    chat.websocket("/{room}")(open_room)
    app.mount("/chat", chat)


@case
def limit_concurrent() -> None:
    Limit(0)


@case
def limit_queue() -> None:
    Limit(20, queue=True)


@case
def limit_wait() -> None:
    Limit(20, queue=50, wait=0)


@case
def limit_wait_without_queue() -> None:
    Limit(20, wait=2)


@case
def limit_name() -> None:
    Limit(20, name="two\nlines")


@case
def limit_target() -> None:
    Limit.adaptive("0.5")  # type: ignore[arg-type]


@case
def limit_target_none() -> None:
    Limit.adaptive(None)  # type: ignore[arg-type]


@case
def limit_initial() -> None:
    Limit.adaptive(0.5, initial=0.5)  # type: ignore[arg-type]


@case
def limit_between() -> None:
    Limit.adaptive(0.5, initial=20, most=10)


@case
def option_bytes() -> None:
    App(max_body="2MB")  # type: ignore[arg-type]


@case
def option_policy() -> None:
    App(on_disconnect="ignore")  # type: ignore[arg-type]


@case
def option_on_drain() -> None:
    Router(on_drain="wait")  # type: ignore[arg-type]


@case
def option_list() -> None:
    App(tags="users")


@case
def option_slash() -> None:
    App(slash="both")  # type: ignore[arg-type]


@case
def option_patience() -> None:
    App(cleanup_grace=None)  # type: ignore[arg-type]


@case
def option_trusted() -> None:
    App(trusted="10.0.0.0/8")


@case
def option_trusted_anybody() -> None:
    App(trusted=["*"])


@case
def option_trusted_bits() -> None:
    App(trusted=["127.0.0.1", "10.1.2.3/8"])


@case
def option_trusted_name() -> None:
    App(trusted=["proxy.internal"])


# ---- mounting


@case
def mount_prefix() -> None:
    App().mount("api/", Router())


@case
def mount_itself() -> None:
    router = Router()
    router.mount("/again", router)


@case
def mount_something() -> None:
    App().mount("/api", "module:app")  # type: ignore[arg-type]


@case
def mount_without_prefix() -> None:
    App().mount("", App())


# ---- middleware and catchers


@case
def middleware_of_two_kinds() -> None:
    @App().middleware
    async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


@case
def middleware_not_async() -> None:
    @App().middleware  # type: ignore[type-var]
    def timing(request: Request, call_next: Next) -> Response: ...  # type: ignore[empty-body]


@case
def middleware_in_options() -> None:
    async def timing(request: Request) -> Response: ...  # type: ignore[empty-body]

    Router(middleware=[timing])  # type: ignore[list-item]


@case
def catch_status() -> None:
    App().catch(200)


@case
def catch_something() -> None:
    App().catch(KeyError())  # type: ignore[arg-type]


@case
def catch_twice() -> None:
    app = App()

    @app.catch(404)
    async def one(request: Request, exc: Exception) -> None: ...

    @app.catch(404)
    async def two(request: Request, exc: Exception) -> None: ...


@case
def catcher_not_async() -> None:
    @App().catch(404)
    def missing(request: Request, exc: Exception) -> None: ...


@case
def wrap_something() -> None:
    App().wrap("GZipMiddleware")  # type: ignore[arg-type]


@case
def wrap_with_wrong_options() -> None:
    def limited(app: Any, *, limit: int) -> Any:
        return app

    App().wrap(limited, limits=3)


# ---- what it tells of itself


@case
def docs_without_document() -> None:
    App(openapi_url=None, docs_url="/help")


@case
def docs_url() -> None:
    App(docs_url="docs/")


@case
def openapi_url() -> None:
    App(openapi_url="/{version}/openapi.json")


@case
def title() -> None:
    App(title="")


@case
def version() -> None:
    App(version=1.0)  # type: ignore[arg-type]


@case
def responses() -> None:
    App(responses={"404": "There is no such note."})  # type: ignore[dict-item]


@case
def responses_text() -> None:
    App().get("/", responses=404)(plain)  # type: ignore[arg-type]


# ---- what is written in other frameworks


@case
def ported_response() -> None:
    @App().get("/search")
    async def search(response: Response) -> None: ...


@case
def ported_request() -> None:
    @App().get("/search")
    async def search(request: fastapi.Request) -> None: ...


@case
def ported_background_tasks() -> None:
    @App().get("/search")
    async def search(tasks: fastapi.BackgroundTasks) -> None: ...


@case
def ported_pydantic_type() -> None:
    @App().get("/search")
    async def search(url: pydantic.HttpUrl) -> None: ...


@case
def ported_bytes() -> None:
    @App().post("/search")
    async def search(body: bytes) -> None: ...


@case
def ported_marker_as_default() -> None:
    @App().get("/search")
    async def search(q: int = fastapi.Query(ge=1)) -> None: ...


@case
def ported_depends() -> None:
    @App().get("/search")
    async def search(q: Annotated[str, fastapi.Depends(plain)]) -> None: ...


@case
def ported_path() -> None:
    @App().get("/search/{q}")
    async def search(q: Annotated[int, fastapi.Path(ge=1)]) -> None: ...


@case
def ported_bound() -> None:
    @App().get("/search")
    async def search(q: Annotated[int, Query(ge=1)]) -> None: ...


@case
def ported_default() -> None:
    @App().get("/search")
    async def search(q: Annotated[str, Query("q")]) -> None: ...


@case
def ported_argument_unknown() -> None:
    @App().get("/search")
    async def search(q: Annotated[str, Form(nonsense=True)]) -> None: ...


@case
def ported_depends_without_provider() -> None:
    @App().get("/search")
    async def search(q: Annotated[Response, Depends()]) -> None: ...


@case
def ported_depends_without_cache() -> None:
    @App().get("/search")
    async def search(q: Annotated[None, Depends(plain, use_cache=False)]) -> None: ...


@case
def ported_option() -> None:
    @App().get("/search", response_model=Item)  # type: ignore[call-arg]
    async def search() -> None: ...


@case
def ported_prefix() -> None:
    Router(prefix="/api")  # type: ignore[call-arg]


@case
def ported_security() -> None:
    @App().get("/search")
    async def search(q: Annotated[None, fastapi.Security(plain, scopes=["read"])]) -> None: ...


@case
def ported_scheme() -> None:
    oauth2 = fastapi.security.OAuth2PasswordBearer(tokenUrl="token")

    @App().get("/search")
    async def search(token: Annotated[str, Depends(oauth2)]) -> None: ...


@case
def ported_password_form() -> None:
    @App().post("/token")
    async def token(form: Annotated[Any, Depends(fastapi.security.OAuth2PasswordRequestForm)]) -> None: ...


@case
def ported_socket() -> None:
    @App().websocket("/")
    async def room(ws: fastapi.WebSocket) -> None: ...


@case
def ported_dependencies() -> None:
    @App().get("/", dependencies=[fastapi.Depends(plain)])
    async def search() -> None: ...


# ---- WebSockets


@case
def socket_without_annotation() -> None:
    @App().websocket("/")
    async def room(ws) -> None: ...  # type: ignore[no-untyped-def]


@case
def socket_conflict() -> None:
    app = App()

    @app.websocket("/rooms/{name}")
    async def room(ws: WebSocket, name: str) -> None: ...

    @app.websocket("/{kind}/tea")
    async def tea(ws: WebSocket, kind: str) -> None: ...


@case
def socket_not_taken() -> None:
    @App().websocket("/rooms/{name}")
    async def room(name: str) -> None: ...


@case
def socket_not_async() -> None:
    @App().websocket("/")
    def room(ws: WebSocket) -> None: ...


@case
def socket_with_body() -> None:
    @App().websocket("/")
    async def order(ws: WebSocket, item: Item) -> None: ...


@case
def socket_with_form_of_provider() -> None:
    async def upload(file: UploadFile) -> None: ...

    @App().websocket("/")
    async def order(ws: WebSocket, file: Annotated[None, Depends(upload)]) -> None: ...


@case
def socket_in_route() -> None:
    @App().get("/")
    async def room(ws: WebSocket) -> None: ...


@case
def socket_without_path() -> None:
    @App().websocket  # type: ignore[arg-type]
    async def room(ws: WebSocket) -> None: ...


@case
def socket_with_middleware() -> None:
    App().websocket("/", middleware=[plain])(plain)  # type: ignore[call-arg]


@case
def socket_with_option_of_http() -> None:
    App().websocket("/", max_body=5)(plain)  # type: ignore[call-arg]


@case
def socket_with_unknown_option() -> None:
    App().websocket("/", idle_timeuot=5)(plain)  # type: ignore[call-arg]


@case
def route_with_option_of_sockets() -> None:
    App().get("/", idle_timeout=5)(plain)  # type: ignore[call-arg]


@case
def option_origins() -> None:
    App(origins="https://example.com")


@case
def option_origins_any() -> None:
    App(origins=["*"])


@case
def option_origins_url() -> None:
    App(origins=["https://example.com/"])


@case
def option_origins_path() -> None:
    App(origins=["HTTPS://user@Example.com:443/chat?room=1"])


@case
def option_origins_socket() -> None:
    App(origins=["wss://example.com:8443"])


@case
def option_origins_pattern() -> None:
    App(origins=["https://*.example.com"])


@case
def option_origins_unicode() -> None:
    App(origins=["https://bücher.example"])


@case
def option_origins_host() -> None:
    App(origins=["example.com"])


@case
def option_idle_timeout() -> None:
    App(idle_timeout=0)


# ---- after the start


def started() -> App:
    app = App()
    app._freeze()
    return app


@case
def late_route() -> None:
    started().get("/late")(plain)


@case
def late_middleware() -> None:
    @started().middleware
    async def timing(request: Request, call_next: Next) -> Response: ...  # type: ignore[empty-body]


@pytest.mark.parametrize("name", CASES)
def test_the_message(name: str, golden: Golden) -> None:
    """The registration fails at its line with exactly this message."""
    with pytest.raises(RegistrationError) as caught:
        CASES[name]()
    golden(f"registration/{name}", f"{type(caught.value).__name__}: {caught.value}")


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_PLACE and not name.startswith("late_")])
def test_a_message_about_a_function_shows_its_file_and_line(name: str) -> None:
    """What is wrong with a handler, provider, middleware or catcher says where that was written."""
    with pytest.raises(RegistrationError, match=r"test_golden_registration\.py:\d+"):
        CASES[name]()


@pytest.mark.parametrize("name", CASES)
def test_the_message_is_for_people(name: str) -> None:
    """No object addresses, no machinery of ours, and lines that fit a terminal."""
    with pytest.raises(RegistrationError) as caught:
        CASES[name]()
    text = str(caught.value)
    assert " at 0x" not in text
    assert "<class '" not in text
    assert "_plan" not in text
    assert max(map(len, text.splitlines())) <= 160
