"""Position within an epoch, in samples, which does not depend on the number of processes."""

from __future__ import annotations

from typing import Any

from monai.utils.enums import CommonKeys as Keys

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.distributed import process_count
from radimagenet_monai.loading.loader import EpochLoader
from radimagenet_monai.loading.sampler import EpochBatches


def knows_place(engine: Any) -> bool:
    """Whether the loader that an engine runs on knows the place of a batch in its epoch (`build_loader`)."""
    return isinstance(engine.state.dataloader, EpochLoader)


def epoch_batches(engine: Any) -> EpochBatches:
    """Batches of the loader that an engine runs on.

    Raises
    ------
    ConfigurationError
        If the loader was not made by `build_loader`, or the engine skips part of it.
    """
    loader = engine.state.dataloader
    if not isinstance(loader, EpochLoader):
        raise ConfigurationError(
            f"the trainer's loader is a {type(loader).__name__}, which does not know the place of a batch in its "
            "epoch; make it with radimagenet_monai.loading.build_loader"
        )
    batches = loader.batch_sampler
    if engine.state.epoch_length != batches.batches_after(0):
        raise ConfigurationError(
            f"epoch_length {engine.state.epoch_length}: expected {batches.batches_after(0)}, the batches of a whole "
            "epoch; leave epoch_length away"
        )
    return batches


def samples_done(engine: Any) -> int:
    """Samples of the epoch that all processes have used by the end of the current iteration.

    At the start of an epoch this is 0, or the position at which a resumed run continues.
    """
    batches, start, number = _current_batch(engine)
    return batches.used(start, number + 1)


def samples_in_iteration(engine: Any) -> int:
    """Samples in the current global batch, that is in all processes together.

    With a loader that does not know them, as many as in this process for each.
    """
    if not knows_place(engine):
        return len(engine.state.output[Keys.IMAGE]) * process_count()
    batches, start, number = _current_batch(engine)
    return batches.size(start, number)


def loss_weight(engine: Any) -> float:
    """`EpochBatches.weight` of this process in the current iteration; 1 with a loader that does not know it."""
    if not knows_place(engine):
        return 1.0
    batches, start, number = _current_batch(engine)
    return batches.weight(start, number)


def first_iteration(engine: Any, finished_epochs: int, samples: int) -> int:
    """``engine.state.iteration`` of a run that resumes after ``samples`` of the next epoch.

    Iterations count as if the whole run had been made with the present number of processes, so that an epoch still
    ends at a multiple of its length.
    """
    batches = epoch_batches(engine)
    length = batches.batches_after(0)
    return (finished_epochs + 1) * length - batches.batches_after(samples)


def _current_batch(engine: Any) -> tuple[EpochBatches, int, int]:
    """Batches, first sample of the current pass, and number of the current batch in the pass; -1 before the first."""
    batches = epoch_batches(engine)
    start, state = batches.sampler.start, engine.state
    left = state.epoch * state.epoch_length - state.iteration
    return batches, start, batches.batches_after(start) - left - 1
