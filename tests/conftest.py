"""Makes `tests/oracles` importable, and keeps parallel test processes from taking each other's cores."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "oracles"))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, and for the bundle runs that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
