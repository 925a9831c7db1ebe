"""Lets MONAI Label 0.8.5 start beside the packages of today. Nothing of the server is changed.

`radimagenet_monai.integrations.monai_label.serve` puts this folder on PYTHONPATH, for the server and for the processes
that it starts. Until one of the two modules below is imported, nothing happens.

pydicom-seg 0.4.1, which the server imports, asks for a module that pydicom 3 no longer has; its names are those of
``pydicom.uid``. torchvision registers functions for operators of its compiled part, which a build for another torch
cannot load; their signatures alone are enough, since the server uses torchvision for pictures of training only.
"""

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _MissingParts(MetaPathFinder, Loader):
    kept: list = []  # noqa: RUF012  # torch removes the operators of a library that is collected

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "pydicom._storage_sopclass_uids":
            return importlib.util.spec_from_loader(name, self)
        if name == "torchvision" and not self.kept:
            self.kept.append(None)
            spec = importlib.util.find_spec(name)
            if spec is not None:
                self._define_operators(Path(spec.origin or "").parent)
            return spec
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        import pydicom.uid

        return pydicom.uid

    def exec_module(self, module: ModuleType) -> None:
        """It is loaded."""

    def _define_operators(self, folder: Path) -> None:
        import torch

        for compiled in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
            try:
                torch.ops.load_library(compiled)
            except OSError:
                continue
        if not hasattr(torch.ops.torchvision, "nms"):
            library = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                library.define(name + _NMS)
            self.kept.append(library)


sys.meta_path.insert(0, _MissingParts())
