"""Names that the configs of a bundle may use, and their arguments. `verify` reports everything that is not listed here.

A MONAI config runs code: ``_target_`` can name anything in Python (``os.system``, and through re-exports
``torch.nn.modules.module.functools.partial``), and ``$`` expressions are passed to ``eval``. A list of forbidden names
can therefore never be complete; this is a list of the names that are needed. Full names are compared, so a path
*through* an allowed module to something that it imports does not pass.

A name alone is not enough. ``SupervisedEvaluator`` passes ``compile_kwargs`` to a compiler, ``LoadImaged`` calls any
function that ``reader`` names, and ``os.path.join`` drops everything before an absolute second part. Each component is
therefore listed with its allowed arguments. Arguments that start a compiler or a process, unpickle, download, or name
code are left out; the others carry a mark:

========== ========================================================================================================
``name``   data or another component
``name>``  a folder to write to: below the bundle's folder or in an output folder
``name>x`` the same for a file whose name ends with ``.x``
``name^``  like ``name>``, or the bundle's folder itself
``name~``  a file name without a folder
``name<``  a path to read from: in the bundle, or where a top-level key of the config says
``name()`` a callable, never given by its name as text
``name=``  one of the following values, separated by ``|``
``name{}`` an object with these keys, separated by ``|``, and plain words or numbers as values
``name!``  the address of a server: only from an empty top-level key of the config, for the user to fill in
``*name``  any number of positional arguments
========== ========================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from radimagenet_monai.core.moved import exports_of_first_release

CONFIG_PACKAGES = ("encoders", "engine", "intensity", "loading", "models", "store")
"""Packages of this project whose exports are made to be named in configs; all their exports are allowed."""

PACKAGES_OF_FIRST_RELEASE = ("data", "networks", "training")
"""Packages that configs of release 0.1 name; see `radimagenet_monai.core.moved`."""


@dataclass(frozen=True)
class Argument:
    """An argument and its allowed values: ``kind`` is one of the marks above, ``values`` the text after the mark."""

    name: str
    kind: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signature:
    """The arguments of a component or function, in order.

    Attributes
    ----------
    arguments
        Arguments by name.
    repeated
        Argument that stands for any number of positional arguments.
    is_open
        Whether unlisted arguments are data; otherwise they are not allowed.
    """

    arguments: Mapping[str, Argument]
    repeated: Argument | None = None
    is_open: bool = False

    @property
    def is_harmless(self) -> bool:
        """Whether the values of the arguments do not matter, so that the bare callable may be passed on."""
        listed = [*self.arguments.values(), *([self.repeated] if self.repeated else [])]
        return all(argument.kind in ("", "()") for argument in listed)


ANY = Signature({}, is_open=True)

_ARGUMENT = re.compile(r"(\*?)(\w+)([>^~<!={]|\(\))?(\S*?)}?")


def _table(text: str, is_open: bool = False) -> dict[str, Signature]:
    table = {}
    for line in text.strip().splitlines():
        name, _, listed = line.partition(":")
        arguments, repeated = {}, None
        for word in listed.split():
            matched = _ARGUMENT.fullmatch(word)
            assert matched is not None, word
            argument = Argument(matched[2], matched[3] or "", tuple(filter(None, matched[4].split("|"))))
            if matched[1]:
                repeated = argument
            else:
                arguments[argument.name] = argument
        table[name.strip()] = Signature(arguments, repeated, is_open)
    return table


MONAI_COMPONENTS = _table(
    """
