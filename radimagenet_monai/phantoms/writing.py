"""Writing a phantom dataset in worker processes, with a progress bar, completely or not at all."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from radimagenet_monai.core.atomic import atomic_write_text, scratch_folder
from radimagenet_monai.core.errors import ConfigurationError

README_FILE = "README.txt"

Job = TypeVar("Job")


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
        must be a module-level function (or a partial of one), since it is sent to spawned processes.
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
        work = partial(write, folder)
        bar = partial(tqdm, total=len(jobs), desc=f"Writing {name} phantom", disable=None if progress else True)
        if workers > 1:
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
                results = list(bar(pool.map(work, jobs, chunksize=4)))
        else:
            results = list(bar(map(work, jobs)))
        if finish is not None:
            finish(folder, results)
        atomic_write_text(out / README_FILE, readme)
        folder.rename(target)
    return out
