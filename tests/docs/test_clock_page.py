"""What `docs/how-to/test-an-app.md` says of the mock clock is what pytest-trio does: whose clock a test runs on."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT, Page

pytest_plugins = ["pytester"]

PAGE = Page.read(ROOT / "docs" / "how-to" / "test-an-app.md")
[CONFTEST] = [block.code for block in PAGE.blocks if "def pytest_collection_modifyitems" in block.code]

TEST = """
import pytest
import trio
from trio.testing import MockClock


@pytest.fixture
async def client(FIXTURE):
    yield


async def test_it(TEST):
    assert isinstance(trio.lowlevel.current_clock(), MockClock) is MOCKED


def test_what_is_not_async():
    pass
"""


@pytest.mark.parametrize(
    ("fixture", "test", "conftest", "mocked"),
    [
        ("", "client", False, False),
        ("autojump_clock", "client", False, False),  # the trap: it is asked for, and not used
        ("", "client, autojump_clock", False, True),
        ("autojump_clock", "client, autojump_clock", False, True),
        ("", "client", True, True),
        ("autojump_clock", "client", True, True),
        ("", "client, autojump_clock", True, True),
    ],
)
def test_which_clock_a_test_has(
    fixture: str, test: str, conftest: bool, mocked: bool, pytester: pytest.Pytester
) -> None:
    """The test's own arguments decide, or the page's `conftest.py`."""
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    code = TEST.replace("FIXTURE", fixture).replace("TEST", test).replace("MOCKED", str(mocked))
    pytester.makepyfile(test_it=code)
    if conftest:
        pytester.makeconftest(CONFTEST)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(passed=2)
