"""A run in MLflow: nothing unless asked for, a clear line where it is missing, and what is logged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import monai.handlers
import pytest
from ignite.engine import Events
from tiny_training import tiny_network, tiny_trainer

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.handlers import mlflow_log
from radimagenet_monai.engine.handlers.mlflow_log import MLflowLog, tracking_uri
from radimagenet_monai.engine.handlers.throughput import Throughput

SETTINGS = {"bundle": "tiny", "seed": 3, "max_epochs": 2, "classes": list(range(500))}
EVALUATOR = SimpleNamespace(state=SimpleNamespace(metrics={"val_top1": 0.5}))


def run(tracking, folder, epochs=2):
    handlers = [Throughput(), MLflowLog(tracking, SETTINGS, folder, EVALUATOR)]
    trainer = tiny_trainer(tiny_network(), handlers, max_epochs=epochs)
    losses = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output["loss"].item()))
    trainer.run()
    return losses


class FakeHandler:
    """Stands in for MONAI's handler and keeps what it is given."""

    made: ClassVar[list[FakeHandler]] = []

    def __init__(self, epoch_logger, **options):
        self.epoch_logger, self.options, self.logged = epoch_logger, options, []
        self.made.append(self)

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_logger)

    def _log_metrics(self, metrics, step):
        self.logged.append((step, metrics))


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: object())
    monkeypatch.setattr(monai.handlers, "MLFlowHandler", FakeHandler)
    FakeHandler.made.clear()


def test_each_epoch_logs_loss_throughput_and_validation(installed, tmp_path):
    losses = run("https://mlflow.example", tmp_path)
    (handler,) = FakeHandler.made
    assert [step for step, _ in handler.logged] == [1, 2]
    for epoch, (_, metrics) in enumerate(handler.logged):
        assert metrics["train_loss"] == pytest.approx(sum(losses[5 * epoch : 5 * epoch + 5]) / 5, rel=1e-5)
        assert metrics["val_top1"] == 0.5
        assert metrics["images_per_second"] > 0
    options = handler.options
    assert options["tracking_uri"] == "https://mlflow.example"
    assert options["run_name"] == f"tiny {tmp_path}"
    assert "max_epochs" not in options["experiment_param"]
    assert all(len(value) <= 250 for value in options["experiment_param"].values())


def test_nothing_is_logged_unless_asked_for(installed, tmp_path):
    run("", tmp_path)
    assert FakeHandler.made == []


def test_a_missing_mlflow_is_said_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'radimagenet-monai\[mlflow\]'"):
        run(str(tmp_path / "runs"), tmp_path)


def test_a_folder_becomes_the_database_in_it(tmp_path):
    assert tracking_uri(str(tmp_path / "runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert (tmp_path / "runs").is_dir()
    assert tracking_uri("https://mlflow.example") == "https://mlflow.example"


@pytest.mark.long
def test_with_mlflow_itself(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    losses = run(str(tmp_path / "runs"), tmp_path)
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(str(tmp_path / "runs")))
    (found,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert found.info.status == "FINISHED"
    assert found.data.params["seed"] == "3"
    history = client.get_metric_history(found.info.run_id, "train_loss")
    assert [point.step for point in history] == [1, 2]
    assert history[-1].value == pytest.approx(sum(losses[5:]) / 5, rel=1e-5)
