"""``monai.bundle.load`` copies the tensors that fit and leaves the rest at random; these networks refuse that."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from radimagenet_monai.errors import WeightsError


class RefusesPartialCopy:
    """Mixin of a module that takes a trained state from ``monai.bundle.load`` whole or not at all.

    MONAI writes the number of tensors that it copied to its log and gives the network back: with another architecture
    4 of 324, with another number of classes all but the head. Whoever wants a part says so with ``copy_model_args``.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch.

        Raises
        ------
        WeightsError
            Within ``monai.bundle.load``, where a tensor of the network or of the file is left over.
        """
        left_over = _left_over(sys._getframe(1))
        if left_over:
            raise WeightsError(left_over)
        return super().load_state_dict(state_dict, strict, assign)  # type: ignore[misc]


def _left_over(copying: FrameType) -> str:
    """What ``copy_model_state``, called by ``load``, could not copy, in words."""
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
