"""``radimagenet info``."""

from __future__ import annotations

import json as json_format
from typing import Any

from radimagenet_monai.core.version import __version__


def info(json: bool = False, task: str | None = None) -> None:
    """Show what this version offers: tasks, architectures, weights, datasets.

    Args:
        json: print one JSON object with the keys tasks, architectures, weights, datasets, plugins,
            left_out.
        task: show everything about this task only.
    """
    catalogue = _catalogue(task)
    if json:
        print(json_format.dumps(catalogue, indent=2, ensure_ascii=False))
    else:
        print(_to_text(catalogue, detailed=task is not None))


def _catalogue(task: str | None) -> dict[str, Any]:
    from radimagenet_monai.catalog.datasets import DATASETS
    from radimagenet_monai.catalog.tasks import TASKS, get_task
    from radimagenet_monai.encoders.architectures import ARCHITECTURES
    from radimagenet_monai.weights.catalogue import CATALOGUE

    tasks = [get_task(task)] if task else list(TASKS.values())
    datasets = [DATASETS.require(tasks[0].dataset)] if task else list(DATASETS.values())
    tables = (ARCHITECTURES, DATASETS, TASKS)
    return {
        "version": __version__,
        "tasks": {item.name: _plain(item) for item in tasks},
        "architectures": {item.name: item.to_dict() for item in ARCHITECTURES.values()},
        "weights": {item.name: item.to_dict() for item in CATALOGUE.values()},
        "datasets": {item.name: item.to_dict() for item in datasets},
        "plugins": {table.table: table.packages for table in tables if table.packages},
        "left_out": [sentence for table in tables for sentence in table.left_out],
    }


def _plain(item: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(item)


def _to_text(catalogue: dict[str, Any], detailed: bool) -> str:
    if detailed:
        parts = {"task": next(iter(catalogue["tasks"].values())), "dataset": next(iter(catalogue["datasets"].values()))}
        return "\n\n".join(
            "\n".join([name, *(f"  {key}: {_value(value)}" for key, value in part.items())])
            for name, part in parts.items()
        )
    lines = [f"RadImageNet on MONAI {catalogue['version']}", "", "tasks (* bundle in this version)"]
    for name, task in catalogue["tasks"].items():
        lines.append(f"  {'*' if task['released'] else ' '} {name:44} {task['title']}{_from(catalogue, 'tasks', name)}")
    lines += ["", "architectures"]
    for name, item in catalogue["architectures"].items():
        size = f"{item['num_features']} features, {item['num_parameters']:,} parameters"
        lines.append(f"    {name:20} {size}{_from(catalogue, 'encoders', name)}")
    lines += ["", "weights"]
    for name, item in catalogue["weights"].items():
        lines.append(f"    {name:28} {item['origin']}")
    lines += ["", "datasets"]
    for name, item in catalogue["datasets"].items():
        lines.append(f"    {name:20} {item['title']}{_from(catalogue, 'datasets', name)}")
    return "\n".join([*lines, "", "more: radimagenet info --task NAME, radimagenet info --json"])


def _from(catalogue: dict[str, Any], table: str, name: str) -> str:
    package = catalogue["plugins"].get(table, {}).get(name)
    return f" (plug-in {package})" if package else ""


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_value(item) for item in value[:6]) + (f"; ... {len(value)} in all" if len(value) > 6 else "")
    return str(value)


COMMANDS = {"info": info}
