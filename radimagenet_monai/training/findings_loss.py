"""The loss of findings that may occur together and are not all known of every image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KnownFindingsLoss(nn.Module):
    """Binary cross-entropy over the findings that are known.

    Takes logits (N, findings) and labels (N, findings): 1 present, 0 absent, NaN unknown. Each known finding of each
    image counts the same; a batch in which nothing is known gives 0.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = ~torch.isnan(labels)
        # A NaN must not reach the loss at all: its gradient would be NaN even where it is masked afterwards.
        target = torch.where(known, labels, torch.zeros_like(labels))
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)
