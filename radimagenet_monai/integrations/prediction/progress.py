"""Progress of a prediction: a bar on a terminal, elsewhere a line now and then, each with a forecast."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from radimagenet_monai.engine.handlers.progress import duration

_SECONDS_BETWEEN_LINES = 30.0


class StudyProgress:
    """Counts studies, as a context.

    Parameters
    ----------
    studies
        Total number.
    done
        Number done by an earlier call, which do not count for the forecast.
    shown
        Whether to show anything.
    """

    def __init__(self, studies: int, done: int, shown: bool) -> None:
        self._studies, self._before, self._done = studies, done, done
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=studies, initial=done, desc="predict", unit="study", leave=False, disable=not (shown and terminal)
        )
        self._lines = shown and not terminal
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> StudyProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self) -> None:
        """Count a study."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        if self._lines and now >= self._last_line + _SECONDS_BETWEEN_LINES:
            self._last_line = now
            pace = (now - self._started) / (self._done - self._before)
            left = duration(pace * (self._studies - self._done))
            print(f"predict: {self._done} of {self._studies} studies, about {left} to go", file=sys.stderr, flush=True)
