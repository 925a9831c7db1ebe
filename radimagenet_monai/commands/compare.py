"""``radimagenet compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from radimagenet_monai.core.flags import Count, Whole


def compare(
    task: str,
    records: str,
    weights: Sequence[str],
    out: str,
    root: str | None = None,
    protocol: Literal["quick", "probe", "paper"] = "quick",
    architectures: Sequence[str] | None = None,
    folds: Count | None = None,
    fractions: Sequence[float] = (1,),
    learning_rates: Sequence[float] | None = None,
    freeze: Sequence[str] | None = None,
    epochs: Count | None = None,
    image_size: Count | None = None,
    batch_size: Count | None = None,
    classes: Sequence[str] | None = None,
    subgroups: Sequence[str] = (),
    seed: Whole = 0,
    engine: Literal["local", "ray"] = "local",
    workers: Count | None = None,
    threads: Count = 1,
    loaders: Whole = 0,
    address: str | None = None,
    keep_models: bool = True,
) -> None:
    """Compare initializations on a data set: runs, statistics and a report.

    Every initialization is trained on the same folds in the same order with the same seeds. Each run is a bundle run
    that can be repeated on its own. The same command resumes a stopped comparison and retries failed runs.

    Args:
        task: a classification task, see "radimagenet info"; the runs use its bundle.
        records: the table that "radimagenet prepare" wrote, or its folder.
        weights: two or more, as A,B or first=A,second=B: random, names of imported weights, or paths to your own.
        out: output folder for runs, analysis.json and report.html.
        root: folder that the table's paths are relative to; found automatically by default.
        protocol: quick (minutes), probe (logistic regression on frozen features), paper (the 24 scenarios of 2022).
        architectures: all, or a list; by default the protocol's.
        folds: 3 or more, or 1 for the table's own split; by default the protocol's.
        fractions: shares of the training patients for a learning curve, such as 0.1,0.25,0.5,1.
        learning_rates: one or more; by default the protocol's.
        freeze: one or more of none, encoder, all_but_last_10; by default the protocol's.
        epochs: number of training epochs; by default the protocol's.
        image_size: rows and columns of the network's input in pixels; by default the protocol's.
        batch_size: images per batch; by default the protocol's.
        classes: class names in order, with two classes the positive one last; by default the task's.
        subgroups: columns of the table; by default sex, age, scanner, manufacturer, site, view, plane and finding.
        seed: random seed of folds, heads and image order.
        engine: local, or ray (needs the extra "ray").
        workers: number of simultaneous runs; by default one per GPU, or as many as the CPU cores allow.
        threads: CPU threads per run.
        loaders: image-loading processes per run.
        address: address of a Ray cluster, such as auto; by default Ray starts on this machine.
        keep_models: keep the trained models for later use, such as "radimagenet explain".
    """
    from radimagenet_monai.comparison.compare import compare as run
    from radimagenet_monai.comparison.plan import names
    from radimagenet_monai.core.flags import parse_flag

    print(
        run(
            str(task),
            str(records),
            names(weights),
            str(out),
            None if root is None else str(root),
            str(protocol),
            str(engine),
            workers,
            threads,
            address,
            loaders,
            parse_flag(keep_models),
            names(subgroups),
            architectures=None if architectures is None else names(architectures),
            folds=folds,
            fractions=names(fractions),
            learning_rates=None if learning_rates is None else names(learning_rates),
            freeze=None if freeze is None else names(freeze),
            epochs=epochs,
            image_size=image_size,
            batch_size=batch_size,
            classes=None if classes is None else names(classes),
            seed=seed,
        )
    )


COMMANDS = {"compare": compare}
