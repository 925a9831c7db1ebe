"""Makes `tests/oracles` importable: reference implementations and reference images that several test folders share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "oracles"))
