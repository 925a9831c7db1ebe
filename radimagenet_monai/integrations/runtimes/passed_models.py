"""Quantized models that passed ``radimagenet quantize``, kept beside the model they were made from.

Model and report are in one folder that appears at once, so there is no int8 model without its report.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.integrations.runtimes.kept_files import (
    Write,
    discard,
    facts_of,
    is_whole,
    keep,
    kept_folder,
    model_digest,
)


def passed_folder(checkpoint: str | os.PathLike[str], runtime: str) -> Path:
    """Where the quantized model of exactly this model file is kept, if there is one."""
    return kept_folder(checkpoint, runtime)


def require_passed(checkpoint: str | os.PathLike[str], runtime: str) -> dict[str, Any]:
    """The report of the quantized model of exactly this model file.

    Raises
    ------
    ConfigurationError
        If there is none: it was never made, did not pass, is damaged, or was made from another model.
    """
    folder = passed_folder(checkpoint, runtime)
    report = facts_of(folder)
    if not (is_whole(folder) and report.get("passed") is True and report.get("model") == model_digest(checkpoint)):
        raise ConfigurationError(
            f"runtime {runtime}: no int8 model of exactly this {Path(checkpoint).name} has passed its validation; run "
            f"'radimagenet quantize BUNDLE --data VALIDATION --runtime {runtime}', or give another runtime"
        )
    return report


def keep_passed(checkpoint: str | os.PathLike[str], runtime: str, write: Write) -> None:
    """Put a quantized model with its report in place of an earlier one.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    drop_passed(checkpoint, runtime)
    keep(passed_folder(checkpoint, runtime), write)


def drop_passed(checkpoint: str | os.PathLike[str], runtime: str) -> None:
    """Remove a quantized model, so that it is not used any more."""
    discard(passed_folder(checkpoint, runtime))
