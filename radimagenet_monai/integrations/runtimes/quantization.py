"""Quantize a trained bundle to int8, and keep the result only if it measures the same on validation data."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow, create_workflow
from torch import Tensor, nn

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.engine.start.preflight import require_writable
from radimagenet_monai.engine.trained.model_file import load_torch_file
from radimagenet_monai.integrations.runtimes.changes import Change, change_of_dice, changes_of_auc
from radimagenet_monai.integrations.runtimes.kept_files import FOLDER, model_digest
from radimagenet_monai.integrations.runtimes.names import RUNTIMES, require_runtime
from radimagenet_monai.integrations.runtimes.passed_models import drop_passed, keep_passed
from radimagenet_monai.loading.loader import records_of

logger = logging.getLogger(__name__)

MAX_AUC_CHANGE = 0.005
MAX_DICE_CHANGE = 0.01
CALIBRATION_IMAGES = 300


class QuantizationError(RadImageNetError):
    """An int8 network that measures differently from the network in float32; it is not kept."""


def quantize_bundle(
    bundle: str | os.PathLike[str],
    data: str | os.PathLike[str],
    datalist: str | os.PathLike[str] | None = None,
    runtime: str = "openvino-int8",
    max_auc_change: float = MAX_AUC_CHANGE,
    max_dice_change: float = MAX_DICE_CHANGE,
    images: int = CALIBRATION_IMAGES,
    out: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Quantize the trained model of a bundle, evaluate it, and keep it beside ``models/model.pt`` if it passes.

    The bundle's ``evaluate.json`` runs twice on the same images, in float32 and in int8. Calibration takes up to
    ``images`` of them, evenly spaced, without their labels. The model passes if no AUC (or Dice, of a segmentation)
    changes by more than the bound, up or down. The report is written in any case; an int8 model that was there is
    removed if the new one does not pass.

    Parameters
    ----------
    bundle
        Folder of the bundle.
    data, datalist
        ``dataset_dir`` and ``datalist`` of ``evaluate.json``.
    runtime
        ``"openvino-int8"`` or ``"torch-int8"``.
    max_auc_change, max_dice_change
        Largest change that passes.
    images
        Largest number of calibration images.
    out
        Path of the report; by default ``output/quantization/RUNTIME.json`` in the bundle.
    settings
        Other keys of ``evaluate.json``. ``split`` is by default ``"validation"``.

    Returns
    -------
    dict
        The report.

    Raises
    ------
    QuantizationError
        If the model does not pass.
    ConfigurationError
        For an unknown runtime or key, a package that is not installed, a pretraining bundle, or a bundle that cannot
        be written to.
    """
    bundle = Path(bundle)
    require_runtime(runtime)
    if not RUNTIMES[runtime].is_quantized:
        quantized = " or ".join(name for name, item in RUNTIMES.items() if item.is_quantized)
        raise ConfigurationError(f"runtime {runtime!r} does not compute in int8; give {quantized}")
    module = import_module(f"{__package__}.{RUNTIMES[runtime].module}")
    module.require_quantizer()
    config = _read_config(bundle)
    kind = _kind_of(config, bundle)
    overrides = {"split": "validation", **dict(settings or {}), "dataset_dir": str(data)}
    if datalist is not None:
        overrides["datalist"] = str(datalist)
    unknown = sorted(set(overrides) - set(config))
    if unknown:
        raise ConfigurationError(f"{', '.join(unknown)}: no such keys of evaluate.json; known are {', '.join(config)}")
    report_path = Path(out) if out is not None else bundle / "output" / "quantization" / f"{runtime}.json"
    checkpoint = Path(str(overrides.get("checkpoint", bundle / "models" / "model.pt")))
    load_torch_file(checkpoint)  # a missing or damaged file is one line here
    digest = model_digest(checkpoint)
    require_writable(checkpoint.parent / FOLDER, report_path.parent)

    with TemporaryDirectory(prefix="quantize_") as scratch:
        runs = Path(scratch)
        before = _Evaluation(bundle, {**overrides, "output_dir": str(runs / "float32")})
        collected = before.collecting(images)
        before.run()
        calibration = collected.images()
        if not len(calibration):
            raise ConfigurationError("the validation data hold no image that can be read")
        shape = (int(calibration.shape[1]), int(calibration.shape[2]), int(calibration.shape[3]))
        candidate = runs / "int8"
        candidate.mkdir()
        network = before.network.to("cpu").eval()
        logger.info("quantizing with %d images of %s", len(calibration), "x".join(map(str, shape)))
        module.write(candidate, network, calibration)
        after = _Evaluation(bundle, {**overrides, "output_dir": str(runs / "int8_outputs")})
        after.replace(_Computed(module.load(candidate, network, shape)))
        after.run()

        bound = max_dice_change if kind == "segmentation" else max_auc_change
        changes = _changes(before, after, kind)
        passed = all(abs(item.change) <= bound for item in changes)
        report: dict[str, Any] = {
            "passed": passed,
            "runtime": runtime,
            "model": digest,
            "shape": list(shape),
            "bound": bound,
            "changes": [item.to_dict() for item in changes],
            "largest_probability_change": _largest_difference(before, after, kind),
            "calibration_images": len(calibration),
            "split": str(overrides["split"]),
            "versions": module.versions(),
            "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        }
        atomic_write_text(report_path, json.dumps(report, indent=1) + "\n")
        if model_digest(checkpoint) != digest:
            raise QuantizationError(f"{checkpoint.name} changed while it was quantized; run this again")
        if not passed:
            drop_passed(checkpoint, runtime)
            worst = max(changes, key=lambda item: abs(item.change))
            raise QuantizationError(
                f"runtime {runtime} is refused: {worst.in_words()}; at most {bound:g} is allowed. No int8 model is "
                f"kept; use runtime openvino or onnx. Report: {report_path}"
            )

        def write(folder: Path) -> dict[str, Any]:
            for path in candidate.iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
            return report

        keep_passed(checkpoint, runtime, write)
    return report


def sentences(report: Mapping[str, Any]) -> list[str]:
    """The changes of a report, one line each."""
    return [Change(**item).in_words() for item in report["changes"]]


class _Evaluation:
    """A run of ``evaluate.json`` in this process."""

    def __init__(self, bundle: Path, overrides: Mapping[str, Any]) -> None:
        self.workflow: ConfigWorkflow = create_workflow(
            config_file=str(bundle / "configs" / "evaluate.json"),
            workflow_type="inference",
            bundle_root=str(bundle),
            **overrides,
        )
        self.network: nn.Module = self.get("network_def")
        self.evaluator = self.get("evaluator")

    def get(self, key: str) -> Any:
        return self.workflow.parser.get_parsed_content(key)

    def collecting(self, most: int) -> _Collected:
        """Keep the images of the coming run, evenly spaced."""
        collected = _Collected(len(self.get("dataset")), most)
        self.evaluator.network.register_forward_pre_hook(collected)
        return collected

    def replace(self, network: nn.Module) -> None:
        self.evaluator.network = network

    def run(self) -> None:
        self.workflow.run()
        self.workflow.finalize()


class _Computed(nn.Module):
    def __init__(self, run: Any) -> None:
        super().__init__()
        self._run = run

    def forward(self, image: Tensor) -> Tensor:
        images = image.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(self._run(images)).to(image.device)


class _Collected:
    """Forward hook that keeps every k-th image of a pass."""

    def __init__(self, count: int, most: int) -> None:
        self.step = max(1, math.ceil(count / max(1, most)))
        self.seen = 0
        self.kept: list[Tensor] = []

    def __call__(self, network: nn.Module, given: tuple[Tensor, ...]) -> None:
        for image in given[0]:
            if self.seen % self.step == 0:
                self.kept.append(image.detach().to("cpu", torch.float32, copy=True).contiguous())
            self.seen += 1

    def images(self) -> Tensor:
        """``(N, C, H, W)`` float32."""
        return torch.stack(self.kept).as_subclass(Tensor) if self.kept else torch.empty(0)


def _read_config(bundle: Path) -> dict[str, Any]:
    config = bundle / "configs" / "evaluate.json"
    if not config.is_file():
        raise ConfigurationError(f"'{bundle}' has no configs/evaluate.json; give the folder of a trained bundle")
    return dict(json.loads(config.read_text(encoding="utf-8")))


def _kind_of(config: Mapping[str, Any], bundle: Path) -> str:
    handlers = [str(item.get("_target_")) for item in config.get("handlers", []) if isinstance(item, Mapping)]
    for ending, kind in ((".OverlapWriter", "segmentation"), (".EvaluationWriter", "classification")):
        if any(handler.endswith(ending) and "Streaming" not in handler for handler in handlers):
            return kind
    raise ConfigurationError(
        f"{bundle.resolve().name} is neither a classification nor a segmentation bundle, which int8 is validated for"
    )


def _changes(before: _Evaluation, after: _Evaluation, kind: str) -> list[Change]:
    data = records_of(before.get("dataset"))
    states = before.evaluator.state, after.evaluator.state
    if kind == "segmentation":
        return [change_of_dice(states[0].overlaps, states[1].overlaps, data)]
    known = before.workflow.parser.get()
    findings = before.get("findings") if "findings" in known else ()
    return changes_of_auc(
        states[0].predictions, states[1].predictions, data, list(findings or ()), str(before.get("aggregate"))
    )


def _largest_difference(before: _Evaluation, after: _Evaluation, kind: str) -> float | None:
    if kind == "segmentation":
        return None
    tables = before.evaluator.state.predictions, after.evaluator.state.predictions
    return float(np.abs(tables[0].probabilities - tables[1].probabilities).max())
