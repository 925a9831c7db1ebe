"""Parts for MONAI engines: precision, determinism, checkpoints, run record, predictions.

A JSON config names these as ``radimagenet_monai.engine.<Name>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.core.flags import parse_flag as parse_flag
    from radimagenet_monai.engine.compilation import compile_network as compile_network
    from radimagenet_monai.engine.distributed import BroadcastBuffers as BroadcastBuffers
    from radimagenet_monai.engine.distributed import is_first_process as is_first_process
    from radimagenet_monai.engine.distributed import local_device as local_device
    from radimagenet_monai.engine.distributed import start_process_group as start_process_group
    from radimagenet_monai.engine.distributed import stop_process_group as stop_process_group
    from radimagenet_monai.engine.distributed import unwrap_network as unwrap_network
    from radimagenet_monai.engine.distributed import wrap_network as wrap_network
    from radimagenet_monai.engine.handlers.checkpoint import BestModel as BestModel
    from radimagenet_monai.engine.handlers.checkpoint import TrainingCheckpoint as TrainingCheckpoint
    from radimagenet_monai.engine.handlers.determinism import SeedIterations as SeedIterations
    from radimagenet_monai.engine.handlers.finite_loss import StopOnNonFiniteLoss as StopOnNonFiniteLoss
    from radimagenet_monai.engine.handlers.mlflow_log import MLflowLog as MLflowLog
    from radimagenet_monai.engine.handlers.progress import Progress as Progress
    from radimagenet_monai.engine.handlers.run_record import RunRecord as RunRecord
    from radimagenet_monai.engine.handlers.run_record import data_source as data_source
    from radimagenet_monai.engine.handlers.run_record import expected_body_parts as expected_body_parts
    from radimagenet_monai.engine.handlers.tensorboard import LazySummaryWriter as LazySummaryWriter
    from radimagenet_monai.engine.handlers.tensorboard import loss_value as loss_value
    from radimagenet_monai.engine.handlers.throughput import Throughput as Throughput
    from radimagenet_monai.engine.handlers.weight_average import WeightAverage as WeightAverage
    from radimagenet_monai.engine.handlers.weight_average import network_to_evaluate as network_to_evaluate
    from radimagenet_monai.engine.inferer import AutocastInferer as AutocastInferer
    from radimagenet_monai.engine.losses.findings_loss import KnownFindingsLoss as KnownFindingsLoss
    from radimagenet_monai.engine.losses.global_batch_loss import GlobalBatchLoss as GlobalBatchLoss
    from radimagenet_monai.engine.losses.imbalance_loss import LogitAdjustedLoss as LogitAdjustedLoss
    from radimagenet_monai.engine.outputs.lesion_overlap import LesionDice as LesionDice
    from radimagenet_monai.engine.outputs.mask_writer import MaskWriter as MaskWriter
    from radimagenet_monai.engine.outputs.mask_writer import OverlapWriter as OverlapWriter
    from radimagenet_monai.engine.outputs.predictions import AreaUnderROC as AreaUnderROC
    from radimagenet_monai.engine.outputs.predictions import PredictionCollector as PredictionCollector
    from radimagenet_monai.engine.outputs.streaming_metrics import StreamingMetric as StreamingMetric
    from radimagenet_monai.engine.outputs.streaming_writers import (
        StreamingEvaluationWriter as StreamingEvaluationWriter,
    )
    from radimagenet_monai.engine.outputs.streaming_writers import (
        StreamingPredictionWriter as StreamingPredictionWriter,
    )
    from radimagenet_monai.engine.outputs.writers import EvaluationWriter as EvaluationWriter
    from radimagenet_monai.engine.outputs.writers import PredictionWriter as PredictionWriter
    from radimagenet_monai.engine.postprocessing import AggregateSlicesd as AggregateSlicesd
    from radimagenet_monai.engine.postprocessing import RestoreMaskd as RestoreMaskd
    from radimagenet_monai.engine.schedule.learning_rate import LearningRateSchedule as LearningRateSchedule
    from radimagenet_monai.engine.schedule.weight_decay import parameter_groups as parameter_groups
    from radimagenet_monai.engine.start.config_keys import check_keys as check_keys
    from radimagenet_monai.engine.start.error_lines import show_errors_in_one_line as show_errors_in_one_line
    from radimagenet_monai.engine.start.malloc_settings import keep_freed_memory as keep_freed_memory
    from radimagenet_monai.engine.start.preflight import require_classes as require_classes
    from radimagenet_monai.engine.start.preflight import require_image_size as require_image_size
    from radimagenet_monai.engine.start.preflight import require_images as require_images
    from radimagenet_monai.engine.start.preflight import require_lesions as require_lesions
    from radimagenet_monai.engine.start.preflight import require_writable as require_writable
    from radimagenet_monai.engine.start.rates import MeasuredRates as MeasuredRates
    from radimagenet_monai.engine.start.run_folder import RunFolder as RunFolder
    from radimagenet_monai.engine.start.run_folder import require_unused as require_unused
    from radimagenet_monai.engine.step import TrainingStep as TrainingStep
    from radimagenet_monai.engine.trained.components import component_facts as component_facts
    from radimagenet_monai.engine.trained.intensity import intensity_facts as intensity_facts
    from radimagenet_monai.engine.trained.intensity import require_trained_intensity as require_trained_intensity
    from radimagenet_monai.engine.trained.model_file import load_model as load_model
    from radimagenet_monai.engine.trained.model_file import operating_points as operating_points
    from radimagenet_monai.engine.trained.model_file import trained_fact as trained_fact
    from radimagenet_monai.engine.trained.plane import require_plane as require_plane
    from radimagenet_monai.engine.trained.preprocessing import trained_preprocessing as trained_preprocessing
    from radimagenet_monai.engine.trained.settings import evaluation_settings as evaluation_settings
    from radimagenet_monai.engine.trained.settings import training_settings as training_settings

_MODULE_OF = {
    "AggregateSlicesd": "postprocessing",
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
    "RestoreMaskd": "postprocessing",
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
    "check_keys": "start.config_keys",
    "compile_network": "compilation",
    "component_facts": "trained.components",
    "data_source": "handlers.run_record",
    "evaluation_settings": "trained.settings",
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
    "training_settings": "trained.settings",
    "unwrap_network": "distributed",
    "wrap_network": "distributed",
}

__all__ = [*_MODULE_OF]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
