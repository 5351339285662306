"""What the README shows is what there is, and every page can be found from it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, Page


def test_the_first_code_is_the_sample_application() -> None:
    """What a visitor reads first is the file that `apps.hello` serves."""
    first = Page.read(ROOT / "README.md").blocks[0]
    assert first.code == (ROOT / "apps" / "hello" / "main.py").read_text()


def test_what_is_said_of_speed_is_what_was_measured() -> None:
    """Each figure is below that of the results, and not by far."""
    text = re.sub(r"\s+", " ", (ROOT / "README.md").read_text().partition("## How fast")[2])
    claims = re.findall(r"more than (\d+) times as many (?:requests )?as (\S+ on \w+)", text)
    assert len(claims) == 3
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    for times, of in claims:
        found = re.search(rf"trivet, of {of} +\|[^|]+\| +([\d.]+) ", results)
        assert found is not None, of
        assert int(times) < float(found[1]) < 1.6 * int(times), of


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page of the documentation is an island."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
            linked = [(page.parent / link).resolve() for link in links if "://" not in link]
            waiting += [link for link in linked if link.exists()]  # the results of a benchmark may not be there yet
    assert set(ROOT.glob("docs/**/*.md")) - seen == set()


def test_the_index_lists_every_page() -> None:
    """Once, below the heading of its kind."""
    listed = re.findall(r"\]\(([^)#\s]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    inside = [link for link in listed if not link.startswith("..")]
    assert sorted(inside) == sorted(str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/*/*.md"))
    kinds = [link.partition("/")[0] for link in inside]
    assert [kind for kind, after in zip(kinds, [*kinds[1:], ""], strict=True) if kind != after] == [
        "tutorial",
        "how-to",
        "reference",
        "explanation",
    ]
