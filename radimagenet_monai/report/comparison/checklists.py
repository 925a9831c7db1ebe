"""Reporting checklists of a comparison, filled in as far as the analysis can.

The lists give each item's number and its topic in our words; the published checklists are authoritative.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from radimagenet_monai.report.comparison.rows import speaks_of_models
from radimagenet_monai.report.wording import count, grouped, number

CHECKLISTS = ("claim_2024", "tripod_ai")
FOR_THE_AUTHOR = "for the author"


@dataclass(frozen=True)
class CheckedItem:
    """An item of a checklist; ``answer`` is ``None`` if the analysis cannot know it."""

    item: str
    section: str
    topic: str
    answer: str | None


@dataclass(frozen=True)
class Checklist:
    """A published checklist with the answers of this comparison."""

    name: str
    title: str
    source: str
    items: tuple[CheckedItem, ...]

    @property
    def answered(self) -> int:
        """Number of items that the analysis fills in."""
        return sum(item.answer is not None for item in self.items)


def fill_checklist(name: str, analysis: Mapping[str, Any]) -> Checklist:
    """One of `CHECKLISTS`, filled in from ``analysis.json``."""
    text = files("radimagenet_monai.report").joinpath("checklists", f"{name}.json").read_text(encoding="utf-8")
    listed = json.loads(text)
    items = tuple(
        CheckedItem(row["item"], row["section"], row["topic"], FACTS[row["fact"]](analysis) if row["fact"] else None)
        for row in listed["items"]
    )
    return Checklist(listed["name"], listed["title"], listed["source"], items)


def _aim(analysis: Mapping[str, Any]) -> str:
    names = ", ".join(item["name"] for item in analysis["initializations"])
    if speaks_of_models(analysis):
        return f"Which of the models trained on this split (started from {names}) has the higher {analysis['measure']}."
    return f"Which initialization ({names}) gives the higher {analysis['measure']}."


def _goal(analysis: Mapping[str, Any]) -> str:
    compared = "trained models" if speaks_of_models(analysis) else "initializations"
    return f"Development and internal evaluation: a paired comparison of {compared}. No model is meant for use."


def _data_source(analysis: Mapping[str, Any]) -> str:
    data = analysis["data"]
    return (
        f"{_source(analysis)}: {count(data['images'], 'image')} of "
        f"{count(data['patients'], 'patient')} (table with SHA-256 {data['records_sha256'][:12]}…). "
        "Source and representativeness are for the author."
    )


def _source(analysis: Mapping[str, Any]) -> str:
    text = analysis["task"].get("dataset") or "A records table"
    return text[:1].upper() + text[1:]


def _preprocessing(analysis: Mapping[str, Any]) -> str:
    size = analysis["protocol"]["image_size"]
    return (
        f"Images of {analysis['task']['modality']} are brought to [0, 1] by the task's intensity policy and resized to "
        f"{size} x {size} pixels, alike for all initializations; the network's input convention is part of its weights."
    )


def _selection(analysis: Mapping[str, Any]) -> str:
    fractions = analysis["protocol"]["fractions"]
    if len(fractions) > 1:
        return f"All usable images; training sets also cut to {', '.join(f'{100 * f:g}%' for f in fractions)}."
    return "All usable images of the records table."


def _missing(analysis: Mapping[str, Any]) -> str:
    excluded = analysis["data"]["excluded"]
    listed = "; ".join(f"{item['reason']}: {item['images']}" for item in excluded)
    text = f"Images of the table left out ({listed})." if excluded else "No image of the table was left out."
    before = analysis["data"].get("left_out_before") or {}
    if before:
        text += f" Before, when it was prepared: {'; '.join(f'{reason}: {many}' for reason, many in before.items())}."
    return f"{text} Nothing was imputed."


def _partitions(analysis: Mapping[str, Any]) -> str:
    folds = analysis["protocol"]["folds"]
    if folds == 1:
        return "The records table's own training, validation and test split, the same for every model."
    return f"{folds} folds: each tests once, another validates, the rest trains; the same for every initialization."


def _disjoint(analysis: Mapping[str, Any]) -> str:
    if analysis["data"]["patients"] is None:
        return "Images. Patients are unknown, so that the parts may share some."
    return "Patients: all images of a patient are in one part."


def _sample_size(analysis: Mapping[str, Any]) -> str | None:
    for item in analysis["power"]:
        if item["patients"] is not None:
            pair = f"{item['first']} and {item['second']} ({item['architecture']})"
            return (
                f"That of the data at hand. For a difference of {item['difference']:g} in {analysis['measure']} "
                f"between {pair}, about {grouped(item['patients'])} {item.get('unit', 'patient')}s would be needed for "
                f"a power of {100 * item['power']:g}%."
            )
    return "That of the data at hand; the patients needed are not estimable from them."


def _initialization(analysis: Mapping[str, Any]) -> str:
    listed = "; ".join(
        f"{item['name']}: {item['weights']} ({item.get('origin') or 'not known'})"
        for item in analysis["initializations"]
    )
    return f"{listed}. SHA-256 of each is in report.json."


def _training(analysis: Mapping[str, Any]) -> str:
    protocol = analysis["protocol"]
    scenarios = "; ".join(
        f"{item['name']} (frozen: {item['freeze']}, learning rate {item['learning_rate']:g})"
        for item in protocol["scenarios"]
    )
    epochs = f"{protocol['epochs']} epochs, batches of {protocol['batch_size']}, " if protocol["epochs"] else ""
    return f"Protocol '{protocol['name']}': {epochs}seed {protocol['seed']}." + (
        f" Scenarios: {scenarios}." if scenarios else ""
    )


def _statistics(analysis: Mapping[str, Any]) -> str:
    found = analysis["differences"]
    few = next((item["too_few"] for item in found if item.get("too_few")), None)
    if few:
        return f"None: too few were tested ({few}). Differences are described, without intervals and P values."
    methods = {item["method"] for item in found}
    methods |= {item["test_sets"]["method"] for item in found if item.get("test_sets")}
    named = ", ".join(sorted(name for name in methods if name)) or "none was applicable"
    several = "several images of a patient are taken into account" if analysis["data"]["clustered"] else "images count"
    return f"Paired differences with 95% CIs: {named}; P values adjusted by Holm; {several}."


def _robustness(analysis: Mapping[str, Any]) -> str:
    protocol = analysis["protocol"]
    folds = "one split" if speaks_of_models(analysis) else count(protocol["folds"], "fold")
    parts = [count(len(protocol["architectures"]), "architecture"), folds]
    parts += [count(len(protocol["scenarios"]), "scenario")] if protocol["scenarios"] else []
    parts += [f"training sets of {count(len(protocol['fractions']), 'size')}"] if len(protocol["fractions"]) > 1 else []
    parts += [f"subgroups by {', '.join(sorted(_subgroup_columns(analysis)))}"] if analysis["subgroups"] else []
    return f"Results by {'; '.join(parts)}."


def _explanations(analysis: Mapping[str, Any]) -> str | None:
    if not analysis["localization"]:
        return None
    return "Class activation maps measured against lesion masks, with randomized weights as a sanity check."


def _flow(analysis: Mapping[str, Any]) -> str:
    left_out = sum(item["images"] for item in analysis["data"]["excluded"])
    return f"See 'Data and split'; {count(left_out, 'image')} left out."


def _characteristics(analysis: Mapping[str, Any]) -> str:
    columns = sorted(_subgroup_columns(analysis))
    more = f" Groups by {', '.join(columns)} are under 'Subgroups'." if columns else ""
    return f"Numbers of images, patients and positives are under 'Data and split'.{more} The rest is for the author."


def _performance(analysis: Mapping[str, Any]) -> str | None:
    listed = [
        f"{item['initialization']} {number(item['mean'])}"
        for item in analysis["performance"]
        if item["architecture"] == "all" and item["fraction"] == max(analysis["protocol"]["fractions"])
    ]
    return f"Mean {analysis['measure']}: {', '.join(listed)}. Intervals are under 'Performance'." if listed else None


def _accuracy(analysis: Mapping[str, Any]) -> str | None:
    if any((item["pooled"] or {}).get("operating_point") for item in analysis["performance"]):
        return "Sensitivity, specificity and predictive values with intervals are under 'Operating points'."
    return None


def _wrong_results(analysis: Mapping[str, Any]) -> str | None:
    if not analysis["localization"]:
        return None
    return "Best, median and worst maps are under 'Localization'. A review of wrong cases is for the author."


def _outcome(analysis: Mapping[str, Any]) -> str:
    positive = analysis["task"]["positive"]
    return f"{_classes(analysis)}{f'; positive: {positive}' if positive else ''}. How it was told is for the author."


def _output(analysis: Mapping[str, Any]) -> str:
    if analysis["task"]["kind"] == "segmentation":
        return "A mask of the lesion."
    return "A probability of each class. The threshold of an operating point is fixed on validation data."


def _balance(analysis: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name} {images}" for name, images in analysis["data"]["classes"].items())
    return f"Images by class: {listed}."


def _fairness(analysis: Mapping[str, Any]) -> str | None:
    columns = sorted(_subgroup_columns(analysis))
    return f"Differences within groups by {', '.join(columns)} are under 'Subgroups'." if columns else None


def _subgroup_columns(analysis: Mapping[str, Any]) -> set[str]:
    return {item["column"] for item in analysis["subgroups"]}


def _classes(analysis: Mapping[str, Any]) -> str:
    return " or ".join(analysis["task"]["classes"])


FACTS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "technology": lambda analysis: (
        f"Deep learning (convolutional networks), transfer of encoder weights; {analysis['task']['title']}."
    ),
    "aim": _aim,
    "goal": _goal,
    "data_source": _data_source,
    "preprocessing": _preprocessing,
    "selection": _selection,
    "missing": _missing,
    "partitions": _partitions,
    "disjoint": _disjoint,
    "sample_size": _sample_size,
    "model": lambda analysis: (
        f"{', '.join(analysis['protocol']['architectures'])} with a new head for {_classes(analysis)}."
    ),
    "software": lambda analysis: ", ".join(f"{name} {version}" for name, version in analysis["software"].items()) + ".",
    "initialization": _initialization,
    "training": _training,
    "model_choice": lambda analysis: f"On validation data: {analysis['protocol']['validation']}.",
    "measures": lambda analysis: f"{analysis['measure']}; the rest is under 'Performance' and the sections after it.",
    "statistics": _statistics,
    "robustness": _robustness,
    "explanations": _explanations,
    "internal": lambda analysis: f"{_partitions(analysis)} Test data are of the same source as training data.",
    "flow": _flow,
    "characteristics": _characteristics,
    "performance": _performance,
    "accuracy": _accuracy,
    "wrong_results": _wrong_results,
    "limits": lambda analysis: " ".join(analysis["limits"]) or None,
    "protocol": lambda analysis: (
        f"All settings are in this report and in analysis.json; made by: {analysis['command'] or 'a script'}"
    ),
    "availability": lambda _: (
        "Every run can be repeated by its command under 'How to repeat each run'. Sharing is for the author."
    ),
    "outcome": _outcome,
    "predictors": lambda _: "The image alone.",
    "output": _output,
    "balance": _balance,
    "fairness": _fairness,
}
