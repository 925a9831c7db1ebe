"""Parts for MONAI engines: precision, determinism, checkpoints, run record, predictions.

A JSON config names these as ``radimagenet_monai.training.<Name>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.flags import parse_flag
    from radimagenet_monai.training.checkpoint import BestModel, TrainingCheckpoint
    from radimagenet_monai.training.compilation import compile_network
    from radimagenet_monai.training.config_keys import check_keys
    from radimagenet_monai.training.determinism import SeedIterations
    from radimagenet_monai.training.distributed import (
        BroadcastBuffers,
        is_first_process,
        local_device,
        start_process_group,
        stop_process_group,
        unwrap_network,
        wrap_network,
    )
    from radimagenet_monai.training.findings_loss import KnownFindingsLoss
    from radimagenet_monai.training.finite_loss import StopOnNonFiniteLoss
    from radimagenet_monai.training.global_batch_loss import GlobalBatchLoss
    from radimagenet_monai.training.imbalance_loss import LogitAdjustedLoss
    from radimagenet_monai.training.inferer import AutocastInferer
    from radimagenet_monai.training.launch import show_errors_in_one_line
    from radimagenet_monai.training.learning_rate import LearningRateSchedule
    from radimagenet_monai.training.lesion_overlap import LesionDice
    from radimagenet_monai.training.mask_writer import MaskWriter, OverlapWriter
    from radimagenet_monai.training.memory import keep_freed_memory
    from radimagenet_monai.training.mlflow_log import MLflowLog
    from radimagenet_monai.training.model_file import load_model, operating_points, trained_fact
    from radimagenet_monai.training.outputs import EvaluationWriter, PredictionWriter
    from radimagenet_monai.training.plane import require_plane
    from radimagenet_monai.training.predictions import AreaUnderROC, PredictionCollector
    from radimagenet_monai.training.preflight import (
        require_classes,
        require_image_size,
        require_images,
        require_lesions,
        require_writable,
    )
    from radimagenet_monai.training.progress import Progress
    from radimagenet_monai.training.rates import MeasuredRates
    from radimagenet_monai.training.run_folder import RunFolder, require_unused
    from radimagenet_monai.training.run_record import RunRecord, data_source, expected_body_parts
    from radimagenet_monai.training.step import TrainingStep
    from radimagenet_monai.training.streaming_metrics import StreamingMetric
    from radimagenet_monai.training.streaming_outputs import StreamingEvaluationWriter, StreamingPredictionWriter
    from radimagenet_monai.training.tensorboard import LazySummaryWriter, loss_value
    from radimagenet_monai.training.throughput import Throughput
    from radimagenet_monai.training.trained_input import intensity_facts, require_trained_intensity
    from radimagenet_monai.training.weight_average import WeightAverage, network_to_evaluate
    from radimagenet_monai.training.weight_decay import parameter_groups

_MODULE_OF = {
    "AreaUnderROC": "predictions",
    "AutocastInferer": "inferer",
    "BestModel": "checkpoint",
    "BroadcastBuffers": "distributed",
    "EvaluationWriter": "outputs",
    "GlobalBatchLoss": "global_batch_loss",
    "KnownFindingsLoss": "findings_loss",
    "LazySummaryWriter": "tensorboard",
    "LearningRateSchedule": "learning_rate",
    "LesionDice": "lesion_overlap",
    "LogitAdjustedLoss": "imbalance_loss",
    "MLflowLog": "mlflow_log",
    "MaskWriter": "mask_writer",
    "MeasuredRates": "rates",
    "OverlapWriter": "mask_writer",
    "PredictionCollector": "predictions",
    "PredictionWriter": "outputs",
    "Progress": "progress",
    "RunFolder": "run_folder",
    "RunRecord": "run_record",
    "data_source": "run_record",
    "expected_body_parts": "run_record",
    "SeedIterations": "determinism",
    "StopOnNonFiniteLoss": "finite_loss",
    "StreamingEvaluationWriter": "streaming_outputs",
    "StreamingMetric": "streaming_metrics",
    "StreamingPredictionWriter": "streaming_outputs",
    "Throughput": "throughput",
    "TrainingCheckpoint": "checkpoint",
    "TrainingStep": "step",
    "WeightAverage": "weight_average",
    "check_keys": "config_keys",
    "compile_network": "compilation",
    "intensity_facts": "trained_input",
    "is_first_process": "distributed",
    "keep_freed_memory": "memory",
    "load_model": "model_file",
    "local_device": "distributed",
    "loss_value": "tensorboard",
    "network_to_evaluate": "weight_average",
    "operating_points": "model_file",
    "parameter_groups": "weight_decay",
    "parse_flag": "radimagenet_monai.flags",
    "require_classes": "preflight",
    "require_image_size": "preflight",
    "require_images": "preflight",
    "require_lesions": "preflight",
    "require_trained_intensity": "trained_input",
    "require_unused": "run_folder",
    "require_writable": "preflight",
    "show_errors_in_one_line": "launch",
    "start_process_group": "distributed",
    "stop_process_group": "distributed",
    "trained_fact": "model_file",
    "require_plane": "plane",
    "unwrap_network": "distributed",
    "wrap_network": "distributed",
}

__all__ = [
    "AreaUnderROC",
    "AutocastInferer",
    "BestModel",
    "BroadcastBuffers",
    "EvaluationWriter",
    "GlobalBatchLoss",
    "KnownFindingsLoss",
    "LazySummaryWriter",
    "LearningRateSchedule",
    "LesionDice",
    "LogitAdjustedLoss",
    "MLflowLog",
    "MaskWriter",
    "MeasuredRates",
    "OverlapWriter",
    "PredictionCollector",
    "PredictionWriter",
    "Progress",
    "RunFolder",
    "RunRecord",
    "SeedIterations",
    "StopOnNonFiniteLoss",
    "StreamingEvaluationWriter",
    "StreamingMetric",
    "StreamingPredictionWriter",
    "Throughput",
    "TrainingCheckpoint",
    "TrainingStep",
    "WeightAverage",
    "check_keys",
    "compile_network",
    "data_source",
    "expected_body_parts",
    "intensity_facts",
    "is_first_process",
    "keep_freed_memory",
    "load_model",
    "local_device",
    "loss_value",
    "network_to_evaluate",
    "operating_points",
    "parameter_groups",
    "parse_flag",
    "require_classes",
    "require_image_size",
    "require_images",
    "require_lesions",
    "require_plane",
    "require_trained_intensity",
    "require_unused",
    "require_writable",
    "show_errors_in_one_line",
    "start_process_group",
    "stop_process_group",
    "trained_fact",
    "unwrap_network",
    "wrap_network",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