Activationsd: keys sigmoid softmax other() dim allow_missing_keys
AsDiscreted: keys argmax to_onehot threshold rounding allow_missing_keys
BasicUNet: spatial_dims in_channels out_channels features act norm bias dropout upsample
BorderPadd: keys spatial_border mode allow_missing_keys lazy
CacheDataset: data transform() cache_num cache_rate num_workers progress copy_cache as_contiguous runtime_cache
CastToTyped: keys dtype allow_missing_keys
CenterSpatialCropd: keys roi_size allow_missing_keys lazy
CheckpointLoader: load_path< load_dict map_location strict strict_shape
CheckpointSaver: save_dir> save_dict file_prefix~ save_final final_filename~ save_key_metric key_metric_name \
key_metric_n_saved key_metric_filename~ key_metric_save_state key_metric_greater_or_equal key_metric_negative_sign \
epoch_level save_interval n_saved
ClassificationSaver: output_dir> filename~ delimiter overwrite batch_transform() output_transform() name
Compose: transforms() map_items unpack_items lazy
ConcatItemsd: keys name dim allow_missing_keys
ConfusionMatrix: include_background metric_name compute_sample reduction output_transform() save_details
ConfusionMatrixMetric: include_background metric_name compute_sample reduction get_not_nans ignore_index
ConvertToMultiChannelBasedOnBratsClassesd: keys allow_missing_keys et_label
CopyItemsd: keys times names allow_missing_keys
CropForegroundd: keys source_key select_fn() channel_indices margin allow_smaller k_divisible mode start_coord_key \
end_coord_key allow_missing_keys lazy
DataLoader: dataset batch_size shuffle sampler batch_sampler num_workers collate_fn() pin_memory drop_last timeout \
prefetch_factor persistent_workers
Dataset: data transform()
DeleteItemsd: keys sep use_re
DenseNet121: spatial_dims in_channels out_channels init_features growth_rate block_config act norm dropout_prob \
pretrained=false
DiceCELoss: include_background to_onehot_y sigmoid softmax other_act() squared_pred jaccard reduction smooth_nr \
smooth_dr batch weight lambda_dice lambda_ce label_smoothing
DiceFocalLoss: include_background to_onehot_y sigmoid softmax other_act() squared_pred jaccard reduction smooth_nr \
smooth_dr batch gamma weight lambda_dice lambda_focal alpha
DiceLoss: include_background to_onehot_y sigmoid softmax other_act() squared_pred jaccard reduction smooth_nr \
smooth_dr batch weight soft_label ignore_index
DiceMetric: include_background reduction get_not_nans ignore_empty num_classes return_with_label per_component \
ignore_index
DistributedSampler: dataset even_divisible num_replicas rank shuffle
DivisiblePadd: keys k mode method allow_missing_keys lazy
DynUNet: spatial_dims in_channels out_channels kernel_size strides upsample_kernel_size filters dropout norm_name \
act_name deep_supervision deep_supr_num res_block trans_bias
EarlyStopHandler: patience score_function() trainer min_delta cumulative_delta epoch_level
EnsureChannelFirstd: keys strict_check allow_missing_keys channel_dim
EnsureTyped: keys data_type dtype device wrap_sequence track_meta allow_missing_keys
FillHolesd: keys applied_labels connectivity allow_missing_keys
FlexibleUNet: in_channels out_channels backbone pretrained=false decoder_channels spatial_dims norm act dropout \
decoder_bias upsample interp_mode is_pad
Flipd: keys spatial_axis allow_missing_keys lazy
FocalLoss: include_background to_onehot_y gamma alpha weight reduction use_softmax ignore_index
GeneralizedDiceLoss: include_background to_onehot_y sigmoid softmax other_act() w_type reduction smooth_nr smooth_dr \
batch soft_label
HausdorffDistance: include_background distance_metric percentile directed reduction output_transform() save_details
Identityd: keys allow_missing_keys
Invertd: keys transform() orig_keys meta_keys orig_meta_keys meta_key_postfix nearest_interp to_tensor device \
post_func() allow_missing_keys
KeepLargestConnectedComponentd: keys applied_labels is_onehot independent connectivity num_components \
allow_missing_keys
LoadImaged: keys reader=ITKReader|NibabelReader|NrrdReader|PILReader|PydicomReader|itkreader|nibabelreader|\
nrrdreader|pilreader|pydicomreader dtype meta_keys meta_key_postfix overwriting image_only ensure_channel_first \
simple_keys allow_missing_keys expanduser
LrScheduleHandler: lr_scheduler print_lr name epoch_level step_transform()
MapLabelValued: keys orig_labels target_labels dtype allow_missing_keys
MeanDice: include_background reduction num_classes output_transform() save_details return_with_label
MeanIoUHandler: include_background reduction output_transform() save_details
MetricsSaver: save_dir> metrics metric_details batch_transform() summary_ops save_rank delimiter output_type
NormalizeIntensityd: keys subtrahend divisor nonzero channel_wise dtype allow_missing_keys
Novograd: params lr betas eps weight_decay grad_averaging amsgrad
Orientationd: keys axcodes as_closest_canonical labels allow_missing_keys lazy
ROCAUC: average output_transform()
ROCAUCMetric: average
RandAdjustContrastd: keys prob gamma invert_image retain_stats allow_missing_keys
RandAffined: keys spatial_size prob rotate_range shear_range translate_range scale_range mode padding_mode cache_grid \
device allow_missing_keys lazy
RandAxisFlipd: keys prob allow_missing_keys lazy
RandCoarseDropoutd: keys holes spatial_size dropout_holes fill_value max_holes max_spatial_size prob \
allow_missing_keys
RandCropByPosNegLabeld: keys label_key spatial_size pos neg num_samples image_key image_threshold fg_indices_key \
bg_indices_key allow_smaller allow_missing_keys lazy
RandFlipd: keys prob spatial_axis allow_missing_keys lazy
RandGaussianNoised: keys prob mean std dtype allow_missing_keys sample_std
RandGaussianSmoothd: keys sigma_x sigma_y sigma_z approx prob allow_missing_keys
RandRotate90d: keys prob max_k spatial_axes allow_missing_keys lazy
RandRotated: keys range_x range_y range_z prob keep_size mode padding_mode align_corners dtype allow_missing_keys lazy
RandScaleIntensityd: keys factors prob channel_wise dtype allow_missing_keys
RandShiftIntensityd: keys offsets safe factor_key meta_keys meta_key_postfix prob channel_wise allow_missing_keys
RandSpatialCropSamplesd: keys roi_size num_samples max_roi_size random_center random_size allow_missing_keys lazy
RandSpatialCropd: keys roi_size max_roi_size random_center random_size allow_missing_keys lazy
RandZoomd: keys prob min_zoom max_zoom mode padding_mode align_corners dtype keep_size allow_missing_keys lazy
RepeatChanneld: keys repeats allow_missing_keys
ResNet: block layers block_inplanes spatial_dims n_input_channels conv1_t_size conv1_t_stride no_max_pool \
shortcut_type widen_factor num_classes feed_forward bias_downsample act norm
ResizeWithPadOrCropd: keys spatial_size mode allow_missing_keys method lazy
Resized: keys spatial_size size_mode mode align_corners anti_aliasing anti_aliasing_sigma dtype allow_missing_keys lazy
Rotate90d: keys k spatial_axes allow_missing_keys lazy
Rotated: keys angle keep_size mode padding_mode align_corners dtype allow_missing_keys lazy rotate_order
SaveImaged: keys meta_keys meta_key_postfix output_dir> output_postfix~ output_ext~ resample mode padding_mode scale \
dtype output_dtype allow_missing_keys squeeze_end_dims separate_folder print_log \
writer=ITKWriter|NibabelWriter|PILWriter
ScaleIntensityRangePercentilesd: keys lower upper b_min b_max clip relative channel_wise dtype allow_missing_keys
ScaleIntensityRanged: keys a_min a_max b_min b_max clip dtype allow_missing_keys
ScaleIntensityd: keys minv maxv factor channel_wise dtype allow_missing_keys
SegResNet: spatial_dims init_filters in_channels out_channels dropout_prob act norm norm_name num_groups \
use_conv_final blocks_down blocks_up upsample_mode
SelectItemsd: keys allow_missing_keys
SimpleInferer:
SlidingWindowInferer: roi_size sw_batch_size overlap mode sigma_scale padding_mode cval sw_device device progress \
cache_roi_weight_map cpu_thresh buffer_steps buffer_dim with_coord
Spacingd: keys pixdim diagonal mode padding_mode align_corners dtype scale_extent recompute_affine min_pixdim \
max_pixdim ensure_same_shape allow_missing_keys lazy
SpatialPadd: keys spatial_size method mode allow_missing_keys lazy
SplitDimd: keys output_postfixes dim keepdim update_meta list_output allow_missing_keys
SqueezeDimd: keys dim update_meta allow_missing_keys
StatsHandler: iteration_log epoch_log epoch_print_logger() iteration_print_logger() output_transform() \
global_epoch_transform() state_attributes name tag_name
SupervisedEvaluator: device val_data_loader network epoch_length non_blocking prepare_batch() iteration_update() \
inferer postprocessing() key_val_metric additional_metrics metric_cmp_fn() val_handlers amp mode decollate
SupervisedTrainer: device max_epochs train_data_loader network optimizer loss_function() epoch_length non_blocking \
prepare_batch() iteration_update() inferer postprocessing() key_train_metric additional_metrics metric_cmp_fn() \
train_handlers amp decollate optim_set_to_none accumulation_steps
SurfaceDistance: include_background symmetric distance_metric reduction output_transform() save_details
SwinUNETR: in_channels out_channels patch_size depths num_heads window_size qkv_bias mlp_ratio feature_size norm_name \
drop_rate attn_drop_rate dropout_path_rate normalize patch_norm use_checkpoint spatial_dims downsample use_v2 \
img_size
TensorBoardStatsHandler: summary_writer log_dir> iteration_log epoch_log epoch_event_writer() \
iteration_event_writer() output_transform() global_epoch_transform() state_attributes tag_name
ToTensord: keys dtype device wrap_sequence track_meta allow_missing_keys
Transposed: keys indices allow_missing_keys
TverskyLoss: include_background to_onehot_y sigmoid softmax other_act() alpha beta reduction smooth_nr smooth_dr batch \
soft_label ignore_index
UNet: spatial_dims in_channels out_channels channels strides kernel_size up_kernel_size num_res_units act norm dropout \
bias adn_ordering
ValidationHandler: interval validator epoch_level exec_at_start
WarmupCosineSchedule: optimizer warmup_steps t_total end_lr cycles last_epoch warmup_multiplier
Zoomd: keys zoom mode padding_mode align_corners dtype keep_size allow_missing_keys lazy
""".replace("\\\n", "")
)
"""MONAI's transforms, engines, handlers, networks, inferers, losses and metrics, by their plain name."""

