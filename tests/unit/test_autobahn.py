"""How the results of Autobahn|Testsuite are judged (`tests/autobahn/run.py`)."""

from __future__ import annotations

import pytest

from tests.autobahn.run import judge, table


def result(behaviour: str, closing: str = "OK") -> dict[str, str]:
    return {"behavior": behaviour, "behaviorClose": closing}


def test_what_is_no_fault() -> None:
    """Strict, not strict, informational, or not offered."""
    fine = {f"1.{n}": result(name) for n, name in enumerate(["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"])}
    assert judge(fine, at_least=4) == []
    assert judge(fine, at_least=5) == ["only 4 cases have been run, of 5"]


@pytest.mark.parametrize(
    "bad", [result("FAILED"), result("WRONG CODE"), result("OK", "FAILED"), result("OK", "UNCLEAN"), result("MISSING")]
)
def test_what_is_one(bad: dict[str, str]) -> None:
    """Anything else, and a connection that is not closed properly."""
    assert judge({"10.1": result("OK"), "2.1": bad}, at_least=2) == [
        f"2.1: {bad['behavior']}, closing {bad['behaviorClose']}"
    ]


def test_the_table_counts_by_section() -> None:
    """In order of their numbers, with a row for all."""
    rows = table({"10.1": result("OK"), "2.1": result("FAILED"), "2.2": result("OK")}).splitlines()[2:]
    assert rows == [
        "| 2 | pings and pongs | 2 | 1 | 0 | 0 | 0 | 1 |",
        "| 10 | automatic fragmentation | 1 | 1 | 0 | 0 | 0 | 0 |",
        "| all |  | 3 | 2 | 0 | 0 | 0 | 1 |",
    ]
