"""``radimagenet quantize``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from radimagenet_monai.core.command_line import Options
from radimagenet_monai.core.config_options import config_options
from radimagenet_monai.core.flags import Count


def quantize(
    bundle: str,
    data: str,
    datalist: str | None = None,
    runtime: Literal["openvino-int8", "torch-int8"] = "openvino-int8",
    max_auc_change: float = 0.005,
    max_dice_change: float = 0.01,
    images: Count = 300,
    out: str | None = None,
    **settings: Any,
) -> None:
    """Make an int8 model of a trained bundle, and keep it only if it measures the same on validation data.

    The data are evaluated in float32 and in int8; the change of the AUC (of Dice, for a segmentation) is printed with
    its interval and written as JSON. Exit status 1 beyond the bound, and no int8 model is kept. Other options are keys
    of the bundle's evaluate.json, such as --split test.

    Args:
        bundle: folder of a trained bundle.
        data: validation data with labels, as --dataset_dir of evaluate.json.
        datalist: their records table; by default the data are split as in training, and the validation part is used.
        runtime: openvino-int8 or torch-int8.
        max_auc_change: largest change of an AUC that passes, up or down.
        max_dice_change: largest change of the mean Dice that passes, up or down.
        images: maximum number of images to calibrate with, evenly spaced.
        out: path of the report; by default output/quantization/RUNTIME.json in the bundle.
        settings: keys of the bundle's evaluate.json.
    """
    import logging

    from radimagenet_monai.integrations.runtimes.quantization import quantize_bundle, sentences

    logging.getLogger("monai").setLevel(logging.WARNING)
    report = quantize_bundle(
        str(bundle),
        str(data),
        None if datalist is None else str(datalist),
        runtime=str(runtime),
        max_auc_change=float(max_auc_change),
        max_dice_change=float(max_dice_change),
        images=images,
        out=None if out is None else str(out),
        settings=settings,
    )
    for sentence in sentences(report):
        print(sentence)
    print(f"runtime {runtime} can be used with this model now")


def _quantize_options(given: Mapping[str, Any]) -> Options:
    taken = ("bundle_root", "dataset_dir", "datalist", "output_dir", "runtime")
    return config_options("radimagenet quantize", given, "evaluate", taken)


COMMANDS = {"quantize": quantize}
OPTIONS = {"quantize": _quantize_options}
