"""`trivet` with a profiler in it: what `python -m benchmarks.profile` starts. This file owns its arguments only."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.profile import serve

if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
