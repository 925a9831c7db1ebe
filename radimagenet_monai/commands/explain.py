"""``radimagenet explain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from radimagenet_monai.core.command_line import Options
from radimagenet_monai.core.config_options import config_options
from radimagenet_monai.core.flags import Count, Whole, parse_flag


def explain(
    bundle: str,
    input: str,
    out: str,
    records: str | None = None,
    split: Literal["train", "validation", "test", "all"] = "test",
    fold: Whole | None = None,
    target: str | None = None,
    method: Literal["gradcam", "gradcam++"] = "gradcam",
    level: Literal["1/32", "1/16"] = "1/32",
    threshold: float | None = None,
    tolerance: float = 0,
    sanity: bool = True,
    limit: Count | None = None,
    **settings: Any,
) -> None:
    """Show where a trained classifier looks, and compare it with lesion masks if there are any.

    Writes overlays, localization.csv, localization.json and explain.html. Other options are keys of the bundle's
    inference.json, such as --allow_modality_mismatch true.

    Args:
        bundle: folder of a trained classification bundle.
        input: an image, a folder of images, a records table or its folder.
        out: folder for the results.
        records: the records table, if input is the folder that its paths are relative to.
        split: part of the records to use: train, validation, test or all.
        fold: fold of the records to use as the test part.
        target: class to explain; by default the positive one of two classes if there are masks, else the predicted one.
        method: gradcam or gradcam++.
        level: feature map, 1/32 (the last) or 1/16 (finer).
        threshold: fraction of a map's maximum for Dice, 0.1 to 0.9; by default chosen on the validation part.
        tolerance: distance in pixels by which a map's maximum may miss the lesion.
        sanity: compare with maps from random weights.
        limit: maximum number of images, evenly spaced.
        settings: keys of the bundle's inference.json.
    """
    from radimagenet_monai.explain.explanation import explain as run

    print(
        run(
            str(bundle),
            str(input),
            str(out),
            method=str(method),
            records=None if records is None else str(records),
            split=str(split),
            fold=fold,
            target=None if target is None else str(target),
            level=str(level),
            threshold=threshold,
            tolerance=tolerance,
            sanity=parse_flag(sanity),
            limit=limit,
            settings=settings,
        )
    )


def _explain_options(given: Mapping[str, Any]) -> Options:
    return config_options("radimagenet explain", given, "inference", ("bundle_root",))


COMMANDS = {"explain": explain}
OPTIONS = {"explain": _explain_options}
