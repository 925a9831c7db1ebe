"""Inference on the CPU: images/s of every runtime beside bare ONNX Runtime and OpenVINO, and a CT series to its answer.

    python benchmarks/inference.py [--architecture resnet50] [--kind classifier] [--image_size 224] [--batches 1,8]
        [--threads 2] [--rounds 5] [--seconds 1.0] [--slices 300]

All runtimes compute the same tensors in one process and take turns, so that a busy moment meets each of them; the best
round counts. The peers are the two libraries as their own documentation calls them, on the same exported network: what
they gain over ours is the cost of our wrapper. Wanted: ours at least 0.95 of its peer, int8 at least 3 times torch.
Weights are random, which does not change the speed; int8 is calibrated on noise.

The series is written by this script: slices of 512 x 512, uncompressed. Its parts are measured inside a run of the
bundle's own inference.json in one process without workers, so that they add up to the whole.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import create_workflow
from torch import nn

from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.engine.outputs.writers import PredictionWriter
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.integrations.runtimes import (
    RUNTIMES,
    build_runtime,
    onnx_float32,
    openvino_float32,
    openvino_int8,
    torch_int8,
)
from radimagenet_monai.models import build_classifier, build_unet
from radimagenet_monai.phantoms.ct_dicom import SCANNERS, Series, write_slice

Compute = Callable[[torch.Tensor], Any]


def runtimes(network: nn.Module, shape: tuple[int, int, int], folder: Path) -> dict[str, Compute]:
    """Ours, by name."""
    checkpoint = folder / "model.pt"
    save_model(checkpoint, network, {})
    found: dict[str, Compute] = {}
    for name, runtime in RUNTIMES.items():
        if not runtime.is_quantized:
            found[name] = build_runtime(name, network, shape, checkpoint)
    noise = torch.rand(8, *shape)
    for name, module in (("torch-int8", torch_int8), ("openvino-int8", openvino_int8)):
        made = folder / name
        made.mkdir()
        module.write(made, network, noise)
        run = module.load(made, network, shape)
        found[name] = lambda images, run=run: torch.from_numpy(run(images.contiguous().numpy()))
    return found


def peers(network: nn.Module, shape: tuple[int, int, int], folder: Path) -> dict[str, Compute]:
    """The bare libraries on the same exports."""
    import onnxruntime
    import openvino

    onnx_float32.write(folder, network, shape)
    session = onnxruntime.InferenceSession(folder / onnx_float32.FILE)
    openvino_float32.write(folder, network, shape)
    core = openvino.Core()
    exact = core.compile_model(folder / openvino_float32.FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    default = core.compile_model(folder / openvino_float32.FILE, "CPU")
    quantized = core.compile_model(folder / "openvino-int8" / openvino_float32.FILE, "CPU")
    return {
        "bare ONNX Runtime": lambda images: session.run(None, {onnx_float32.INPUT: images.numpy()}),
        "bare OpenVINO, f32": lambda images: exact(images.numpy())[0],
        "bare OpenVINO, its default precision": lambda images: default(images.numpy())[0],
        "bare OpenVINO, int8": lambda images: quantized(images.numpy())[0],
    }


PEER_OF = {
    "onnx": "bare ONNX Runtime",
    "openvino": "bare OpenVINO, f32",
    "openvino-int8": "bare OpenVINO, int8",
}


def rates(computed: dict[str, Compute], images: torch.Tensor, rounds: int, seconds: float) -> dict[str, float]:
    """Images/s of each in its best round."""
    best: dict[str, float] = defaultdict(float)
    with torch.inference_mode():
        for compute in computed.values():
            compute(images)
        for _ in range(rounds):
            for name, compute in computed.items():
                start, done = time.perf_counter(), 0
                while (passed := time.perf_counter() - start) < seconds:
                    compute(images)
                    done += len(images)
                best[name] = max(best[name], done / passed)
    return dict(best)


def write_series(folder: Path, slices: int) -> None:
    """A CT series of noise around soft tissue, 512 x 512."""
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 30, size=(512, 512 + slices)).astype(np.float32)
    series = Series(
        *("benchmark", "phantom", "O", 50, "CHEST", "chest", SCANNERS[3], ((-600, 1500),), ("LUNG",)),
        *(0.7, 1.0, 1.0),
    )
    for index in range(slices):
        write_slice(folder / f"{index:04d}.dcm", noise[:, index : index + 512] - 500, series, index)


def series_to_answer(slices: int, runtime: str, architecture: str, folder: Path) -> dict[str, float]:
    """Seconds of each part of inference on a series, and in all."""
    bundle = folder / "covid19_ct_classification"
    if not bundle.exists():
        write_bundles(folder, [bundle.name])
        facts = {"architecture": architecture, "image_size": 224, "classes": ["negative", "positive"]}
        save_model(bundle / "models" / "model.pt", build_classifier(architecture), facts)
        write_series(folder / "series", slices)
    seconds: dict[str, float] = defaultdict(float)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                seconds[part] += time.perf_counter() - start

        return call

    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="inference",
        bundle_root=str(bundle),
        dataset_dir=str(folder / "series"),
        output_dir=str(folder / "answer"),
        runtime=runtime,
        num_workers=0,
    )
    start = time.perf_counter()
    parts = ("decode", "intensity", "check", "resize")
    transforms = list(flattened(workflow.parser.get_parsed_content("preprocessing")))
    timed_transforms = [timed(part, step) for part, step in zip(parts, transforms, strict=True)]

    def prepare(item: Any) -> Any:
        for step in timed_transforms:
            item = step(item)
        return item

    workflow.parser.get_parsed_content("dataset").transform = prepare
    evaluator = workflow.parser.get_parsed_content("evaluator")
    evaluator.network.forward = timed("network", evaluator.network.forward)
    before = PredictionWriter.__call__
    PredictionWriter.__call__ = timed("write", lambda *given: before(*given))  # type: ignore[method-assign]
    try:
        workflow.run()
    finally:
        PredictionWriter.__call__ = before  # type: ignore[method-assign]
    whole = time.perf_counter() - start
    seconds["all else"] = whole - sum(seconds.values())
    return {**seconds, "in all": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--kind", choices=("classifier", "unet"), default="classifier")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--slices", type=int, default=300, help="0: without the series")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    build = build_classifier if options.kind == "classifier" else build_unet
    network = build(options.architecture, num_classes=2).eval().to(memory_format=torch.channels_last)
    shape = (1, options.image_size, options.image_size)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        computed = runtimes(network, shape, folder)
        computed |= peers(network, shape, folder)
        for batch in map(int, options.batches.split(",")):
            found = rates(computed, torch.rand(batch, *shape), options.rounds, options.seconds)
            print(f"\n{options.architecture} {options.kind}, {options.image_size} px, batch {batch}, images/s")
            for name, rate in found.items():
                peer = PEER_OF.get(name)
                beside = f", {rate / found[peer]:.2f} of {peer}" if peer else ""
                print(f"  {name:38} {rate:8.1f}   {rate / found['torch']:5.2f} of torch{beside}")
        for name in ("torch", "openvino") if options.slices else ():
            # The first run exports; the second is what every later one takes.
            series_to_answer(options.slices, name, options.architecture, folder)
            found = series_to_answer(options.slices, name, options.architecture, folder)
            print(f"\nCT series of {options.slices} slices to its answer, runtime {name}, s")
            for part, value in found.items():
                print(f"  {part:10} {value:7.2f}   {1000 * value / options.slices:7.1f} ms a slice")


if __name__ == "__main__":
    main()
