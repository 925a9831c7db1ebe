"""``radimagenet phantom``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radimagenet_monai.core.command_line import Options, parameters_of
from radimagenet_monai.core.flags import Count, Whole


def phantom(name: str, out: str, patients: Count = 200, seed: Whole = 0, workers: Count = 2, **options: Any) -> None:
    """Write synthetic images in the on-disk format of a dataset. They are phantoms, not patients.

    Args:
        name: the dataset to imitate, e.g. busi.
        out: folder to write to.
        patients: number of patients; depending on the dataset, each has one or several images.
        seed: random seed of the images.
        workers: number of drawing processes.
        options: options of the dataset, such as --size in pixels; an unknown one is refused with a list of valid ones.
    """
    from radimagenet_monai.phantoms import write_phantom

    print(write_phantom(str(name), str(out), patients=patients, seed=seed, workers=workers, **options))


def _phantom_options(given: Mapping[str, Any]) -> Options:
    from radimagenet_monai.phantoms import phantom_writer

    name = str(given["name"])
    own = ("out", "patients", "seed", "workers")
    return Options(f"phantom '{name}'", tuple(parameters_of(phantom_writer(name), leave_out=own)))


COMMANDS = {"phantom": phantom}
OPTIONS = {"phantom": _phantom_options}
