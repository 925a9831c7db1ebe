"""``radimagenet pack``: what it does and prints."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType
from typing import Literal

from radimagenet_monai.flags import Count


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
    """Pack the images of a records table, once, into a store that training reads in their place.

    Give the store to a bundle as --store_dir. A packing that was interrupted goes on when it is started again.
    Images that are unreadable or blank are left out and listed in quarantine.csv in the store.

    Args:
        records: the table, the folder that holds records.csv, or the dataset as its authors give it out.
        out: folder of the store.
        size: rows and columns of the packed images; by default those of the task.
        task: the bundle that is to read the store; its preparation of images is used.
        root: folder that the table's paths start from; by default the one that prepare noted, or the table's own.
        workers: processes; by default one for each core.
        keep_aspect: fit images on black instead of stretching them.
        unreadable: skip leaves unreadable images out; stop ends with an error once all others are packed.
        blank: skip leaves blank images out, whose gray levels span at most 3 of 255; keep packs them.
        verify: read the whole store again at the end and compare each image with its hash.
        share: a new folder for a copy to give away: no patient ids, names of files or folders, or further columns.
        share_salt: secret text behind the pseudonyms of patients and exams; by default random, and kept nowhere.
        share_columns: columns that the copy keeps as they are, such as sex,site.
    """
    from radimagenet_monai.data.packed_store import QUARANTINE_FILE
    from radimagenet_monai.data.packing import pack_records
    from radimagenet_monai.datasets.own_images import named
    from radimagenet_monai.intensity.plausibility import in_words
    from radimagenet_monai.training.flags import parse_flag

    # Lines with rate and time to finish, where there is no terminal for a bar.
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
    """A scheduler's request to end, as if it had been typed."""
    raise KeyboardInterrupt
