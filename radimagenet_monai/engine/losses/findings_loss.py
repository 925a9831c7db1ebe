"""The loss for findings that may occur together and may be unknown for some images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KnownFindingsLoss(nn.Module):
    """Binary cross-entropy over the findings that are known.

    Takes logits (N, findings) and labels (N, findings): 1 present, 0 absent, NaN unknown. Each known finding of each
    image has the same weight; a batch without known findings gives 0.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = ~torch.isnan(labels)
        # A NaN must not reach the loss: its gradient would be NaN even if masked afterwards.
        target = torch.where(known, labels, torch.zeros_like(labels))
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)
