"""Refuses the partial copy of ``monai.bundle.load``, which leaves tensors that do not fit at random values."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from radimagenet_monai.core.errors import WeightsError


class RefusesPartialCopy:
    """Mixin for a module that loads a trained state from ``monai.bundle.load`` completely or not at all.

    MONAI only logs how many tensors it copied and returns the network: 4 of 324 for another architecture, all but the
    head for another number of classes. Ask for a partial copy with ``copy_model_args``.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch.

        Raises
        ------
        WeightsError
            Within ``monai.bundle.load``, if a tensor of the network or of the file is left over.
        """
        left_over = _left_over(sys._getframe(1))
        if left_over:
            raise WeightsError(left_over)
        return super().load_state_dict(state_dict, strict, assign)  # type: ignore[misc]


def _left_over(copying: FrameType) -> str:
    """Describe what ``copy_model_state``, called by ``load``, could not copy."""
    loading = copying.f_back
    if (copying.f_globals.get("__name__"), copying.f_code.co_name) != ("monai.networks.utils", "copy_model_state"):
        return ""
    if loading is None or (loading.f_globals.get("__name__"), loading.f_code.co_name) != (
        "monai.bundle.scripts",
        "load",
    ):
        return ""
    if loading.f_locals.get("copy_model_args"):
        return ""
    untouched = list(copying.f_locals.get("unchanged_keys") or ())
    updated = set(copying.f_locals.get("updated_keys") or ())
    unused = [name for name in copying.f_locals.get("src_dict") or () if name not in updated]
    if not untouched and not unused:
        return ""
    parts = []
    if untouched:
        tensors = len(updated) + len(untouched)
        parts.append(f"{len(untouched)} of the network's {tensors} tensors (first: {untouched[0]})")
    if unused:
        parts.append(f"{len(unused)} of the file's (first: {unused[0]})")
    return (
        f"{loading.f_locals.get('full_path')} was made for another network: {' and '.join(parts)} would be left over; "
        "load it without net_override and model, which takes architecture and classes from the trained model"
    )
