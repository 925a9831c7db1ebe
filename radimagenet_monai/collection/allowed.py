"""What the configs of a bundle may name. Whatever is not listed here is refused by `verify`.

A MONAI config runs code: ``_target_`` is located anywhere in Python (``os.system``, and by way of re-exports
``torch.nn.modules.module.functools.partial``), and ``$`` expressions are given to ``eval``. A list of what is forbidden
can therefore never be complete; this is a list of what is needed. Names are compared whole, so that a path *through* an
allowed module to something it happens to import is no way around it.

To be allowed, a component must not run commands or code that its arguments name, not unpickle, and not write bytes
that its arguments choose. So MONAI's ``Lambda``, ``CheckpointLoader``, ``SaveImage`` and the MLflow handlers, and
networks that fetch weights, are left out. (``training.MLflowLog`` logs numbers and settings alone, and a config with
the address of a server in it is refused: that is for the user to give.)
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

CONFIG_PACKAGES = ("data", "intensity", "networks", "training")
"""Packages of this project whose exports are made to be named in configs; all their exports are allowed."""

FURTHER_COMPONENTS = frozenset(
    {
        "radimagenet_monai.datasets.bundle_datalist",
        "radimagenet_monai.io.LoadNativeImaged",
        "radimagenet_monai.weights.identify_weights",
    }
)
"""The rest of what configs name of this project; ``io`` also exports writers, so it is not allowed as a whole."""

IMPORTS = {
    "import monai": ("monai", "monai"),
    "import torch": ("torch", "torch"),
    **{
        f"import radimagenet_monai.{package} as {package}": (package, f"radimagenet_monai.{package}")
        for package in CONFIG_PACKAGES
    },
}
"""Import statements of configs: statement to alias and module."""

MONAI_COMPONENTS = frozenset(
    [
        "Compose",
        "EnsureTyped",
        "EnsureChannelFirstd",
        "ToTensord",
        "CastToTyped",
        "Identityd",
        "SelectItemsd",
        "DeleteItemsd",
        "CopyItemsd",
        "SqueezeDimd",
        "Resized",
        "Spacingd",
        "Orientationd",
        "Flipd",
        "Rotate90d",
        "Rotated",
        "Zoomd",
        "SpatialPadd",
        "DivisiblePadd",
        "BorderPadd",
        "CenterSpatialCropd",
        "ResizeWithPadOrCropd",
        "CropForegroundd",
        "ScaleIntensityd",
        "ScaleIntensityRanged",
        "ScaleIntensityRangePercentilesd",
        "NormalizeIntensityd",
        "RandFlipd",
        "RandRotate90d",
        "RandRotated",
        "RandZoomd",
        "RandAffined",
        "RandGaussianNoised",
        "RandGaussianSmoothd",
        "RandScaleIntensityd",
        "RandShiftIntensityd",
        "RandAdjustContrastd",
        "Activationsd",
        "AsDiscreted",
        "KeepLargestConnectedComponentd",
        "FillHolesd",
        "SupervisedTrainer",
        "SupervisedEvaluator",
        "StatsHandler",
        "TensorBoardStatsHandler",
        "LrScheduleHandler",
        "ValidationHandler",
        "EarlyStopHandler",
        "MeanDice",
        "ROCAUC",
        "ConfusionMatrix",
        "SimpleInferer",
        "SlidingWindowInferer",
        "DiceLoss",
        "DiceCELoss",
        "DiceFocalLoss",
        "GeneralizedDiceLoss",
        "FocalLoss",
        "TverskyLoss",
        "DiceMetric",
        "ROCAUCMetric",
        "ConfusionMatrixMetric",
    ]
)
"""MONAI's transforms, engines, handlers, inferers, losses and metrics that configs may name, by their plain name."""

TORCH_COMPONENTS = frozenset(
    {
        *(
            f"torch.nn.{name}"
            for name in ["CrossEntropyLoss", "BCELoss", "BCEWithLogitsLoss", "NLLLoss", "Softmax", "Sigmoid"]
        ),
        *(f"torch.optim.{name}" for name in ["Adam", "AdamW", "SGD", "RMSprop"]),
        *(
            f"torch.optim.lr_scheduler.{name}"
            for name in [
                "ConstantLR",
                "LinearLR",
                "StepLR",
                "MultiStepLR",
                "ExponentialLR",
                "CosineAnnealingLR",
                "PolynomialLR",
                "OneCycleLR",
                "ReduceLROnPlateau",
                "SequentialLR",
            ]
        ),
    }
)
"""Losses, optimizers and schedules of torch."""

FUNCTIONS = frozenset({"monai.utils.set_determinism", "torch.device"})
"""What expressions may name beside the exports of `CONFIG_PACKAGES`."""

BUILTINS = frozenset({"bool", "float", "int", "len", "max", "min", "str"})
"""Python's own functions that expressions may call."""

REFERENCE_ATTRIBUTES = frozenset({"data", "parameters", "run"})
"""What expressions may ask of an object that they refer to, as in ``$@evaluator.run()``."""


@cache
def allowed_targets() -> frozenset[str]:
    """All values that ``_target_`` may have."""
    return _exports() | FURTHER_COMPONENTS | MONAI_COMPONENTS | TORCH_COMPONENTS


@cache
def allowed_names() -> frozenset[str]:
    """Full names that expressions may use, with the alias of an import written out."""
    return _exports() | FUNCTIONS


def _exports() -> frozenset[str]:
    # These packages load torch and MONAI only when one of the names is asked for, which is not done here.
    return frozenset(
        f"radimagenet_monai.{package}.{name}"
        for package in CONFIG_PACKAGES
        for name in import_module(f"radimagenet_monai.{package}").__all__
    )
