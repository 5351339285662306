"""A running application held to its own OpenAPI document by schemathesis.

This file owns one decision: which of schemathesis' checks and phases count, and what a failure shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trio

from tests.harness.processes import ServerProcess

__all__ = ["exercise"]

HOOKS = "tests.harness.contract_hooks"
ROOT = Path(__file__).resolve().parent.parent.parent


async def exercise(
    server: ServerProcess,
    *options: str,
    document: str = "/openapi.json",
    prefix: str = "",
    examples: int = 10,
    without: tuple[str, ...] = (),
    known: Mapping[str, str] | None = None,
) -> str:
    """Call every operation of a document with values that fit and values that do not.

    Args:
        server: serves the application.
        options: more of `schemathesis run`: `-H "Authorization: Bearer ..."`, `--exclude-path-regex ...`.
        document: where the document is.
        prefix: only paths that start with it.
        examples: how many requests to make up for each operation.
        without: checks to leave out, by schemathesis' names.
        known: parameters that have this value in all requests: what is there to be asked for.

    Returns:
        What schemathesis said.

    Raises:
        AssertionError: an answer with a status, content type or body that the document does not have, a 500, a value
            refused that fits, or taken that does not; with the request, as a line of curl.
    """
    host, port = server.address
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{host}:{port}{document}"]
    command += ["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)]
    command += ["--seed", "1", "--no-color", "--request-timeout", "20", "--generation-database", "none"]
    # On a busy machine making up values is slow, whatever the document says.
    command += ["--suppress-health-check", "too_slow"]
    command += ["--exclude-checks", ",".join(without)] if without else []
    command += ["--include-path-regex", f"^{prefix}"] if prefix else []
    with tempfile.TemporaryDirectory() as directory:  # it keeps what it found in the one that it runs in
        lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in (known or {}).items()]
        await trio.Path(directory, "schemathesis.toml").write_text("\n".join(["[parameters]", *lines]))
        process = await trio.run_process(
            [*command, *options],
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**_environment(), "SCHEMATHESIS_HOOKS": HOOKS},
        )
    output = process.stdout.decode(errors="replace")
    assert process.returncode == 0, output
    return output


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "framework"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}
