"""Errors on their way to the client."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from trivet._problem import ErrorMap, answer, bug, problem, reason_phrase
from trivet._response import Response
from trivet.errors import (
    ClientDisconnected,
    Fault,
    HTTPError,
    InvalidInput,
    NoResponse,
    Reason,
    RequestCancelled,
    ResponseError,
)


def content(response: Response) -> Any:
    return json.loads(response.body)


def test_a_problem_has_the_members_of_rfc_9457_in_their_order() -> None:
    """The standard ones first, then the extensions."""
    response = problem(404, "no such item", members={"item": 5}, instance="urn:uuid:0")
    assert response.status == 404
    assert response.body == (
        b'{"type":"about:blank","title":"Not Found","status":404,"detail":"no such item",'
        b'"instance":"urn:uuid:0","item":5}'
    )
    assert dict(response.headers) == {
        "content-type": "application/problem+json",
        "x-content-type-options": "nosniff",
    }


def test_what_was_not_said_is_left_out() -> None:
    """An empty detail or instance tells nothing."""
    assert content(problem(404)) == {"type": "about:blank", "title": "Not Found", "status": 404}


def test_a_title_can_be_given() -> None:
    """In place of the status's name."""
    assert content(problem(404, title="Gone fishing"))["title"] == "Gone fishing"


def test_extension_members_do_not_override_the_standard_ones() -> None:
    """Not even those that are absent."""
    members = {"type": "x", "title": "x", "status": 200, "detail": "x", "instance": "x", "own": 1}
    assert content(problem(409, members=members)) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "own": 1,
    }


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (400, "Bad Request"),
        (404, "Not Found"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (422, "Unprocessable Content"),
        (431, "Request Header Fields Too Large"),
        (499, "Client Closed Request"),
        (450, "Client Error"),
        (500, "Internal Server Error"),
        (503, "Service Unavailable"),
        (599, "Server Error"),
    ],
)
def test_titles_are_those_of_rfc_9110(status: int, title: str) -> None:
    """Whatever the version of Python calls them."""
    assert reason_phrase(status) == title


@pytest.mark.parametrize(
    ("status", "name", "value"),
    [(401, "www-authenticate", "Bearer"), (405, "allow", ""), (408, "connection", "close")],
)
def test_what_http_asks_of_a_status_is_there(status: int, name: str, value: str) -> None:
    """RFC 9110 sections 11.6.1, 15.5.6 and 15.5.9; what was given stays."""
    assert problem(status).headers[name] == value
    assert problem(status, headers={name.title(): "given"}).headers.getlist(name) == ["given"]
    assert name not in problem(404).headers


def test_the_answer_to_an_http_error_is_what_it_carries() -> None:
    """Detail, headers and members."""
    response = answer(HTTPError(409, "in use", headers={"Retry-After": "5"}, users=["a"]), instance="urn:uuid:1")
    assert response.status == 409
    assert response.headers["retry-after"] == "5"
    assert content(response) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "in use",
        "instance": "urn:uuid:1",
        "users": ["a"],
    }


def test_invalid_input_names_each_fault() -> None:
    """`errors` is the member that DESIGN promises."""
    response = answer(InvalidInput(422, "invalid", [Fault("query", "seconds", "must be an integer")]))
    assert content(response)["errors"] == [{"in": "query", "name": "seconds", "reason": "must be an integer"}]


def test_a_member_that_cannot_be_encoded_is_refused_with_the_remedy() -> None:
    """It is a bug of whoever raised the error, answered with 500."""
    with pytest.raises(ResponseError, match=r"a member of HTTPError\(409\) cannot be sent as JSON") as caught:
        answer(HTTPError(409, thing=object()))
    assert "raise HTTPError(409" in str(caught.value)


def test_a_header_of_an_error_cannot_forge_another() -> None:
    """It is set like any other."""
    with pytest.raises(ValueError, match=r"RFC 9110 section 5\.5"):
        answer(HTTPError(409, headers={"x-a": "1\r\nx-b: 2"}))


@pytest.mark.parametrize("status", [100, 700])
def test_a_problem_has_a_status_that_can_be_sent(status: int) -> None:
    """As any response."""
    with pytest.raises(ResponseError):
        problem(status)


def raised(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_a_bug_shows_nothing() -> None:
    """No message, no type, no traceback: they may hold secrets."""
    response = bug(raised("s3cret"), instance="urn:uuid:2")
    assert content(response) == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "instance": "urn:uuid:2",
    }


def test_a_bug_shows_itself_in_debug_mode() -> None:
    """The error as detail, and its traceback line by line."""
    shown = content(bug(raised("why"), debug=True))
    assert shown["detail"] == "ValueError: why"
    assert shown["traceback"][0] == "Traceback (most recent call last):"
    assert shown["traceback"][-1] == "ValueError: why"
    assert any("in raised" in line for line in shown["traceback"])


