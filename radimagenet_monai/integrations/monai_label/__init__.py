"""MONAI Label 0.8.5: an app with bundles of this project, and how its server is started beside today's packages.

``app`` and ``uncertainty`` import ``monailabel``, which `serve` and `install_app` do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.integrations.monai_label.install import install_app
    from radimagenet_monai.integrations.monai_label.server import server_process

_MODULE_OF = {"install_app": "install", "server_process": "server"}

__all__ = ["install_app", "server_process"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
