"""The service from outside, on each database, in memory and over a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio
from argon2 import PasswordHasher

from apps.conftest import Run
from apps.notes import accounts, api
from apps.notes.conftest import CHEAP, PASSWORD, Running, Service, sign_in
from apps.notes.main import create_app
from apps.notes.settings import Settings
from apps.notes.storage import Transaction
from trivet import App
from trivet.testing import TestClient

ENDLESS = {
    "sqlite": "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "postgresql": "SELECT pg_sleep(3600)",
}


@pytest.fixture
async def service(running: Running, app: App) -> AsyncGenerator[Service]:
    """The service, and Ada."""
    async with running(app) as service:
        yield service


async def add(service: Service, **fields: Any) -> dict[str, Any]:
    """Add a note of Ada's and return it."""
    answer = await service.client.post("/notes", json=fields, headers=service.ada)
    assert answer.status_code == 201, answer.text
    note: dict[str, Any] = answer.json()
    return note


async def found(service: Service, **query: Any) -> list[str]:
    """The titles of Ada's notes that a query finds."""
    answer = await service.client.get("/notes", params=query, headers=service.ada)
    assert answer.status_code == 200, answer.text
    return [note["title"] for note in answer.json()["notes"]]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    return body


async def test_life_of_a_note(service: Service) -> None:
    """A note is added, read, replaced, changed and deleted, and each version has a tag of its own."""
    client, ada = service.client, service.ada
    added = await client.post("/notes", json={"title": "Trio", "text": "Read.", "tags": ["b", "a", "b"]}, headers=ada)
    assert added.status_code == 201
    path = added.headers["location"]
    assert added.json() | {"created": "", "changed": ""} == {
        "id": added.json()["id"],
        "version": 1,
        "title": "Trio",
        "text": "Read.",
        "tags": ["a", "b"],
        "created": "",
        "changed": "",
    }
    read = await client.get(path, headers=ada)
    assert (read.json(), read.headers["etag"]) == (added.json(), added.headers["etag"])

    replaced = await client.put(path, json={"title": "Trio!"}, headers=ada | {"if-match": read.headers["etag"]})
    assert replaced.status_code == 200, replaced.text
    assert (replaced.json()["title"], replaced.json()["text"], replaced.json()["tags"]) == ("Trio!", "", [])
    assert replaced.json()["version"] == 2
    assert replaced.headers["etag"] != read.headers["etag"]
    assert replaced.json()["created"] == added.json()["created"] < replaced.json()["changed"]

    deleted = await client.delete(path, headers=ada | {"if-match": replaced.headers["etag"]})
    assert (deleted.status_code, deleted.content) == (204, b"")
    problem(await client.get(path, headers=ada), 404)
    problem(await client.delete(path, headers=ada | {"if-match": "*"}), 404)


PATCHES: list[tuple[dict[str, Any], tuple[str, str, list[str]]]] = [
    ({}, ("T", "x", ["a"])),
    ({"title": "U"}, ("U", "x", ["a"])),
    ({"text": None}, ("T", "", ["a"])),
    ({"tags": None, "text": "y"}, ("T", "y", [])),
    ({"tags": ["c", "b"]}, ("T", "x", ["b", "c"])),
]


async def test_merge_patch(service: Service) -> None:
    """What a patch leaves out stays, `null` takes away, and a list is replaced as a whole (RFC 7396)."""
    for media_type in ("application/merge-patch+json", "application/json"):
        for patch, expected in PATCHES:
            note = await add(service, title="T", text="x", tags=["a"])
            headers = service.ada | {"if-match": '"1"', "content-type": media_type}
            content = httpx.Request("PATCH", "http://x", json=patch).content
            changed = await service.client.patch(f"/notes/{note['id']}", content=content, headers=headers)
            assert changed.status_code == 200, changed.text
            assert (changed.json()["title"], changed.json()["text"], changed.json()["tags"]) == expected
            assert changed.headers["etag"] == '"2"'


