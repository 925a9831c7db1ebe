"""Damaged copies of image files, by seed, and a worker process that reads them.

Run as a script it reads jobs from standard input, one JSON list ``[source, number]`` a line, and answers each with a
line before and a line after, so that a crash or a hang of the process names the mutant that caused it.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.reader import read_image

SEED = 20240611
SECONDS = 10.0
"""Of the processor, after which a mutant counts as too much work."""
HANG = 120.0
"""Of the clock, after which it counts as hanging."""


def mutant(data: bytes, name: str, number: int) -> bytes:
    """The ``number``-th damaged copy of ``data``: cut short, or with one to eight bytes changed, at places by seed."""
    words = np.frombuffer(name.encode().ljust(64, b"\0")[:64], np.uint32)
    rng = np.random.default_rng([SEED, number, *words.tolist()])
    if number % 4 == 0:
        return data[: int(rng.integers(0, len(data)))]
    damaged = bytearray(data)
    # Half of the damage goes to the first kilobytes, where the headers are.
    reach = min(len(data), 4096) if number % 4 == 1 else len(data)
    for _ in range(int(rng.integers(1, 9))):
        place = int(rng.integers(0, reach))
        damaged[place] = int(rng.integers(0, 256)) if rng.random() < 0.5 else damaged[place] ^ (1 << rng.integers(0, 8))
    return bytes(damaged)


def main() -> None:
    """Answer ``started`` and then ``ok``, ``refused`` or the unexpected exception, with the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            source, number = json.loads(line)
            target = Path(folder) / Path(source).name
            target.write_bytes(mutant(Path(source).read_bytes(), Path(source).name, number))
            print(json.dumps(["started", source, number]), flush=True)
            faulthandler.dump_traceback_later(HANG, exit=True)
            start = time.process_time()
            try:
                image = read_image(target)
                # A file cut short may only be read where the cut has spared the image.
                cut = number % 4 == 0 and not np.array_equal(image.pixels, read_image(source).pixels)
                outcome = "half an image" if cut or not image.pixels.size else "ok"
            except UnreadableImageError as exc:
                outcome = "refused" if exc.path and exc.stage and exc.cause else "speechless"
            except BaseException as exc:  # also what is no Exception, such as a panic of a decoder in Rust
                outcome = repr(exc)
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps([outcome, source, number, time.process_time() - start]), flush=True)


if __name__ == "__main__":
    main()
