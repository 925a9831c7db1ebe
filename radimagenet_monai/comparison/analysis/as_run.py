"""What was run, as recorded by the runs; the plan only says what was intended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radimagenet_monai.comparison.jobs import FINISHED
from radimagenet_monai.comparison.plan import OWN_SPLIT, PROTOCOLS, Plan
from radimagenet_monai.report.wording import count


def as_run(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Networks, scenarios, epochs, sizes, seeds and training images of the finished runs.

    A value is a number if all runs agree, ``"2 to 6"`` if they differ, and ``None`` if no run recorded it.

    Parameters
    ----------
    plan
        Plan of the comparison.
    runs
        Rows of ``analysis.json``, with each run's own record.
    """
    finished = [run for run in runs if run["status"] == FINISHED]
    settings = [run["run"].get("settings", {}) for run in finished]
    epochs = None if plan.is_probe else _range(run["epochs"] for run in finished)
    done: dict[str, Any] = {
        "architectures": [name for name in plan.architectures if any(run["architecture"] == name for run in finished)],
        "scenarios": [
            {"name": item.name, "freeze": item.freeze, "learning_rate": item.learning_rate}
            for item in plan.scenarios
            if any(run["scenario"] == item.name for run in finished)
        ],
        "epochs": epochs,
        "image_size": _range(item.get("image_size") for item in settings) or plan.image_size,
        "batch_size": _range(item.get("batch_size") for item in settings) or plan.batch_size,
        "seed": _range(item.get("seed") for item in settings) or plan.seed,
        "training_images": _range(run["training_images"] for run in finished),
    }
    return {"description": _in_words(plan, done), **done}


def versions_of(runs: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> dict[str, str]:
    """Package versions in the runs, ``"2.9 and 2.10"`` if they differ; ``now`` if no run recorded any."""
    recorded = [run["run"]["versions"] for run in runs if run["run"].get("versions")]
    names = list(dict.fromkeys(name for versions in recorded for name in versions))
    joined = {
        name: " and ".join(dict.fromkeys(str(versions[name]) for versions in recorded if name in versions))
        for name in names
    }
    return joined or {name: str(version) for name, version in now.items()}


def _range(values: Any) -> Any:
    known = sorted({value for value in values if isinstance(value, int) and not isinstance(value, bool)})
    if not known:
        return None
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _in_words(plan: Plan, done: Mapping[str, Any]) -> str:
    """The protocol's description if all of it was run, otherwise a description of what was run."""
    basis = PROTOCOLS[plan.protocol]
    scenarios = [item["name"] for item in done["scenarios"]]
    whole = (
        tuple(done["architectures"]) == basis.architectures
        and scenarios == [item.name for item in basis.scenarios]
        and (plan.epochs, done["epochs"] or plan.epochs) == (basis.epochs, basis.epochs)
        and (basis.image_size or done["image_size"]) == done["image_size"]
        and (basis.folds or plan.folds) == plan.folds
    )
    if whole:
        return basis.description
    parts = [f"{count(len(done['architectures']), 'network')} ({', '.join(done['architectures'])})"]
    parts += [f"trained as {', '.join(scenarios)}"] if scenarios else []
    if done["epochs"] is not None:
        parts.append(count(done["epochs"], "epoch") if isinstance(done["epochs"], int) else f"{done['epochs']} epochs")
    parts += [
        f"images of {done['image_size']} pixels",
        "one split" if plan.folds == OWN_SPLIT else f"{plan.folds} folds",
    ]
    return f"{', '.join(parts)}; a part of the protocol or other settings than its own"
