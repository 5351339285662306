"""`python -m tests.simulation --seeds 20000`, or `--seed 17 -v` for one, with everything that happened."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.world import Run, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--stop", action="store_true", help="at the first that fails")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the trace")
    options = parser.parse_args()
    if options.seed is not None:
        return _show(simulate(options.seed), verbose=options.verbose)
    began, bad, statuses = time.monotonic(), 0, Counter[int]()
    for run in _runs(range(options.first, options.first + options.seeds), options.jobs):
        statuses.update(run.statuses)
        if run.faults:
            bad += 1
            _show(run, verbose=False)
            if options.stop:
                break
    print(f"{options.seeds} seeds, {bad} failed, {time.monotonic() - began:.1f} s")
    print(f"answers: {dict(sorted(statuses.items()))}")
    return bool(bad)


def _runs(seeds: range, jobs: int) -> Iterator[Run]:
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_quiet, seeds, chunksize=25)


def _quiet(seed: int) -> Run:
    run = simulate(seed)
    run.trace.clear()  # not worth sending
    return run


def _show(run: Run, *, verbose: bool) -> int:
    if verbose:
        print("\n".join(run.trace))
    print(f"seed {run.seed}: {'failed' if run.faults else 'passed'}, trace {run.digest}")
    for fault in run.faults:
        print("   ", fault.rstrip().replace("\n", "\n        "))
    return bool(run.faults)


if __name__ == "__main__":
    sys.exit(main())
