"""A run in MLflow, for those who ask for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from radimagenet_monai.errors import ConfigurationError
from radimagenet_monai.training.distributed import is_first_process

EXPERIMENT = "radimagenet"


class MLflowLog:
    """Handler of a trainer that logs settings and, every epoch, all metrics with MONAI's ``MLFlowHandler``.

    Only the first of several processes logs. MLflow is imported when a run starts, and only if asked for.

    Parameters
    ----------
    tracking
        URI of a tracking server or database, or a folder, in which ``mlflow.db`` is made; empty: nothing is logged.
    settings
        The run's settings: parameters of the MLflow run, which is named after ``settings["bundle"]``.
    evaluator
        Its metrics are logged beside the trainer's. Attach this handler after validation.

    Raises
    ------
    ConfigurationError
        On attaching, where MLflow is asked for and not installed.
    """

    def __init__(self, tracking: str = "", settings: Mapping[str, Any] | None = None, evaluator: Any = None) -> None:
        self.tracking = str(tracking or "")
        self.settings = dict(settings or {})
        self.evaluator = evaluator
        self._handler: Any = None

    def attach(self, engine: Engine) -> None:
        if not self.tracking or not is_first_process():
            return
        if importlib.util.find_spec("mlflow") is None:
            raise ConfigurationError(
                f"mlflow {self.tracking!r}: MLflow is not installed; pip install 'radimagenet-monai[mlflow]', or leave "
                "--mlflow out"
            )
        from monai.handlers import MLFlowHandler

        self._handler = MLFlowHandler(
            tracking_uri=tracking_uri(self.tracking),
            iteration_log=False,  # a loss read every iteration would make a GPU wait
            epoch_logger=self._log_epoch,
            experiment_name=EXPERIMENT,
            run_name=f"{self.settings.get('bundle', 'training')} seed {self.settings.get('seed', 0)}",
            experiment_param={name: _short(value) for name, value in self.settings.items()},
            close_on_complete=True,
        )
        self._handler.attach(engine)

    def _log_epoch(self, engine: Any) -> None:
        metrics = dict(engine.state.metrics)
        if self.evaluator is not None:
            metrics |= self.evaluator.state.metrics
        self._handler._log_metrics({name: float(value) for name, value in metrics.items()}, step=engine.state.epoch)


def tracking_uri(tracking: str) -> str:
    """A folder as the SQLite database in it, which MLflow wants in place of a folder; a URI as it is."""
    if "://" in tracking:
        return tracking
    folder = Path(tracking).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 250 else text[:247] + "..."
