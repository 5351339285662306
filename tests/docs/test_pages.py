"""Every fenced code block of the documentation does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page, PageError, update
from trivet.cli._options import ConfigError

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_block_does_what_the_page_says(
    path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """Code runs, messages and sessions are what is shown, commands and settings exist."""
    monkeypatch.chdir(ROOT)  # messages show paths relative to it
    if pytestconfig.getoption("--update-golden"):
        update(path)
    Page.read(path).check()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    """A relative link names a file that exists, and a heading in it."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken: list[str] = []
    for target in LINK.findall(prose):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


BROKEN = [
    ("```python\n1 / 0\n```\n", ZeroDivisionError, "division"),
    ("```python\nasync def test_it():\n    assert 1 == 2, 'unequal'\n```\n", AssertionError, "unequal"),
    (
        "```python\nimport trio\n\nasync def test_it():\n    await trio.sleep(0.1)\n```\n",
        PageError,
        "test_it waits in real time",
    ),
    (
        "```python\ndef wait():\n    trio.sleep(1)\n```\n```python\nimport trio\n```\n",
        PageError,
        "page.md:2: trio: used, and bound below",
    ),
    ("```python raises\npass\n```\n```text\nx\n```\n", PageError, "nothing was raised"),
    ("```python raises\nraise ValueError('this')\n```\n```text\nthat\n```\n", PageError, "the message differs"),
    ("```python raises\nraise ValueError('this')\n```\n", PageError, "no text block"),
    (
        "```python\nimport trivet\napp = trivet.App()\n```\n```console\n$ curl /\nHi\n```\n",
        PageError,
        "session differs",
    ),
    ("```sh\nmake coffee\n```\n", AssertionError, "no such make target"),
    ("```sh\npip install 'trivet[milk]'\n```\n", AssertionError, "no such extra"),
    ("```sh\npip install 'PATH-TO-CLONE[milk]'\n```\n", AssertionError, "no such extra"),
    ("```sh\nhypercorn --worker-klass trio main:app\n```\n", AssertionError, "no option --worker-klass"),
    ("```sh\nbrew coffee\n```\n", AssertionError, "nobody checks"),
    ("```toml\ngracefull_timeout = 3\n```\n", ConfigError, "gracefull_timeout"),
    ("```ini etc/app.service\n[Unit]\n```\n", PageError, "ini etc/app.service differs"),
    ("```ini etc/nothing\n[Unit]\n```\n", FileNotFoundError, "etc/nothing"),
    ("```javascript\nalert(1)\n```\n", PageError, "nobody runs"),
]


@pytest.mark.parametrize(("text", "error", "match"), BROKEN)
def test_a_page_whose_block_fails_fails_the_suite(
    text: str, error: type[Exception], match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way in which a block can be wrong is noticed, for what it is."""
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "app.service").write_text("[Service]\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(error, match=match):
        Page.read(page).check()


def test_a_page_goes_on_with_the_code_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over any number of pages; their tests are not run again."""
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    (tmp_path / "1.md").write_text("```python\nfirst = 1\n\ndef test_it():\n    1 / 0\n```\n")
    (tmp_path / "2.md").write_text("<!-- continues 1.md -->\n```python\nsecond = first + 1\n```\n")
    (tmp_path / "3.md").write_text(
        "<!-- continues 2.md -->\n```python\ndef test_it():\n    assert (first, second) == (1, 2)\n```\n"
    )
    Page.read(tmp_path / "3.md").check()
    (tmp_path / "2.md").write_text("```python\nsecond = 2\n```\n")
    with pytest.raises(NameError, match="first"):
        Page.read(tmp_path / "3.md").check()
