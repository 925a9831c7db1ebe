"""A trained bundle for platforms that allow components of MONAI, torch and ignite alone: inference without our code.

Preprocessing, network and results are written with MONAI's own parts. That is possible only where these compute what
ours compute, value for value; anything else is refused by name. What is taken:

- **CT slices as DICOM** (``inference.json``), of bundles with named windows: MONOCHROME2 in Hounsfield units, square
  pixels, padding below the windows.
- **8-bit gray pictures** (``inference_pictures.json``, or ``inference.json`` if there is no form for DICOM).

Images have the size of the network, or exactly twice that: only there MONAI's averaging (``Resized``, mode ``area``)
rounds as OpenCV's does, and every fourth mean of four 8-bit values lies halfway between two levels. OpenCV adds the
four pixels of one channel in pairs, row by row, and those of three channels one after the other; hence two steps, or
one.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from radimagenet_monai.collection.bundle_files import MODEL_FACTS, MODEL_FILE, BundleError
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.engine.start.config_keys import inference_parser
from radimagenet_monai.engine.trained.model_file import load_model, read_facts
from radimagenet_monai.engine.trained.stated_facts import CARD, stated_card
from radimagenet_monai.intensity import (
    AutoIntensityd,
    CanonicalRangeCheckd,
    CTWindowd,
    MRPercentiled,
    RadiographVOId,
    UltrasoundLuminanced,
)
from radimagenet_monai.intensity.values.grayscale import Window
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.loading.resize import ResizeCanonicald
from radimagenet_monai.models.classifier import Classifier

SUFFIX = "_portable"
"""End of the name of a portable bundle."""

PICTURES = "configs/inference_pictures.json"
INFERENCE = "configs/inference.json"

_MONAI_EPS = 1e-5
_LARGEST = 2048  # pixels, so that the facts of a bundle from elsewhere do not fill the memory
_KEPT_FACTS = (
    *("bundle", "architecture", "image_size", "classes", "findings", "threshold", "thresholds", "aggregate"),
    *("weights", "derived_from_radimagenet", "epoch", "metric", "source"),
)
_PACKAGES = ("pytorch-ignite", "pydicom")
_REMOVED = (
    *("configs/train.json", "configs/evaluate.json", "configs/multi_gpu_train.json", "configs/onnx_export.json"),
    *("models/model.onnx",),
)


class NotPortableError(BundleError):
    """Why a bundle has no portable form."""


def make_portable(source: Path, folder: Path, name: str) -> None:
    """Turn ``folder``, a copy of the trained bundle ``source``, into its portable form.

    Parameters
    ----------
    source
        Bundle with ``models/model.pt`` and ``models/model.json``. What its ``inference.json`` names is run.
    folder
        Copy without by-products; its configs, models and model card are replaced.
    name
        Name of the portable bundle.

    Raises
    ------
    NotPortableError
        If MONAI's parts cannot compute what the bundle computes; the message says which part.
    """
    parser = inference_parser(source)
    get = parser.get_parsed_content
    network, facts = get("network_def"), read_facts(folder / MODEL_FILE)
    load_model(source / MODEL_FILE, network, facts.get("architecture"))
    definition, state = convert_network(network)
    norm = network.encoder.input_norm
    size, channels, configs = _preprocessing(get("preprocessing"), get("intensity"), norm)
    findings = list(get("findings") or ()) if "findings" in parser.get() else []
    reference = network_input(norm, size, channels)
    with torch.inference_mode():
        expected = network.eval()(probe(size, channels))
        found = _built(definition, state)(reference)
    if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise NotPortableError(
            f"its outputs on MONAI's {definition['_target_']} differ by {(found - expected).abs().max():.2g}"
        )
    written = {path: _config(definition, size, steps, bool(findings)) for path, steps in configs.items()}
    for path in _REMOVED:
        (folder / path).unlink(missing_ok=True)
    for path, config in written.items():
        _write_json(folder / path, config)
    stream = io.BytesIO()
    torch.save(state, stream)
    (folder / MODEL_FILE).write_bytes(stream.getvalue())
    kept = {key: facts[key] for key in _KEPT_FACTS if facts.get(key) is not None}
    kept |= {"findings": findings} if findings else {"classes": list(get("classes"))}
    kept["sha256"] = hashlib.sha256(stream.getvalue()).hexdigest()
    kept["portable"] = {
        "made_from_sha256": facts.get("sha256"),
        "image_size": size,
        "channels": channels,
        "scale": norm.scale.flatten().tolist(),
        "offset": norm.offset.flatten().tolist(),
        "channel_order": norm.channel_order.tolist(),
        "probe_logits": expected.tolist(),
    }
    _write_json(folder / MODEL_FACTS, kept)
    _state(folder, name, size, norm, sorted(written))


def probe(size: int, channels: int) -> Tensor:
    """Two fixed canonical images ``(2, channels, size, size)`` on which networks are compared."""
    rows, columns = torch.arange(size)[:, None], torch.arange(size)[None]
    images = [
        torch.stack([(37 * rows + 11 * columns + k * (rows * columns + 91 * c)) % 256 for c in range(channels)])
        for k in (1, 3)
    ]
    return torch.stack(images).float() / 255


def network_input(norm: Any, size: int, channels: int) -> Tensor:
    """`probe` as a portable bundle's network takes it: ``(2, 3, size, size)``, normalized.

    Parameters
    ----------
    norm
        ``scale``, ``offset`` and ``channel_order``, as attributes or keys.
    """
    read = norm.get if isinstance(norm, Mapping) else lambda key: getattr(norm, key)
    scale, offset = (torch.as_tensor(read(key)).reshape(1, 3, 1, 1) for key in ("scale", "offset"))
    image = probe(size, channels)
    if channels == 3:
        image = image[:, torch.as_tensor(read("channel_order"))]
    return image * scale + offset


def convert_network(network: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config of the same network of MONAI, which takes normalized images, and its state dict.

    Raises
    ------
    NotPortableError
        If MONAI has no such network.
    """
    if not isinstance(network, Classifier):
        raise NotPortableError(f"its network is a {type(network).__name__}, and only classifiers are converted")
    encoder = network.encoder
    eps, stride_on_1x1, _ = encoder.variant.tolist()
    classes = network.head.out_features
    definition: dict[str, Any]
    if encoder.architecture == "resnet50":
        if stride_on_1x1:
            raise NotPortableError("its ResNet50 has Keras' strides (on the first 1x1 convolution), MONAI's has not")
        definition = {
            "_target_": "ResNet",
            "block": "bottleneck",
            "layers": [3, 4, 6, 3],
            "block_inplanes": [64, 128, 256, 512],
            "spatial_dims": 2,
            "n_input_channels": 3,
            "conv1_t_size": 7,
            "conv1_t_stride": 2,
            "num_classes": classes,
            "bias_downsample": False,
        }
        head = "fc"
    elif encoder.architecture == "densenet121":
        definition = {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 3, "out_channels": classes}
        head = "class_layers.out"
    else:
        raise NotPortableError(f"MONAI has no {encoder.architecture}")
    state = {}
    for key, value in encoder.backbone.state_dict().items():
        name = key
        if ".denselayer" in key:
            block, _, rest = key.partition(".denselayer")
            layer, _, part = rest.partition(".")
            name = f"{block}.denselayer{layer}.layers.{part}"
        if key.endswith("running_var"):
            value = (value.double() + (eps - _MONAI_EPS)).float()
        state[name] = value.detach().clone()
    state |= {f"{head}.{key}": value.detach().clone() for key, value in network.head.state_dict().items()}
    return definition, state


