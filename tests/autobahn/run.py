"""Autobahn|Testsuite, the conformance suite of WebSocket libraries, against the chat's echo under `trivet run`.

    python -m tests.autobahn.run                 the 247 cases of sections 1 to 7 and 10: seconds
    python -m tests.autobahn.run --all           all, with limits (9) and compression (12, 13): a quarter of an hour
    python -m tests.autobahn.run --all --write   and keep the result in docs/reference/websocket-conformance.md

It runs on Python 2.7 only, which this looks for where pyenv keeps its versions and in PATH, or is told by PYTHON27;
the packages go into `.autobahn/`. Where there is none, it says so and exits with 77, as a test that is skipped does.

A case that fails, or does not close properly, ends it with 1. NON-STRICT is no failure: in these cases a message comes
before a protocol error in the same packet, and whether its echo or the close frame goes out first is not laid down.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
HOME: Final = ROOT / ".autobahn"
PAGE: Final = ROOT / "docs" / "reference" / "websocket-conformance.md"
SKIPPED: Final = 77
SLOW: Final = ["9.*", "12.*", "13.*"]
CASES: Final = 247
"""In the quick run: fewer would mean that some have not been run at all."""

PACKAGES: Final = ("autobahntestsuite==25.10.1",)
VIRTUALENV: Final = "virtualenv==20.15.1"
"""The last for Python 2.7."""

BEHAVIOURS: Final = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED")
SECTIONS: Final = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "close handshake",
    9: "limits, performance",
    10: "automatic fragmentation",
    12: "compression: payloads",
    13: "compression: parameters",
}


def main() -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="with sections 9, 12 and 13")
    parser.add_argument("--write", action="store_true", help="write the page of results")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="these only, such as 5.* 7.1.1")
    arguments = parser.parse_args()
    python = find_python()
    if python is None:
        print("no Python 2.7 here, on which Autobahn|Testsuite runs:  pyenv install 2.7.18", file=sys.stderr)
        return SKIPPED
    client = install(python)
    with tempfile.TemporaryDirectory() as directory, server() as url:
        began = time.perf_counter()
        excluded = [] if arguments.all or arguments.cases else SLOW
        results = fuzz(client, url, Path(directory), arguments.cases or ["*"], excluded)
        print(f"{len(results)} cases in {time.perf_counter() - began:.0f} s")
    faults = judge(results, at_least=0 if arguments.cases else CASES)
    print(table(results))
    print("\n".join(faults) or "no case has failed")
    if arguments.write:
        PAGE.write_text(page(results))
    return 1 if faults else 0


# What it takes -------------------------------------------------------------------------------------------------------


def find_python() -> str | None:
    """A Python 2.7 that runs."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    candidates = [os.environ.get("PYTHON27"), shutil.which("python2.7"), *sorted(versions.glob("2.7*/bin/python2.7"))]
    for candidate in candidates:
        if candidate is not None:
            done = subprocess.run([candidate, "--version"], capture_output=True, check=False)
            if done.returncode == 0:
                return str(candidate)
    return None


def install(python: str) -> Path:
    """Autobahn's command, in a directory of its own."""
    made = HOME / "venv"
    client = made / "bin" / "wstest"
    if not client.exists():
        print("installing Autobahn|Testsuite ...", flush=True)
        boot = HOME / "boot"
        environment = {**os.environ, "PYTHONPATH": str(boot), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        _run([python, "-m", "pip", "install", "--quiet", "--target", str(boot), VIRTUALENV], environment)
        _run([python, "-m", "virtualenv", "--quiet", str(made)], environment)
        _run([str(made / "bin" / "pip"), "install", "--quiet", *PACKAGES], {**environment, "PYTHONPATH": ""})
    return client


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")


@contextmanager
def server() -> Generator[str]:
    """The echo under `trivet run`, with compression, which is off by default; gives its URL."""
    command = [sys.executable, "-m", "trivet", "run", "apps.chat:app", "--bind", "127.0.0.1:0"]
    command += ["--limit-websocket-deflate", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                found = re.search(r"Running on http://(\S+)", line)
                if found is not None:
                    yield f"ws://{found[1]}/echo"
                    break
            else:
                raise SystemExit("trivet run did not start")
        finally:
            process.terminate()


def fuzz(client: Path, url: str, directory: Path, cases: list[str], excluded: list[str]) -> dict[str, dict[str, Any]]:
    """Run Autobahn's client against `url`; returns what it says of each case."""
    specification = {
        "outdir": str(directory / "reports"),
        "options": {"failByDrop": False},
        "servers": [{"agent": "trivet", "url": url, "options": {"version": 18}}],
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }
    path = directory / "specification.json"
    path.write_text(json.dumps(specification))
    command = [str(client), "-m", "fuzzingclient", "-s", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600, cwd=directory)
    index = directory / "reports" / "index.json"
    if not index.exists():
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found: dict[str, dict[str, Any]] = json.loads(index.read_text())["trivet"]
    return found


# What it means -------------------------------------------------------------------------------------------------------


def judge(results: Mapping[str, Mapping[str, Any]], *, at_least: int) -> list[str]:
    """What is wrong, a line for each fault."""
    faults = [
        f"{case}: {result['behavior']}, closing {result['behaviorClose']}"
        for case, result in sorted(results.items(), key=_number)
        if result["behavior"] not in BEHAVIOURS[:4] or result["behaviorClose"] not in ("OK", "INFORMATIONAL")
    ]
    if len(results) < at_least:
        faults.append(f"only {len(results)} cases have been run, of {at_least}")
    return faults


def _number(item: tuple[str, object]) -> list[int]:
    return [int(part) for part in item[0].split(".")]


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The results by section, in Markdown."""
    sections: dict[int, Counter[str]] = {}
    for case, result in results.items():
        sections.setdefault(int(case.split(".")[0]), Counter())[result["behavior"]] += 1
    rows = [("section", "about", "cases", *BEHAVIOURS), ("---",) * (3 + len(BEHAVIOURS))]
    for section, counts in sorted(sections.items()):
        rows.append((str(section), SECTIONS.get(section, ""), str(sum(counts.values())), *_counted(counts)))
    rows.append(("all", "", str(len(results)), *_counted(sum(sections.values(), Counter()))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _counted(counts: Mapping[str, int]) -> Iterable[str]:
    return (str(counts.get(behaviour, 0)) for behaviour in BEHAVIOURS)


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of results."""
    loose = [case for case, result in sorted(results.items(), key=_number) if result["behavior"] == "NON-STRICT"]
    return f"""# WebSocket conformance

What [Autobahn|Testsuite](https://github.com/crossbario/autobahn-testsuite) {PACKAGES[0].partition("==")[2]}, the
conformance suite of WebSocket libraries, finds of the echo of `apps/chat` under `trivet run` on HTTP/1.1, with
compression turned on (`--limit-websocket-deflate 0`). It is written by `python -m tests.autobahn.run --all --write`; CI
runs sections 1 to 7 and 10 of it each time, and fails if a case does.

{table(results)}

Each connection was also closed as the standard says.

NON-STRICT: {", ".join(loose) or "none"}.

In these cases valid messages come in one packet with a protocol error. We close as soon as we see the error, so that
the echo of a message before it does not always go out any more; which of the cases that hits depends on how the packet
is split, and differs from run to run. INFORMATIONAL are cases that no behaviour fails.
"""


if __name__ == "__main__":
    sys.exit(main())