TORCH_COMPONENTS = _table(
    """
torch.nn.BCELoss: weight reduction
torch.nn.BCEWithLogitsLoss: weight reduction pos_weight
torch.nn.CrossEntropyLoss: weight ignore_index reduction label_smoothing
torch.nn.L1Loss: reduction
torch.nn.MSELoss: reduction
torch.nn.NLLLoss: weight ignore_index reduction
torch.nn.Sigmoid:
torch.nn.Softmax: dim
torch.nn.parallel.DistributedDataParallel: module device_ids output_device broadcast_buffers find_unused_parameters \
gradient_as_bucket_view static_graph
torch.optim.Adam: params lr betas eps weight_decay amsgrad foreach maximize capturable differentiable fused
torch.optim.AdamW: params lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused
torch.optim.RMSprop: params lr alpha eps weight_decay momentum centered capturable foreach maximize differentiable
torch.optim.SGD: params lr momentum dampening weight_decay nesterov maximize foreach differentiable fused
torch.optim.lr_scheduler.ConstantLR: optimizer factor total_iters last_epoch
torch.optim.lr_scheduler.CosineAnnealingLR: optimizer T_max eta_min last_epoch
torch.optim.lr_scheduler.ExponentialLR: optimizer gamma last_epoch
torch.optim.lr_scheduler.LinearLR: optimizer start_factor end_factor total_iters last_epoch
torch.optim.lr_scheduler.MultiStepLR: optimizer milestones gamma last_epoch
torch.optim.lr_scheduler.OneCycleLR: optimizer max_lr total_steps epochs steps_per_epoch pct_start anneal_strategy \
cycle_momentum base_momentum max_momentum div_factor final_div_factor three_phase last_epoch
torch.optim.lr_scheduler.PolynomialLR: optimizer total_iters power last_epoch
torch.optim.lr_scheduler.ReduceLROnPlateau: optimizer mode factor patience threshold threshold_mode cooldown min_lr eps
torch.optim.lr_scheduler.SequentialLR: optimizer schedulers milestones last_epoch
torch.optim.lr_scheduler.StepLR: optimizer step_size gamma last_epoch
timm.create_model: model_name~ pretrained=false num_classes in_chans drop_rate drop_path_rate global_pool scriptable
ignite.metrics.Accuracy: output_transform() is_multilabel device
""".replace("\\\n", "")
)
"""Losses, optimizers and schedules of torch, and ignite's accuracy."""

