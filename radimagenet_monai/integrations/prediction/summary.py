"""What a prediction prints at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radimagenet_monai.engine.outputs.writers import PREDICTIONS_JSON
from radimagenet_monai.integrations.prediction.prediction import Prediction

_GROUPED = {
    "series": "one answer for each series or file (--group study: one for all series of a DICOM study)",
    "study": "one answer for all series of a DICOM study (--group series: one for each)",
}


def summary_lines(out: str | os.PathLike[str], predictions: Sequence[Prediction], names: str) -> list[str]:
    """Every study by answer or reason, what was left out, and where the results are."""
    head: dict[str, Any] = json.loads((Path(out) / PREDICTIONS_JSON).read_text(encoding="utf-8"))
    lines = [f"{head['answered']} of {len(predictions)} studies have an answer", f"  {_GROUPED[head['group']]}"]
    if head["abstained"]:
        lines.append(f"  undecided: {head['abstained']} below the calibrated probability {head['abstain_below']:g}")
    if head["unusual"]:
        lines.append(f"  unusual: {head['unusual']} unlike the validation images of the model")
    lines += [f"  no answer: {count} x {reason}" for reason, count in head["problems"].items()]
    lines += [f"  left out: {count} x {reason}" for reason, count in head["files_left_out"].items()]
    lines += [f"  question: {count} x {question}" for question, count in head["studies_with_questions"].items()]
    if names == "files" and _ambiguous(predictions):
        lines.append("  files of equal names are told apart by --names paths, which writes the names of folders")
    lines.append(str(Path(out)))
    return lines


def _ambiguous(predictions: Sequence[Prediction]) -> bool:
    named = [prediction.row["file"] for prediction in predictions]
    return len(set(named)) < len(named)
