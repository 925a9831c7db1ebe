"""A MONAI Deploy application: DICOM in, a trained bundle's answer as DICOM SEG or SR out.

    python examples/monai_deploy/app.py -i INPUT -o OUTPUT -m BUNDLE

INPUT is a folder of DICOM files, BUNDLE the folder of a trained bundle. See docs/how-to/monai_deploy.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from holoscan.conditions import CountCondition
from monai.deploy.core import Application
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from operators import ANSWERS, SELECTED, PredictionOperator, ResultWriterOperator

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.integrations.prediction.studies import Group
from radimagenet_monai.integrations.prediction.trained_bundle import TrainedBundle

RULES = ""
"""Rules of the SDK's series selector as JSON, for example
``{"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]}``; empty: every series."""

GROUP: Group | None = None
"""``"series"``: an answer for each series; ``"study"``: one for all selected series of a study; ``None``: as the task
asks, like ``radimagenet predict``."""

SETTINGS: dict[str, Any] = {}
"""Keys of the bundle's ``inference.json``, such as ``{"threshold": 0.4}``."""


class RadImageNetApp(Application):
    """Loader and selector of the SDK, then prediction and results."""

    def compose(self) -> None:
        """Connect the operators."""
        context = Application.init_app_context(self.argv)
        trained = TrainedBundle(context.model_path, SETTINGS)
        loader = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="loader"
        )
        selector = DICOMSeriesSelectorOperator(self, rules=RULES, all_matched=True, name="selector")
        prediction = PredictionOperator(self, trained=trained, group=GROUP or trained.group, name="prediction")
        results = ResultWriterOperator(
            self,
            trained=trained,
            output_folder=context.output_path,
            kinds=("seg",) if trained.segments else ("sr",),
            name="results",
        )
        self.add_flow(loader, selector, {(loader.output_name, selector.input_name_study_list)})
        self.add_flow(selector, prediction, {(selector.output_name_selected_series, SELECTED)})
        self.add_flow(prediction, results, {(ANSWERS, ANSWERS)})


if __name__ == "__main__":
    try:
        RadImageNetApp().run()
    except RadImageNetError as error:
        sys.exit(f"error: {error}")