OWN_COMPONENTS = {
    # Our unlisted arguments are data; tests/collection checks that none of them is a path or an address.
    **_table(
        """
radimagenet_monai.loading.NativeDataset: data transform()
radimagenet_monai.loading.PackedDataset: data transform() store_dir>
radimagenet_monai.store.PackedStore: store_dir> transform()
radimagenet_monai.loading.list_native_images: root<
radimagenet_monai.loading.packed_dataset: data transform() store_dir>
radimagenet_monai.datasets.bundle_datalist: dataset dataset_dir< datalist< classes split fold \
options{target|classes|layout|slices|plane|modality|missing}
radimagenet_monai.integrations.runtimes.runtime_network: name network checkpoint< amp
radimagenet_monai.io.LoadNativeImaged:
radimagenet_monai.models.UNet: architecture weights<
radimagenet_monai.models.build_classifier: architecture num_classes weights<
radimagenet_monai.models.build_encoder: architecture weights<
radimagenet_monai.models.build_unet: architecture weights<
radimagenet_monai.models.trained_classifier: recorded architecture num_classes weights<
radimagenet_monai.models.trained_unet: recorded architecture num_classes weights<
radimagenet_monai.engine.BestModel: path>pt network settings data aggregate findings encoder_path>safetensors
radimagenet_monai.engine.EvaluationWriter: folder>
radimagenet_monai.engine.LazySummaryWriter: log_dir>
radimagenet_monai.engine.MLflowLog: tracking! settings folder>
radimagenet_monai.engine.MaskWriter: folder> data root<
radimagenet_monai.engine.OverlapWriter: folder>
radimagenet_monai.engine.PredictionWriter: folder> data classes root< checkpoint<
radimagenet_monai.engine.RunFolder: folder> models>
radimagenet_monai.engine.RunRecord: folder>
radimagenet_monai.engine.StopOnNonFiniteLoss: data folder> root<
radimagenet_monai.engine.StreamingEvaluationWriter: folder> classes root<
radimagenet_monai.engine.StreamingPredictionWriter: folder> data classes root<
radimagenet_monai.engine.TrainingCheckpoint: folder>
radimagenet_monai.engine.data_source: task dataset_dir< datalist<
radimagenet_monai.engine.expected_body_parts: task model<
radimagenet_monai.engine.load_model: path<
radimagenet_monai.engine.operating_points: model<
radimagenet_monai.engine.require_trained_intensity: model<
radimagenet_monai.engine.require_unused: folder> bundle_root^
radimagenet_monai.engine.require_writable: *folders^
radimagenet_monai.engine.trained_fact: model<
radimagenet_monai.engine.trained_preprocessing: transforms() model<
radimagenet_monai.weights.identify_weights: architecture weights<
""".replace("\\\n", ""),
        is_open=True,
    ),
    # These pass unknown arguments to torch's DataLoader, which takes callables and a process start method.
    **_table("""
radimagenet_monai.loading.build_loader: dataset batch_size shuffle seed num_workers drop_last num_replicas rank window
radimagenet_monai.loading.EpochLoader: dataset batch_size shuffle sampler batch_sampler num_workers
radimagenet_monai.engine.KnownFindingsLoss:
"""),
}
"""Components of this project whose values matter; the other exports of `CONFIG_PACKAGES` take any data."""

