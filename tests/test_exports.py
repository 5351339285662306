"""The façade: what `trivet` exports is what it says it exports, and no more than a microframework should."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import trivet


def test_all_names_what_is_there() -> None:
    """`__all__` and the public names of the package are the same."""
    imported = {name for name, value in vars(trivet).items() if not isinstance(value, ModuleType)}
    assert set(trivet.__all__) == {name for name in imported if not name.startswith("_")}


def test_it_stays_a_microframework() -> None:
    """At most 40 names, each once."""
    assert len(trivet.__all__) <= 40
    assert len(trivet.__all__) == len(set(trivet.__all__))


def test_classes_are_shown_by_the_name_that_users_import() -> None:
    """A traceback says trivet.HTTPError, not trivet.errors.HTTPError."""
    assert trivet.HTTPError.__module__ == "trivet"
    assert repr(trivet.App) == "<class 'trivet.App'>"


def test_importing_it_imports_no_extra() -> None:
    """`import trivet` imports neither the server nor the client nor what only they need."""
    code = (
        "import sys, trivet; "
        "print(sorted({'httpx', 'hypercorn', 'pytest', 'trivet.testing', 'trivet.server', 'trivet.contrib'} "
        "& set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
