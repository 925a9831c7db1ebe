"""The command ``radimagenet pack``."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType
from typing import Literal

from radimagenet_monai.core.flags import Count


def pack(
    records: str,
    out: str,
    size: Count | None = None,
    task: str = "radimagenet_resnet50_pretraining",
    root: str | None = None,
    workers: Count | None = None,
    keep_aspect: bool = False,
    unreadable: Literal["skip", "stop"] = "skip",
    blank: Literal["skip", "keep"] = "skip",
    verify: bool = False,
    share: str | None = None,
    share_salt: str | None = None,
    share_columns: str = "",
) -> None:
    """Pack the images of a records table once into a store that training reads instead.

    Give the store to a bundle as --store_dir. Interrupted packing continues when the command is run again.
    Unreadable and blank images are left out and listed in quarantine.csv in the store.

    Args:
        records: the table, the folder that contains records.csv, or the dataset as its authors distribute it.
        out: folder of the store.
        size: rows and columns of the packed images; by default those of the task.
        task: bundle that will read the store; its image preparation is used.
        root: folder that the table's paths are relative to; by default the one recorded by prepare, or the table's own.
        workers: number of processes; by default one per core.
        keep_aspect: fit images onto a black background instead of stretching them.
        unreadable: skip leaves unreadable images out; stop ends with an error after all others are packed.
        blank: skip leaves out blank images, whose gray levels span at most 3 of 255; keep packs them.
        verify: read the whole store again at the end and check each image against its hash.
        share: new folder for a copy to share, without patient ids, file or folder names, or further columns.
        share_salt: secret text from which patient and exam pseudonyms are made; by default random and never stored.
        share_columns: columns that the copy keeps unchanged, such as sex,site.
    """
    from radimagenet_monai.core.flags import parse_flag
    from radimagenet_monai.datasets.readers.own_images import named
    from radimagenet_monai.intensity.checks.plausibility import in_words
    from radimagenet_monai.store.packed_store import QUARANTINE_FILE
    from radimagenet_monai.store.packing import pack_records

    # Without a terminal for a progress bar, log lines give the rate and the remaining time.
    logging.basicConfig(format="%(message)s")
    messages = logging.getLogger("radimagenet_monai")
    level = messages.level
    messages.setLevel(logging.INFO)
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        done = pack_records(
            str(records),
            str(out),
            size,
            str(task),
            None if root is None else str(root),
            workers,
            parse_flag(keep_aspect),
            unreadable,
            blank,
            verify=parse_flag(verify),
            share=None if share is None else str(share),
            share_salt=None if share_salt is None else str(share_salt),
            share_columns=named(share_columns),
        )
    except KeyboardInterrupt:
        print(f"stopped; the finished parts in {out} are kept, and the same command goes on with them", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        messages.setLevel(level)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    rate = f" ({done.packed / done.seconds:.0f} images/s)" if done.packed else ""
    print(
        f"{done.images} images in {done.parts} part(s), {done.size / 1e9:.2f} GB; {done.packed} packed now in "
        f"{done.seconds:.0f} s{rate}"
    )
    for sentence in in_words(done.questions, done.images):
        print(f"note: {sentence}")
    if done.unreadable or done.blank:
        print(f"left out: {done.unreadable} unreadable, {done.blank} blank, see {out}/{QUARANTINE_FILE}")
    print(f"{'verified' if verify else 'sealed'}: {done.folder}")
    if share is not None:
        print(f"to give away: {share}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat a scheduler's request to stop like Ctrl-C."""
    raise KeyboardInterrupt


COMMANDS = {"pack": pack}
