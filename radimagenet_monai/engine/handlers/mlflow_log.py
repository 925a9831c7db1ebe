"""Optional logging of a run to MLflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.distributed import is_first_process
from radimagenet_monai.engine.handlers.checkpoint import MAY_CHANGE

EXPERIMENT = "radimagenet"


class MLflowLog:
    """Handler of a trainer that logs settings and, every epoch, loss and metrics with MONAI's ``MLFlowHandler``.

    Only the first of several processes logs. MLflow is imported only if requested. A run resumed in the same folder
    continues the same MLflow run.

    Parameters
    ----------
    tracking
        URI of a tracking server or database, or a folder, in which ``mlflow.db`` is created; empty disables logging.
    settings
        The run's settings, logged as parameters of the MLflow run.
    folder
        Folder of the run. Together with ``settings["bundle"]`` it names the MLflow run.
    evaluator
        Evaluator whose metrics are logged with the trainer's. Attach this handler after validation.

    Raises
    ------
    ConfigurationError
        When attached, if MLflow is requested but not installed.
    """

    def __init__(
        self,
        tracking: str,
        settings: Mapping[str, Any],
        folder: str | os.PathLike[str],
        evaluator: Any = None,
    ) -> None:
        self.tracking = str(tracking or "")
        self.settings = dict(settings)
        self.folder = Path(folder)
        self.evaluator = evaluator
        self._losses: list[torch.Tensor] = []
        self._handler: Any = None

    def attach(self, engine: Engine) -> None:
        if not self.tracking or not is_first_process():
            return
        if find_spec("mlflow") is None:
            raise ConfigurationError(
                f"mlflow {self.tracking!r}: MLflow is not installed; pip install 'radimagenet-monai[mlflow]', or leave "
                "--mlflow out"
            )
        from monai.handlers import MLFlowHandler

        self._handler = MLFlowHandler(
            tracking_uri=tracking_uri(self.tracking),
            iteration_log=False,  # reading the loss at every iteration would stall a GPU
            epoch_logger=self._log_epoch,
            experiment_name=EXPERIMENT,
            run_name=f"{self.settings.get('bundle', 'training')} {self.folder.absolute()}",
            # These may change when a run is resumed, and MLflow refuses changed parameters.
            experiment_param={name: _short(value) for name, value in self.settings.items() if name not in MAY_CHANGE},
            close_on_complete=True,
        )
        self._handler.attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep_loss)

    def _keep_loss(self, engine: Any) -> None:
        # Left on the device until the epoch ends.
        self._losses.append(engine.state.output["loss"].detach())

    def _log_epoch(self, engine: Any) -> None:
        metrics = {"train_loss": torch.stack(self._losses).mean(), **engine.state.metrics}
        self._losses = []
        if self.evaluator is not None:
            metrics |= self.evaluator.state.metrics
        self._handler._log_metrics({name: float(value) for name, value in metrics.items()}, step=engine.state.epoch)


def tracking_uri(tracking: str) -> str:
    """The SQLite database in a folder, since MLflow does not accept a plain folder; a URI is returned unchanged."""
    if "://" in tracking:
        return tracking
    folder = Path(tracking).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 250 else text[:247] + "..."
