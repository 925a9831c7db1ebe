"""Yes-or-no keys of a config, as people type them."""

from __future__ import annotations

from radimagenet_monai.flags import parse_flag

__all__ = ["parse_flag"]
