"""Writing a phantom dataset in worker processes, with a progress bar, completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from radimagenet_monai.core.atomic import atomic_write_text, scratch_folder
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.core.workers import WorkerPool

README_FILE = "README.txt"

Job = TypeVar("Job")


@dataclass(frozen=True)
class Rehearsal:
    """Patients, pixels and epochs with which ``radimagenet bundles rehearse`` takes two cores a few minutes per bundle.

    A module of a phantom binds one to ``REHEARSAL``. ``size`` is the writer's option of that name.
    """

    patients: int
    size: int | tuple[int, int]
    epochs: int


def write_dataset(
    out: str | os.PathLike[str],
    name: str,
    jobs: Sequence[Job],
    write: Callable[[Path, Job], Any],
    readme: str,
    finish: Callable[[Path, list[Any]], None] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write ``out/name`` and ``out/README.txt``, which says that the images are phantoms.

    Parameters
    ----------
    out
        Folder to write to; created if it does not exist.
    name
        Name of the folder for the dataset's own files. It appears once all of them are written.
    jobs
        One per study or image.
    write
        ``write(folder, job)`` writes the files of one job into ``folder`` and creates the subfolders that it needs. It
        must be a module-level function (or a partial of one), since it may be sent to other processes.
    readme
        Text of ``README.txt``.
    finish
        ``finish(folder, results)`` writes files such as tables at the end, from the results of ``write`` for all jobs,
        in order.
    workers
        Number of writing processes; 1 writes in this process.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    ConfigurationError
        If ``out/name`` already exists.
    """
    out = Path(out)
    target = out / name
    if target.exists():
        raise ConfigurationError(f"'{target}' exists already; give another folder, or remove it first")
    out.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out, name) as temporary:
        folder = temporary / name
        folder.mkdir()
        work = partial(_write_into, folder, write)
        with WorkerPool(work, workers if workers > 1 else 0, len(jobs), _died) as pool:
            bar = tqdm(pool.map(jobs), f"Writing {name} phantom", len(jobs), disable=None if progress else True)
            results = list(bar)
        if finish is not None:
            finish(folder, results)
        atomic_write_text(out / README_FILE, readme)
        folder.rename(target)
    return out


def _write_into(folder: Path, write: Callable[[Path, Job], Any], job: Job, _: None) -> Any:
    return write(folder, job)


def _died(_: object, how: str) -> RadImageNetError:
    return RadImageNetError(f"a process that was writing a phantom {how}; use fewer workers if memory ran out")