FUNCTIONS = _table("""
glob.glob: pathname<
json.loads: s
monai.data.PILReader:
monai.handlers.from_engine: keys first
monai.utils.set_determinism: seed use_deterministic_algorithms
os.path.basename: p
os.path.exists: path<
os.path.join: *parts
torch.cuda.is_available:
torch.cuda.set_device: device
torch.device: type index
torch.distributed.destroy_process_group:
torch.distributed.get_rank:
torch.distributed.get_world_size:
torch.distributed.init_process_group: backend=nccl|gloo
torch.distributed.is_initialized:
torch.ones: size
torch.zeros: size
""")
"""What expressions may call beside components of this project."""

CONSTANTS = frozenset(
    {
        "math.pi",
        "numpy.pi",
        "logging.INFO",
        "logging.WARNING",
        *(f"torch.{name}" for name in ("float", "float16", "float32", "float64", "int", "int32", "int64", "long")),
        *(f"torch.{name}" for name in ("bool", "uint8", "bfloat16")),
        *(f"numpy.{name}" for name in ("float32", "float64", "int32", "int64", "uint8", "bool_")),
    }
)
"""Values that expressions may name."""

BUILTINS = frozenset(
    {"abs", "bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range", "round", "sorted"}
    | {"str", "sum", "tuple", "zip"}
)
"""Python's own functions that expressions may call."""

