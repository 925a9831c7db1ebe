"""Cross-entropy for imbalanced classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.store.sealed.records import SealedRecords


class LogitAdjustedLoss(nn.Module):
    """Cross-entropy with label smoothing, and logits shifted by the logarithm of the class frequencies.

    With ``tau = 1`` the network learns the scores that minimize the *balanced* error: its own logits no longer reflect
    the class frequencies of the training records. With ``tau = 0`` it is plain cross-entropy.

    Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021. Szegedy et al., Rethinking the Inception
    Architecture, CVPR 2016 (label smoothing).

    Parameters
    ----------
    data
        Training records with ``label``; read only if ``tau`` is not 0.
    num_classes
        Number of logits.
    tau
        Strength of the shift, 0 or more.
    label_smoothing
        Share of the target spread evenly over all classes, in [0, 1).

    Raises
    ------
    ConfigurationError
        For a negative ``tau`` or a smoothing outside [0, 1).
    """

    shift: Tensor

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        num_classes: int,
        tau: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if tau < 0 or not 0 <= label_smoothing < 1:
            raise ConfigurationError(
                f"logit_adjustment {tau}, label_smoothing {label_smoothing}: expected 0 or more, and 0 to below 1"
            )
        self.tau = float(tau)
        self.label_smoothing = float(label_smoothing)
        shift = torch.zeros(num_classes)
        if self.tau and len(data):
            shift = self.tau * torch.from_numpy(log_class_frequencies(data, num_classes)).float()
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.tau:
            # The trainer does not move its loss function to the device.
            self.shift = self.shift.to(logits.device)
            logits = logits + self.shift
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


def log_class_frequencies(data: Sequence[Mapping[str, Any]], num_classes: int) -> np.ndarray:
    """Natural logarithm of each class's share of the records, float64 ``(num_classes,)``.

    A class without records counts as having one, so that its logarithm stays finite.

    Raises
    ------
    RecordsError
        For a label that is not a class index.
    """
    if isinstance(data, SealedRecords):
        labels = data.labels()
    else:
        labels = np.array([int(item["label"]) for item in data], dtype=np.int64)
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise RecordsError(f"label {wrong} in the training records: expected 0 to {num_classes - 1}")
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)
    return np.log(counts / counts.sum())