def test_a_bug_whose_text_is_broken_is_still_shown() -> None:
    """A lone surrogate, a `__str__` that raises, notes and groups."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = ExceptionGroup("several", [raised("\udcff"), Broken()])
    error.add_note("a note")
    shown = content(bug(error, debug=True))
    assert shown["detail"].startswith("ExceptionGroup: several")
    assert any("\\udcff" in line for line in shown["traceback"])
    assert any("a note" in line for line in shown["traceback"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HTTPError(418), 418),
        (InvalidInput(422, "invalid"), 422),
        (RequestCancelled("deadline"), 503),
        (RequestCancelled("drained"), 503),
        (RequestCancelled("shed"), 503),
        (RequestCancelled("disconnected"), 499),
        (ClientDisconnected(), 499),
        (httpx.TimeoutException(""), 504),
        (httpx.ConnectTimeout(""), 504),
        (httpx.PoolTimeout(""), 504),
        (httpx.RequestError(""), 502),
        (httpx.ConnectError(""), 502),
        (httpx.RemoteProtocolError(""), 502),
        (httpx.TooManyRedirects(""), 502),
        (type("Own", (httpx.ReadTimeout,), {})(""), 504),
        (type("ReadTimeout", (type("TimeoutException", (Exception,), {"__module__": "httpx2"}),), {})(), 504),
        (type("RequestError", (Exception,), {"__module__": "httpx2._exceptions"})(), 502),
    ],
)
def test_an_error_that_is_foreseen_answers_with_its_status(error: BaseException, status: int) -> None:
    """The first class of the MRO that is known decides."""
    known = ErrorMap().http_error(error)
    assert known is not None
    assert known.status == status


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (RequestCancelled("drained"), "1"),
        (RequestCancelled("shed", retry_after=7), "7"),
        (RequestCancelled("deadline"), None),
    ],
)
def test_who_may_come_back_is_told_when(error: RequestCancelled, after: str | None) -> None:
    """A server that stops has a successor: at once. What took too long once may do so again."""
    known = ErrorMap().http_error(error)
    assert known is not None
    assert (known.headers or {}).get("retry-after") == after


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        OSError(),
        TimeoutError(),
        NoResponse(),
        ResponseError(),
        RequestCancelled("failed"),
        KeyboardInterrupt(),
        SystemExit(1),
        ExceptionGroup("", [HTTPError(404)]),
        httpx.InvalidURL(""),
        httpx.HTTPStatusError("", request=httpx.Request("GET", "http://a"), response=httpx.Response(500)),
        type("RequestError", (Exception,), {"__module__": "other"})(),
        type("RequestError", (Exception,), {"__module__": "httpxx"})(),
    ],
)
def test_any_other_error_is_a_bug(error: BaseException) -> None:
    """None: it answers 500."""
    assert ErrorMap().http_error(error) is None


def test_an_http_error_stands_for_itself() -> None:
    """With all it carries."""
    error = HTTPError(404, "no such item")
    assert ErrorMap().http_error(error) is error


def test_what_a_server_upstream_said_is_not_told() -> None:
    """The message of httpx may name internal hosts."""
    known = ErrorMap().http_error(httpx.ConnectError("http://10.0.0.1:5432 refused"))
    assert known is not None
    assert known.detail == "A server that this one asked could not be reached."


class MissingError(LookupError):
    pass


def test_a_status_or_a_function_can_be_registered() -> None:
    """For the class and for what is derived from it; the nearest class wins, the last registration of one."""
    errors = ErrorMap()
    errors.register(LookupError, 410, "It is gone.")
    errors.register(MissingError, lambda error: HTTPError(404, f"no {error.args[0]}"))
    gone, missing = errors.http_error(KeyError("a")), errors.http_error(MissingError("b"))
    assert gone is not None
    assert missing is not None
    assert (gone.status, gone.detail) == (410, "It is gone.")
    assert (missing.status, missing.detail) == (404, "no b")
    errors.register(LookupError, lambda _: None)
    assert errors.http_error(KeyError("a")) is None
    assert ErrorMap().http_error(MissingError("b")) is None


def test_what_is_registered_wins_over_what_is_known_from_the_start() -> None:
    """An application may see its own clients otherwise."""
    errors = ErrorMap()
    errors.register(httpx.TimeoutException, 503)
    errors.register(InvalidInput, lambda error: HTTPError(400, error.detail))
    timeout, invalid = errors.http_error(httpx.ReadTimeout("")), errors.http_error(InvalidInput(422, "x"))
    assert timeout is not None
    assert invalid is not None
    assert (timeout.status, invalid.status) == (503, 400)


@pytest.mark.parametrize("error", [KeyError(), "KeyError", None, int, 404])
def test_only_an_exception_class_can_be_registered(error: Any) -> None:
    """The likely mistake is an instance."""
    with pytest.raises(TypeError, match="Pass the class, not an instance"):
        ErrorMap().register(error, 404)


@pytest.mark.parametrize("status", [200, 399, 600, 0])
def test_only_an_error_status_can_be_registered(status: int) -> None:
    """At the line that registers it."""
    with pytest.raises(ValueError, match="is not an error"):
        ErrorMap().register(KeyError, status)


def test_every_reason_of_a_cancellation_is_decided() -> None:
    """A new one must be thought about."""
    import typing

    errors = ErrorMap()
    decided = {reason: errors.http_error(RequestCancelled(reason)) for reason in typing.get_args(Reason)}
    assert {reason for reason, known in decided.items() if known is None} == {"returned", "failed"}