REFERENCE_ATTRIBUTES = frozenset({"data", "load_state_dict", "logger", "meta", "parameters", "run", "setLevel", "to"})
"""What expressions may ask of an object that they refer to, as in ``$@evaluator.run()``."""

IMPORTED_MODULES = frozenset(
    {"glob", "json", "logging", "math", "monai", "numpy", "os", "torch", "torch.distributed", "ignite"}
    | {f"radimagenet_monai.{package}" for package in (*CONFIG_PACKAGES, *PACKAGES_OF_FIRST_RELEASE)}
)
"""Modules that ``imports`` may bring in; what expressions may use of them is listed above."""

DEFAULT_ALIASES = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}
"""Names that expressions know without an import (MONAI's ``ConfigParser``)."""

RESERVED_ALIASES = {
    package: f"radimagenet_monai.{package}" for package in (*CONFIG_PACKAGES, *PACKAGES_OF_FIRST_RELEASE)
}
"""Names of our packages, which no import may give another meaning."""

DANGEROUS_ARGUMENTS: Mapping[str, str] = {
    "compile": "it starts a compiler",
    "compile_kwargs": "its options become part of a compiler's command line",
    "multiprocessing_context": "it starts processes",
    "worker_init_fn": "it runs in each worker",
    "pickle_module": "it unpickles",
    "weights_only": "it unpickles",
    "allow_pickle": "it unpickles",
    "hash_func": "it runs on every item",
    "hash_transform": "it runs on every item",
    "init_method": "it is an address",
    "store": "it is a connection",
    "trust_repo": "it runs downloaded code",
}
"""Arguments that are refused wherever they have a value, and why."""


CALLED_COMPONENTS = frozenset({"CheckpointLoader"})
"""Components that expressions may call, as in ``$@checkpointloader(@evaluator)``."""


def is_off(argument: str, values: Sequence[Any]) -> bool:
    """Whether one of the `DANGEROUS_ARGUMENTS` has no effect with each of the values."""
    off = (None, True) if argument == "weights_only" else (None, False)
    return all(any(value is harmless for harmless in off) for value in values)


@cache
def components() -> Mapping[str, Signature]:
    """All allowed values of ``_target_``, with their arguments."""
    return {
        **_with_old_names({**dict.fromkeys(_exports(), ANY), **OWN_COMPONENTS}),
        **MONAI_COMPONENTS,
        **TORCH_COMPONENTS,
        "torch.device": FUNCTIONS["torch.device"],
    }


@cache
def functions() -> Mapping[str, Signature]:
    """Full names that expressions may call, with import aliases resolved."""
    own = {name: signature for name, signature in OWN_COMPONENTS.items() if name in _exports()}
    return {**_with_old_names({**dict.fromkeys(_exports(), ANY), **own}), **FUNCTIONS}


def _with_old_names(table: Mapping[str, Signature]) -> dict[str, Signature]:
    return {**table, **{old: table[new] for old, new in exports_of_first_release().items() if new in table}}


def _exports() -> frozenset[str]:
    # These packages load torch and MONAI only when one of the names is used, which is not done here.
    return frozenset(
        f"radimagenet_monai.{package}.{name}"
        for package in CONFIG_PACKAGES
        for name in import_module(f"radimagenet_monai.{package}").__all__
    )
