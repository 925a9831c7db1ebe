"""The app that `install_app` writes: classification, segmentation, training, active learning by uncertainty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.tasks.train.bundle import BundleTrainTask

from radimagenet_monai.core.version import __version__
from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.integrations.monai_label.install import MODELS
from radimagenet_monai.integrations.monai_label.uncertainty import Uncertainty

_TITLE = "RadImageNet on MONAI"


class RadImageNetApp(MONAILabelApp):
    """Serves the bundles in the app's folder ``model``, or those that ``--conf models A,B`` names.

    Each bundle has a model, a trainer, and a strategy ``uncertainty_NAME`` (``uncertainty`` if there is one bundle)
    that shows next what this model is least sure of.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        wanted = [name for name in (conf.get("models") or "").split(",") if name]
        folders = {
            path.parents[1].name: path.parents[1] for path in Path(app_dir, MODELS).glob("*/configs/inference.json")
        }
        self.bundles = {name: folders[name] for name in wanted or sorted(folders)}
        super().__init__(app_dir, studies, conf, name=_TITLE, description=_TITLE, version=__version__)

    def init_infers(self) -> dict[str, InferTask]:
        tasks = {name: BundleInferTask(str(path), self.conf, type=_kind(path)) for name, path in self.bundles.items()}
        return {name: task for name, task in tasks.items() if task.is_valid()}

    def init_trainers(self) -> dict[str, TrainTask]:
        tasks = {name: _Training(str(path), self.conf) for name, path in self.bundles.items()}
        return {name: task for name, task in tasks.items() if task.is_valid()}

    def init_strategies(self) -> dict[str, Strategy]:
        least_sure = {
            self._key(name): Epistemic(key=self._key(name), desc=f"What {name} is least sure of")
            for name in self._infers
        }
        return {**least_sure, "random": Random(), "first": First()}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        return {self._key(name): Uncertainty(task, self._key(name)) for name, task in self._infers.items()}

    def _key(self, name: str) -> str:
        return "uncertainty" if len(self._infers) == 1 else f"uncertainty_{name}"


class _Training(BundleTrainTask):
    """Says in one line what a user can mend, as the command line does."""

    def run_single_gpu(self, request: dict[str, Any], overrides: dict[str, Any]) -> None:
        try:
            super().run_single_gpu(request, overrides)
        except Exception as error:
            line = user_error_line(error)
            if line is None:
                raise
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, line) from None


def _kind(bundle: Path) -> InferType:
    """By what the bundle answers, since a user may have renamed its folder."""
    text = (bundle / "configs" / "inference.json").read_text(encoding="utf-8")
    return InferType.SEGMENTATION if "RestoreMaskd" in text else InferType.CLASSIFICATION