def _built(definition: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    from monai.bundle import ConfigParser

    network: nn.Module = ConfigParser({"network": dict(definition)}).get_parsed_content("network")
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise NotPortableError(f"its layers are not those of MONAI's {definition['_target_']}") from None
    return network.eval()


def _preprocessing(preprocessing: Any, intensity: Any, norm: Any) -> tuple[int, int, dict[str, list[dict[str, Any]]]]:
    """Size of the network's images, number of their channels, and the transforms of each config file."""
    steps = list(flattened(preprocessing))
    known = (LoadNativeImaged, type(intensity), CanonicalRangeCheckd, ResizeCanonicald)
    for step in steps:
        if not isinstance(step, known):
            raise NotPortableError(f"its preprocessing holds a {type(step).__name__}")
    resize = next(step for step in steps if isinstance(step, ResizeCanonicald))
    rows, columns = resize.size
    if resize.keep_aspect or rows != columns:
        raise NotPortableError("its images are not resized to a square without regard to their proportions")
    if isinstance(intensity, CTWindowd):
        windows = [window for _, window in intensity.windows]
        if not all(isinstance(window, Window) for window in windows):
            raise NotPortableError("its CT windows are those of the header, which MONAI's transforms do not read")
        edges = [(w.center - w.width / 2, w.center + w.width / 2) for w in windows if isinstance(w, Window)]
        configs = {
            INFERENCE: _steps("PydicomReader", edges, norm),
            PICTURES: _steps("PILReader", [(0, 255)] * len(edges), norm),
        }
        return rows, len(edges), configs
    reasons = {
        UltrasoundLuminanced: "its ultrasound images are cropped to the scan, which no transform of MONAI finds",
        MRPercentiled: "its percentiles are those of a whole MR volume's tissue, which no transform of MONAI takes",
    }
    if isinstance(intensity, tuple(reasons)) and getattr(intensity, "crop", True) is not None:
        raise NotPortableError(next(reason for kind, reason in reasons.items() if isinstance(intensity, kind)))
    if not isinstance(intensity, AutoIntensityd | RadiographVOId | UltrasoundLuminanced) or getattr(
        intensity, "expected", None
    ):
        raise NotPortableError(f"no transforms of MONAI compute its intensities ({type(intensity).__name__})")
    return rows, 1, {INFERENCE: _steps("PILReader", [(0, 255)], norm)}


def _steps(reader: str, edges: Sequence[tuple[float, float]], norm: Any) -> list[dict[str, Any]]:
    """From a file to the input of the network, by way of whole 255ths as `ResizeCanonicald` gives them.

    Parameters
    ----------
    edges
        Values that become 0 and 1, for each channel.
    norm
        Input normalization of the network.
    """
    scale, offset = (getattr(norm, key).double().flatten() for key in ("scale", "offset"))
    names = [f"window_{number}" for number in range(1, len(edges) + 1)]
    area = {"_target_": "Resized", "keys": "image", "mode": "area"}
    one = len(names) == 1
    return [
        {"_target_": "LoadImaged", "keys": "image", "reader": reader},
        # MONAI's readers give columns x rows.
        {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"},
        {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]},
        # An image of another size ends here: the two cannot be put together.
        {"_target_": "CopyItemsd", "keys": "image", "names": "of_input_size"},
        {"_target_": "ResizeWithPadOrCropd", "keys": "of_input_size", "spatial_size": ["@input_size", "@input_size"]},
        {"_target_": "ConcatItemsd", "keys": ["image", "of_input_size"], "name": "image"},
        {"_target_": "SplitDimd", "keys": "image", "output_postfixes": ["taken", "checked"]},
        {"_target_": "CopyItemsd", "keys": "image_taken", "times": len(names), "names": names},
        *(_scale(name, low_and_high, (0, 1)) for name, low_and_high in zip(names, edges, strict=True)),
        # In the order in which the network takes its channels.
        {
            "_target_": "ConcatItemsd",
            "keys": names if one else [names[place] for place in norm.channel_order.tolist()],
            "name": "image",
        },
        {"_target_": "SelectItemsd", "keys": "image"},
        *([{**area, "spatial_size": [-1, "@image_size"]}] if one else []),
        {**area, "spatial_size": ["@image_size", "@image_size"]},
        _scale("image", (0, 1), (0, 255)),
        {"_target_": "AsDiscreted", "keys": "image", "rounding": "torchrounding"},
        _scale("image", (0, 255), (0, 1)),
        *([{"_target_": "RepeatChanneld", "keys": "image", "repeats": 3}] if one else []),
        {
            "_target_": "NormalizeIntensityd",
            "keys": "image",
            "subtrahend": (-offset / scale).tolist(),
            "divisor": (1 / scale).tolist(),
            "channel_wise": True,
        },
    ]


def _scale(key: str, before: tuple[float, float], after: tuple[float, float]) -> dict[str, Any]:
    return {
        "_target_": "ScaleIntensityRanged",
        "keys": key,
        "a_min": before[0],
        "a_max": before[1],
        "b_min": after[0],
        "b_max": after[1],
        "clip": True,
    }


def _config(
    definition: Mapping[str, Any], size: int, steps: Sequence[dict[str, Any]], findings: bool
) -> dict[str, Any]:
    activation = {"sigmoid": True} if findings else {"softmax": True}
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "dataset_dir": "images",
        "output_dir": "$@bundle_root + '/output/inference'",
        "image_size": size,
        "shrink": 2 if size == 256 else 1,  # CT has 512 x 512 pixels
        # OpenCV adds in pairs only where rows are whole vectors of its processor.
        "input_size": f"$@image_size * {'{1: 1, 2: 2}' if size % 32 == 0 else '{1: 1}'}[@shrink]",
        "batch_size": 8,
        "num_workers": 0,
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": dict(definition),
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/*'))]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": "@batch_size",
            "shuffle": False,
            "num_workers": "@num_workers",
        },
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", **activation}],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
            },
            {
                "_target_": "ClassificationSaver",
                "output_dir": "@output_dir",
                "batch_transform": "$lambda items: [item['image'].meta for item in items]",
                "output_transform": "$monai.handlers.from_engine('pred')",
            },
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _state(folder: Path, name: str, size: int, norm: Any, configs: Sequence[str]) -> None:
    """Name, packages and input of the portable form in its metadata and model card."""
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    packages = metadata["required_packages_version"]
    metadata["name"] = name
    metadata["required_packages_version"] = {key: packages[key] for key in _PACKAGES if key in packages}
    metadata.pop("trained_model", None)
    black, white = norm.offset, norm.scale + norm.offset
    layout = metadata["network_data_format"]["inputs"]["image"]
    layout |= {
        "num_channels": 3,
        "spatial_shape": [size, size],
        "value_range": [float(torch.minimum(black, white).min()), float(torch.maximum(black, white).max())],
        "channel_def": {str(place): f"normalized channel {place + 1}" for place in range(3)},
    }
    _write_json(path, metadata)
    card = folder / CARD
    dicom = PICTURES in configs
    taken = [
        "CT slices as single-frame DICOM files (MONOCHROME2, Hounsfield units by Rescale Slope and Intercept, square "
        "pixels)"
        if dicom
        else "",
        f"8-bit gray pictures, PNG without palette or transparency{' (`inference_pictures.json`)' if dicom else ''}",
    ]
    text = card.read_text(encoding="utf-8")
    text = (stated_card(text, read_facts(folder / MODEL_FILE)) or text).rstrip("\n")
    card.write_text(
        f"{text}\n\n## Portable form\n\n"
        "Inference with parts of MONAI, torch and ignite alone; training, evaluation and series are for the bundle "
        f"from which it was made. It takes {' and '.join(filter(None, taken))}, of {size} x {size} pixels, or of "
        f"{2 * size} x {2 * size} with `--shrink 2`; other sizes end with an error. Modality, Rescale Type, "
        "MONOCHROME1 and padding are **not** looked at. Each file is one image; "
        "`output/inference/predictions.csv` holds its probabilities in the order of the classes.\n",
        encoding="utf-8",
        newline="\n",
    )


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def network_problem(folder: Path) -> str | None:
    """Why the network of a portable bundle does not give the outputs that were recorded when it was made, or ``None``.

    Builds what its ``inference.json`` names under ``network_def``; verify the bundle first.
    """
    facts = read_facts(folder / MODEL_FILE)
    made = facts.get("portable")
    if not isinstance(made, dict):
        return f"{MODEL_FACTS} does not say from what it was made ('portable')"
    try:
        definition = inference_parser(folder)["network_def"]
        size, channels = int(made["image_size"]), int(made["channels"])
        if size > _LARGEST or channels > 3:
            return f"images of {channels} x {size} x {size} are too large to compare; expected 3 x {_LARGEST} at most"
        network = _built(definition, torch.load(folder / MODEL_FILE, map_location="cpu", weights_only=True))
        with torch.inference_mode():
            found = network(network_input(made, size, channels))
        expected = torch.tensor(made["probe_logits"])
    except (BundleError, ConfigurationError, KeyError, RuntimeError, TypeError, ValueError, OSError) as error:
        return f"its network cannot be compared: {type(error).__name__}: {error}"
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        return "its network does not give the outputs that were recorded when the bundle was made"
    return None
