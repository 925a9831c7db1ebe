"""Parts for MONAI engines: precision, determinism, checkpoints, run record, predictions.

A JSON config names these as ``radimagenet_monai.engine.<Name>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.core.flags import parse_flag
    from radimagenet_monai.engine.compilation import compile_network
    from radimagenet_monai.engine.distributed import (
        BroadcastBuffers,
        is_first_process,
        local_device,
        start_process_group,
        stop_process_group,
        unwrap_network,
        wrap_network,
    )
    from radimagenet_monai.engine.handlers.checkpoint import BestModel, TrainingCheckpoint
    from radimagenet_monai.engine.handlers.determinism import SeedIterations
    from radimagenet_monai.engine.handlers.finite_loss import StopOnNonFiniteLoss
    from radimagenet_monai.engine.handlers.mlflow_log import MLflowLog
    from radimagenet_monai.engine.handlers.progress import Progress
    from radimagenet_monai.engine.handlers.run_record import RunRecord, data_source, expected_body_parts
    from radimagenet_monai.engine.handlers.tensorboard import LazySummaryWriter, loss_value
    from radimagenet_monai.engine.handlers.throughput import Throughput
    from radimagenet_monai.engine.handlers.weight_average import WeightAverage, network_to_evaluate
    from radimagenet_monai.engine.inferer import AutocastInferer
    from radimagenet_monai.engine.losses.findings_loss import KnownFindingsLoss
    from radimagenet_monai.engine.losses.global_batch_loss import GlobalBatchLoss
    from radimagenet_monai.engine.losses.imbalance_loss import LogitAdjustedLoss
    from radimagenet_monai.engine.outputs.lesion_overlap import LesionDice
    from radimagenet_monai.engine.outputs.mask_writer import MaskWriter, OverlapWriter
    from radimagenet_monai.engine.outputs.predictions import AreaUnderROC, PredictionCollector
    from radimagenet_monai.engine.outputs.streaming_metrics import StreamingMetric
    from radimagenet_monai.engine.outputs.streaming_writers import StreamingEvaluationWriter, StreamingPredictionWriter
    from radimagenet_monai.engine.outputs.writers import EvaluationWriter, PredictionWriter
    from radimagenet_monai.engine.schedule.learning_rate import LearningRateSchedule
    from radimagenet_monai.engine.schedule.weight_decay import parameter_groups
    from radimagenet_monai.engine.start.config_keys import check_keys
    from radimagenet_monai.engine.start.error_lines import show_errors_in_one_line
    from radimagenet_monai.engine.start.malloc_settings import keep_freed_memory
    from radimagenet_monai.engine.start.preflight import (
        require_classes,
        require_image_size,
        require_images,
        require_lesions,
        require_writable,
    )
    from radimagenet_monai.engine.start.rates import MeasuredRates
    from radimagenet_monai.engine.start.run_folder import RunFolder, require_unused
    from radimagenet_monai.engine.step import TrainingStep
    from radimagenet_monai.engine.trained.intensity import intensity_facts, require_trained_intensity
    from radimagenet_monai.engine.trained.model_file import load_model, operating_points, trained_fact
    from radimagenet_monai.engine.trained.plane import require_plane
    from radimagenet_monai.engine.trained.preprocessing import (
        augmentation_facts,
        preprocessing_facts,
        trained_preprocessing,
    )

_MODULE_OF = {
    "AreaUnderROC": "outputs.predictions",
    "AutocastInferer": "inferer",
    "BestModel": "handlers.checkpoint",
    "BroadcastBuffers": "distributed",
    "EvaluationWriter": "outputs.writers",
    "GlobalBatchLoss": "losses.global_batch_loss",
    "KnownFindingsLoss": "losses.findings_loss",
    "LazySummaryWriter": "handlers.tensorboard",
    "LearningRateSchedule": "schedule.learning_rate",
    "LesionDice": "outputs.lesion_overlap",
    "LogitAdjustedLoss": "losses.imbalance_loss",
    "MLflowLog": "handlers.mlflow_log",
    "MaskWriter": "outputs.mask_writer",
    "MeasuredRates": "start.rates",
    "OverlapWriter": "outputs.mask_writer",
    "PredictionCollector": "outputs.predictions",
    "PredictionWriter": "outputs.writers",
    "Progress": "handlers.progress",
    "RunFolder": "start.run_folder",
    "RunRecord": "handlers.run_record",
    "SeedIterations": "handlers.determinism",
    "StopOnNonFiniteLoss": "handlers.finite_loss",
    "StreamingEvaluationWriter": "outputs.streaming_writers",
    "StreamingMetric": "outputs.streaming_metrics",
    "StreamingPredictionWriter": "outputs.streaming_writers",
    "Throughput": "handlers.throughput",
    "TrainingCheckpoint": "handlers.checkpoint",
    "TrainingStep": "step",
    "WeightAverage": "handlers.weight_average",
    "augmentation_facts": "trained.preprocessing",
    "check_keys": "start.config_keys",
    "compile_network": "compilation",
    "data_source": "handlers.run_record",
    "expected_body_parts": "handlers.run_record",
    "intensity_facts": "trained.intensity",
    "is_first_process": "distributed",
    "keep_freed_memory": "start.malloc_settings",
    "load_model": "trained.model_file",
    "local_device": "distributed",
    "loss_value": "handlers.tensorboard",
    "network_to_evaluate": "handlers.weight_average",
    "operating_points": "trained.model_file",
    "parameter_groups": "schedule.weight_decay",
    "parse_flag": "radimagenet_monai.core.flags",
    "preprocessing_facts": "trained.preprocessing",
    "require_classes": "start.preflight",
    "require_image_size": "start.preflight",
    "require_images": "start.preflight",
    "require_lesions": "start.preflight",
    "require_plane": "trained.plane",
    "require_trained_intensity": "trained.intensity",
    "require_unused": "start.run_folder",
    "require_writable": "start.preflight",
    "show_errors_in_one_line": "start.error_lines",
    "start_process_group": "distributed",
    "stop_process_group": "distributed",
    "trained_fact": "trained.model_file",
    "trained_preprocessing": "trained.preprocessing",
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
    "augmentation_facts",
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
    "preprocessing_facts",
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
    "trained_preprocessing",
    "unwrap_network",
    "wrap_network",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