INVALID: list[tuple[str, str, object, set[str]]] = [
    ("POST", "/notes", {}, {"/title"}),
    ("POST", "/notes", {"title": ""}, {"/title"}),
    ("POST", "/notes", {"title": "x" * 201}, {"/title"}),
    ("POST", "/notes", {"title": "a\0b"}, {"/title"}),
    ("POST", "/notes", {"title": "x", "text": 1, "tags": ["two words"]}, {"/text", "/tags/0"}),
    ("POST", "/notes", {"title": "x", "tags": ["line\n"]}, {"/tags/0"}),
    ("POST", "/notes", {"title": "x", "tags": ["x"] * 21}, {"/tags"}),
    ("POST", "/notes", {"title": "x", "colour": "red"}, {"/colour"}),
    ("PATCH", "/notes/1", {"title": None}, {"/title"}),
    ("PATCH", "/notes/1", [], {""}),
    ("GET", "/notes?limit=0", None, {"limit"}),
    ("GET", "/notes?limit=101&before=0", None, {"limit", "before"}),
    ("GET", "/notes?before=9223372036854775808", None, {"before"}),
    ("GET", "/notes?tag=a%00b", None, {"tag"}),
    ("POST", "/users", {"name": "Ada Lovelace", "password": "short"}, {"/name", "/password"}),
]


async def test_invalid_input(service: Service) -> None:
    """What does not fit is refused with 422 and each place where it does not."""
    await add(service, title="T")
    for method, path, body, names in INVALID:
        answer = await service.client.request(method, path, json=body, headers=service.ada | {"if-match": "*"})
        assert {fault["name"] for fault in problem(answer, 422)["errors"]} == names, (method, path, body)
    assert await found(service) == ["T"]


