"""Progress of packing: a bar on a terminal, occasional lines in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time

from tqdm import tqdm

from radimagenet_monai.store.packed_row import Progress

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class PackingProgress:
    """Counts images, as a context.

    Parameters
    ----------
    images
        Total number of images.
    progress
        ``True``: a bar on a terminal, nothing elsewhere; ``"lines"``: a bar on a terminal, elsewhere a log line with
        rate and time to finish every ten seconds; ``False``: nothing.
    word
        Word for the activity.
    """

    def __init__(self, images: int, progress: Progress, word: str = "packing") -> None:
        self._images = images
        self._word = word
        self._bar = _Bar(total=images, desc=word, unit="image", disable=not (progress and sys.stderr.isatty()))
        self._lines = progress == "lines" and self._bar.disable
        self._done = 0
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> PackingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, images: int = 1) -> None:
        """Add to the number of finished images."""
        self._done += images
        self._bar.update(images)
        now = time.monotonic()
        if self._lines and now >= self._last_line + _SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = self._done / max(now - self._started, 1e-9)
            left = time.strftime("%H:%M:%S", time.gmtime((self._images - self._done) / rate))
            logger.info(
                "%s: %d of %d images, %.0f images/s, %s to go", self._word, self._done, self._images, rate, left
            )


class _Bar(tqdm):
    """A progress bar of this process alone.

    tqdm's own lock is shared by all processes that were forked from one parent: if one is killed while it holds the
    lock, every bar of the others waits for ever. Nor may a monitor thread run while workers are forked.
    """

    _lock = threading.RLock()
    monitor_interval = 0
