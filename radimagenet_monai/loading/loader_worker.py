"""Set-up of a data loader's worker process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import cv2


def start_worker(worker_id: int) -> None:
    """Keep OpenCV to this process' own thread, and leave SIGTERM to the parent.

    A scheduler, and torchrun, send SIGTERM to a whole group of processes. The training process then finishes its
    iteration and saves; if its workers died at once, the iteration would fail without images.
    """
    cv2.setNumThreads(0)
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, args=(parent.pid,), daemon=True).start()


def _end_when_told(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