async def test_preconditions(service: Service) -> None:
    """Who has this version is not sent it again; who has another cannot change it; who does not say, neither."""
    client, ada = service.client, service.ada
    path = f"/notes/{(await add(service, title='T'))['id']}"
    unchanged = await client.get(path, headers=ada | {"if-none-match": '"1"'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", '"1"')
    assert (await client.get(path, headers=ada | {"if-none-match": '"2"'})).status_code == 200
    requests: list[tuple[str, dict[str, str] | None]] = [
        ("PUT", {"title": "U"}),
        ("PATCH", {"title": "U"}),
        ("DELETE", None),
    ]
    for method, body in requests:
        problem(await client.request(method, path, json=body, headers=ada), 428)
        problem(await client.request(method, path, json=body, headers=ada | {"if-match": '"2"'}), 412)
    assert (await client.get(path, headers=ada)).json()["title"] == "T"
    changed = await client.patch(path, json={"title": "U"}, headers=ada | {"if-match": "*"})
    assert changed.json()["version"] == 2


async def test_one_of_two_writers_wins(service: Service) -> None:
    """Of several who change the same version at the same time one does, and the others are told."""
    path = f"/notes/{(await add(service, title='T'))['id']}"
    statuses: list[int] = []

    async def write(title: str) -> None:
        headers = service.ada | {"if-match": '"1"'}
        statuses.append((await service.client.put(path, json={"title": title}, headers=headers)).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(write, f"by {number}")
    assert sorted(statuses) == [200, 412, 412, 412, 412, 412]
    assert (await service.client.get(path, headers=service.ada)).json()["version"] == 2


async def test_pages(service: Service) -> None:
    """Notes come newest first, page by page, and one that is added meanwhile shifts none of them."""
    for number in range(7):
        await add(service, title=str(number))
    query, titles = {"limit": "3"}, list[str]()
    for expected in (["6", "5", "4"], ["3", "2", "1"], ["0"]):
        page = (await service.client.get("/notes", params=query, headers=service.ada)).json()
        assert [note["title"] for note in page["notes"]] == expected
        titles += expected
        await add(service, title="new")
        query["before"] = page["next"]
    assert page["next"] is None
    assert await found(service, limit=1, before=1) == []


async def test_tags(service: Service) -> None:
    """A tag finds the notes that have it, two find those that have both, whole tags only."""
    await add(service, title="1", tags=["trio", "python"])
    await add(service, title="2", tags=["trio"])
    await add(service, title="3", tags=["triode", "größe"])
    assert await found(service) == ["3", "2", "1"]
    assert await found(service, tag="trio") == ["2", "1"]
    assert await found(service, tag=["trio", "python"]) == ["1"]
    assert await found(service, tag=["trio", "trio"]) == ["2", "1"]
    assert await found(service, tag="größe") == ["3"]
    assert await found(service, tag="tri%") == []


async def test_full_text(service: Service) -> None:
    """Words are found in title and text, by how they begin, all of them; what is no word is no operator either."""
    await add(service, title="Structured concurrency", text="A nursery owns its tasks.")
    await add(service, title="Gardening", text="The nursery has 30 roses, concurrently. naïve_case")
    assert await found(service, q="nursery") == ["Gardening", "Structured concurrency"]
    assert await found(service, q="NURS concur") == ["Gardening", "Structured concurrency"]
    assert await found(service, q="nursery tasks") == ["Structured concurrency"]
    assert await found(service, q="30") == ["Gardening"]
    assert await found(service, q="naïve") == ["Gardening"]
    assert await found(service, q="ursery") == []
    assert await found(service, q="nursery NOT tasks") == []
    for odd in ('"', "'", "(", "nursery*", "a & | ! b", ":*", "\\", "title:nursery", "%", "-", "\0", "²", "_", "'; --"):
        await found(service, q=odd)  # 200, whatever it finds
    assert await found(service, q="!?") == []


async def test_what_is_found_follows_changes(service: Service) -> None:
    """A note is found by what it says now."""
    note = await add(service, title="before", tags=["old"])
    path, headers = f"/notes/{note['id']}", service.ada | {"if-match": "*"}
    await service.client.put(path, json={"title": "after", "tags": ["young"]}, headers=headers)
    assert [await found(service, q="before"), await found(service, tag="old")] == [[], []]
    assert [await found(service, q="after"), await found(service, tag="young")] == [["after"], ["after"]]
    await service.client.delete(path, headers=headers)
    assert [await found(service, q="after"), await found(service, tag="young")] == [[], []]


async def test_notes_are_private(service: Service) -> None:
    """Somebody else's notes are not there, whatever is asked."""
    path = f"/notes/{(await add(service, title='secret', tags=['mine']))['id']}"
    grace = await sign_in(service.client, "grace")
    for query in ({}, {"q": "secret"}, {"tag": "mine"}):
        assert (await service.client.get("/notes", params=query, headers=grace)).json() == {"notes": [], "next": None}
    problem(await service.client.get(path, headers=grace), 404)
    for method in ("PUT", "PATCH", "DELETE"):
        body = None if method == "DELETE" else {"title": "x"}
        problem(await service.client.request(method, path, json=body, headers=grace | {"if-match": "*"}), 404)
    assert await found(service, q="secret") == ["secret"]


async def test_signed_out(service: Service) -> None:
    """Without a good token every request for notes is 401, before its body is looked at, and says how to sign in."""
    for authorization in (None, "", "Bearer", "Bearer x", "Basic YWRhOng=", "bearer é"):
        headers = [(b"content-type", b"text/x")]
        if authorization is not None:
            headers.append((b"authorization", authorization.encode()))
        for method, path in [("GET", "/notes"), ("POST", "/notes"), ("GET", "/notes/1"), ("DELETE", "/token")]:
            answer = await service.client.request(method, path, content=b"{", headers=headers)
            problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_sign_out(service: Service) -> None:
    """A token is worthless after signing out; another one of the same user is not."""
    again = await service.client.post(
        "/token", data={"grant_type": "password", "username": "ada", "password": PASSWORD}
    )
    other = {"authorization": f"Bearer {again.json()['access_token']}"}
    assert (await service.client.delete("/token", headers=service.ada)).status_code == 204
    problem(await service.client.get("/notes", headers=service.ada), 401)
    assert (await service.client.get("/notes", headers=other)).status_code == 200


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"grant_type": "password", "username": "ada", "password": "wrong"}, "invalid_grant"),
    ({"grant_type": "password", "username": "nobody", "password": PASSWORD}, "invalid_grant"),
    ({"grant_type": "password", "username": "", "password": ""}, "invalid_request"),
    ({"grant_type": "password", "username": "ada' OR '1'='1", "password": PASSWORD}, "invalid_grant"),
    ({"grant_type": "password", "username": "a\0", "password": PASSWORD}, "invalid_grant"),
    ({"grant_type": "client_credentials", "username": "ada", "password": PASSWORD}, "unsupported_grant_type"),
    ({"grant_type": "password", "username": "ada"}, "invalid_request"),
]


async def test_sign_in_refused(service: Service) -> None:
    """Name and password that do not belong together give no token, and do not say which of them is wrong."""
    for form, error in REFUSED:
        body = problem(await service.client.post("/token", data=form), 400)
        assert body["error"] == error
        if error == "invalid_grant":
            assert body["detail"] == "Name and password do not belong together."


async def test_passwords_are_not_guessed(service: Service) -> None:
    """Soon nobody may try any more, the one who knows it included, and is told for how long."""
    form = {"grant_type": "password", "username": "ada", "password": "guess"}
    answers = [await service.client.post("/token", data=form) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [400] * 9 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    problem(await service.client.post("/token", data=form | {"password": PASSWORD}), 429)
    problem(await service.client.post("/token", data=form | {"username": "grace"}), 400)


async def test_writing_is_limited(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user may write so often; to read, and others, it makes no difference."""
    monkeypatch.setattr(api.writes, "quota", replace(api.writes.quota, requests=2, burst=2))
    grace = await sign_in(service.client, "grace")
    for status in (201, 201, 429):
        answer = await service.client.post("/notes", json={"title": "T"}, headers=service.ada)
        assert answer.status_code == status
    assert len(await found(service)) == 2
    assert (await service.client.post("/notes", json={"title": "T"}, headers=grace)).status_code == 201


async def test_token_is_not_cached(service: Service) -> None:
    """An answer with a token in it is kept by nobody on the way (RFC 6749, section 5.1)."""
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    answer = await service.client.post("/token", data=form)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"access_token", "token_type", "expires_in"}


async def test_one_name_one_user(service: Service) -> None:
    """Of several who register the same name at the same time one gets it."""
    statuses: list[int] = []

    async def register() -> None:
        answer = await service.client.post("/users", json={"name": "grace", "password": PASSWORD})
        statuses.append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(register)
    assert sorted(statuses) == [201, 409, 409, 409]


# ---- what is kept


async def test_secrets_are_not_kept(app: App, database_url: str) -> None:
    """Neither a password nor a token stands in the database."""

    @app.get("/everything")
    async def everything(tx: api.InTransaction) -> str:
        return repr([await tx.all("SELECT * FROM users"), await tx.all("SELECT * FROM tokens")])

    async with TestClient(app) as client:
        ada = await sign_in(client, "ada")
        kept = (await client.get("/everything")).text
    assert "ada" in kept
    assert PASSWORD not in kept
    assert ada["authorization"].removeprefix("Bearer ") not in kept


async def test_token_expires(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a token is worthless."""
    monkeypatch.setattr(accounts, "LIFETIME", 0)
    async with TestClient(app) as client:
        ada = await sign_in(client, "ada")
        problem(await client.get("/notes", headers=ada), 401)


async def test_passwords_are_hashed_anew(database_url: str) -> None:
    """When the costs are raised, each password is hashed with the new ones as soon as it is known."""
    async with TestClient(create_app(Settings(database_url, CHEAP))) as client:
        await sign_in(client, "ada")
    dearer = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    app = create_app(Settings(database_url, dearer))

    @app.get("/kept")
    async def kept(tx: api.InTransaction) -> str:
        return str(await tx.all("SELECT password FROM users"))

    async with TestClient(app) as client:
        assert "t=1" in (await client.get("/kept")).text
        form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        assert (await client.post("/token", data=form)).status_code == 200
        assert "t=2" in (await client.get("/kept")).text
        assert (await client.post("/token", data=form)).status_code == 200


async def test_notes_survive_a_restart(database_url: str) -> None:
    """What was written is there when the service starts again."""
    async with TestClient(create_app(Settings(database_url, CHEAP))) as client:
        ada = await sign_in(client, "ada")
        await client.post("/notes", json={"title": "T"}, headers=ada)
    async with TestClient(create_app(Settings(database_url, CHEAP))) as client:
        assert (await client.get("/notes", headers=ada)).json()["notes"][0]["title"] == "T"


# ---- requests that end early


def with_trouble(app: App, database_url: str) -> App:
    """The service, with handlers that write something and then never come to an end, or fail."""
    endless = ENDLESS[database_url.partition(":")[0]]

    async def write(tx: Transaction) -> None:
        await tx.all("INSERT INTO users (name, password) VALUES ('grace', '')")

    @app.post("/endless", on_disconnect="cancel", timeout=60)
    async def wait(tx: api.InTransaction) -> None:
        await write(tx)
        await tx.all(endless)

    @app.get("/endless/reading", timeout=60)
    async def read(tx: api.InTransaction) -> None:
        await tx.all(endless)

    @app.post("/late", timeout=0.3)
    async def late(tx: api.InTransaction) -> None:
        await write(tx)
        await tx.all(endless)

    @app.post("/failing")
    async def fail(tx: api.InTransaction) -> None:
        await write(tx)
        raise ZeroDivisionError

    @app.post("/uncommitted")
    async def uncommitted(tx: api.InTransaction) -> str:
        await write(tx)
        await tx.all("CREATE TABLE late (owner BIGINT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)")
        await tx.all("INSERT INTO late (owner) VALUES (1000)")
        return "saved"

    @app.get("/names")
    async def names(tx: api.InTransaction) -> list[str]:
        return [name for (name,) in await tx.all("SELECT name FROM users")]

    return app


@pytest.fixture
async def trouble(
    running: Running, app: App, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Service]:
    """The service with one connection for each kind, so that a request which leaves it broken is noticed."""
    monkeypatch.setattr("apps.notes.storage.CONNECTIONS", 1)
    async with running(with_trouble(app, database_url)) as service:
        yield service


async def usable(service: Service) -> None:
    """Nothing was kept of what the request wrote, and others can write."""
    with trio.fail_after(10):
        assert (await service.client.get("/names")).json() == ["ada"]
        await add(service, title="after")


@pytest.mark.parametrize(("method", "path"), [("GET", "/endless/reading"), ("POST", "/endless")])
async def test_client_leaves_during_a_query(method: str, path: str, trouble: Service) -> None:
    """The query is stopped, and the transaction rolled back."""
    async with trouble.client.open(method, path) as exchange:
        await trio.sleep(0.2)
        exchange.leave()
    await usable(trouble)


async def test_deadline_passes_during_a_query(trouble: Service) -> None:
    """The query is stopped, the transaction rolled back, and then 503 is sent."""
    with trio.fail_after(10):
        problem(await trouble.client.post("/late"), 503)
    await usable(trouble)


@pytest.mark.parametrize("path", ["/failing", "/uncommitted"])
async def test_what_fails_is_not_kept(path: str, trouble: Service) -> None:
    """A handler that fails is 500, and so is a commit: the client is never told that it went well."""
    problem(await trouble.client.post(path), 500)
    await usable(trouble)


async def test_slow_body_holds_up_nobody(service: Service) -> None:
    """While the body of one request trickles in, others write: a transaction begins when the body is there."""
    headers = service.ada | {"content-type": "application/json"}
    async with service.client.open("POST", "/notes", headers=headers, upload=True) as slow:
        await slow.send_body(b'{"title": ')
        for number in range(3):
            with trio.fail_after(5):
                await add(service, title=str(number))
        await slow.send_body(b'"slow"}')
        await slow.end_body()
        assert (await slow.head())[0] == 201
    assert await found(service, limit=1) == ["slow"]


async def test_over_sockets(run: Run, database_url: str) -> None:
    """As a process, with the URL from the environment; what it kept is there after a restart."""
    environment = {"NOTES_DATABASE_URL": database_url}
    async with run("apps.notes:app", environment=environment) as server:
        async with server.client() as client:
            ada = await sign_in(client, "ada")
            assert (await client.post("/notes", json={"title": "one"}, headers=ada)).status_code == 201
        assert await server.stop() == 0
    async with run("apps.notes:app", environment=environment) as server, server.client() as client:
        notes = (await client.get("/notes", headers=ada)).json()["notes"]
    assert [note["title"] for note in notes] == ["one"]
