"""The sections of a comparison's page, in reading order: the answer first, then the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from radimagenet_monai.report.comparison.checklists import CHECKLISTS, FOR_THE_AUTHOR, fill_checklist
from radimagenet_monai.report.comparison.figures import difference_row, forest_picture
from radimagenet_monai.report.comparison.rows import (
    Analysis,
    fold_cell,
    main_rows,
    pair_name,
    place_name,
    several_fractions,
    speaks_of_models,
    value_cell,
)
from radimagenet_monai.report.page import Picture, Section, Step, Table
from radimagenet_monai.report.sections.comparison_results import (
    differences_section,
    learning_section,
    localization_section,
    performance_section,
    power_section,
    subgroups_section,
)
from radimagenet_monai.report.sections.two_classes import curve_sections
from radimagenet_monai.report.wording import count, grouped, with_interval

_MOST_HEADLINES = 4
_COUNTED = ("images", "patients", "positives")
_MOST_RUNS_OPEN = 24
_RESEARCH_ONLY = "Research software. These figures compare {what}; they are no evidence of clinical use."


def comparison_sections(analysis: Analysis, gallery: Sequence[Picture] = ()) -> list[Section]:
    """Sections for an analysis; missing parts are skipped and listed under "Limits".

    Parameters
    ----------
    analysis
        ``analysis.json``, without identifiers.
    gallery
        Pictures of class activation maps.
    """
    return [
        answer_section(analysis),
        data_section(analysis),
        models_section(analysis),
        performance_section(analysis),
        differences_section(analysis),
        *curve_sections(analysis),
        *([learning_section(analysis)] if several_fractions(analysis) else []),
        *([subgroups_section(analysis)] if analysis["subgroups"] else []),
        *([localization_section(analysis, gallery)] if analysis["localization"] else []),
        *([power_section(analysis)] if analysis["power"] else []),
        failures_section(analysis),
        commands_section(analysis),
        software_section(analysis),
        limits_section(analysis),
        checklists_section(analysis),
    ]


def comparison_headline(analysis: Analysis) -> dict[str, str]:
    """The most important numbers: the best means, the test data, the number of finished runs."""
    best = sorted(
        (item for item in main_rows(analysis, "performance") if item["mean"] is not None),
        key=lambda item: -item["mean"],
    )
    cards = {_card_title(item, analysis): with_interval(item, "mean") for item in best[:_MOST_HEADLINES]}
    data = analysis["data"]
    cards["Data"] = f"{count(data['images'], 'image')}, {count(data['patients'], 'patient')}"
    finished = sum(run["status"] == "finished" for run in analysis["runs"])
    cards["Runs finished"] = f"{finished} of {len(analysis['runs'])}"
    return cards


def _card_title(item: Mapping[str, Any], analysis: Analysis) -> str:
    if not speaks_of_models(analysis):
        return f"{item['initialization']}, mean {analysis['measure']}"
    if item["runs"] == 1:
        return f"Model started from {item['initialization']}, {analysis['measure']}"
    return f"Models started from {item['initialization']}, mean {analysis['measure']}"


def answer_section(analysis: Analysis) -> Section:
    """The sentences, and the differences between initializations over all architectures."""
    found = main_rows(analysis, "differences")
    pictures = []
    if found:
        rows = [difference_row(pair_name(item), item) for item in found]
        place = place_name(found[0]["architecture"])
        higher = "higher" if speaks_of_models(analysis) else "better"
        caption = f"Differences in {analysis['measure']}, {place}: above 0 the first is {higher}, below 0 the second."
        pictures.append(forest_picture(rows, f"difference in {analysis['measure']}", caption))
    return Section(
        "The answer", analysis["sentences"] or ["No two initializations could be compared."], pictures=pictures
    )


def data_section(analysis: Analysis) -> Section:
    """Flow of patients and images, classes, folds."""
    data, protocol = analysis["data"], analysis["protocol"]
    left_out = [f"{item['reason']}: {count(item['images'], 'image')}" for item in data["excluded"]]
    lost = sum(item["images"] for item in data["excluded"])
    given = [count(data["images"], "image"), count(data["patients"], "patient")]
    if data["exams"] is not None:
        given.append(count(data["exams"], "exam"))
    classes = [f"{name}: {count(images, 'image')}" for name, images in data["classes"].items()]
    if protocol["folds"] > 1:
        divided = Step(
            f"{protocol['folds']} folds, patients kept together" if data["patients"] else f"{protocol['folds']} folds",
            ["each tests once, another validates, the rest trains"],
        )
    else:
        divided = Step("The table's own split", ["training, validation and test"])
    tested = [
        f"{count(fold['test']['images'], 'image')}, {count(fold['test']['patients'], 'patient')}"
        for fold in data["folds"]
    ]
    # Images are counted by class before or after some are excluded.
    by_class_before = sum(data["classes"].values()) == data["images"]
    given, used = [*given, *(classes if by_class_before else [])], [count(data["images"] - lost, "image")]
    flow = [
        Step("Records table", given, [f"Left out: {count(lost, 'image')}", *left_out] if left_out else []),
        Step("Used", used if by_class_before else [*used, *classes]),
        divided,
        Step("Tested", [f"fold {fold['fold']}: {text}" for fold, text in zip(data["folds"], tested, strict=True)])
        if len(tested) > 1
        else Step("Tested", tested),
    ]
    rows = [
        [
            fold_cell(fold),
            title,
            *("unknown" if fold[part].get(key) is None else grouped(fold[part][key]) for key in _COUNTED),
        ]
        for fold in data["folds"]
        for part, title in (("train", "training"), ("validation", "validation"), ("test", "test"))
    ]
    several = (
        "Patients have several images. Intervals and tests take that into account."
        if data["clustered"]
        else "Images count as independent."
    )
    return Section(
        "Data and split",
        [
            f"{_sentence_case(analysis['task'].get('dataset') or 'A records table')}. The table has the SHA-256 "
            f"{data['records_sha256']}.",
            *_left_out_before(data),
            f"{several} {str(data.get('scored', 'images')).capitalize()} were scored, one by one.",
        ],
        flow=flow,
        tables=[Table("Training, validation and test data", ["fold", "part", *_COUNTED], rows)],
    )


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _left_out_before(data: Mapping[str, Any]) -> list[str]:
    before = data.get("left_out_before") or {}
    listed = "; ".join(f"{reason}: {many}" for reason, many in before.items())
    return [f"Left out when the table was prepared: {listed}."] if listed else []


def models_section(analysis: Analysis) -> Section:
    """Initializations with their input convention, and training scenarios."""
    protocol = analysis["protocol"]
    weights = [
        [item["name"], item["weights"], *(item.get(key) or "not known" for key in ("input", "origin", "licence"))]
        for item in analysis["initializations"]
    ]
    scenarios = [[item["name"], item["freeze"], f"{item['learning_rate']:g}"] for item in protocol["scenarios"]]
    settings = [
        ["architectures", ", ".join(protocol["architectures"])],
        *([["epochs", protocol["epochs"]]] if protocol["epochs"] else []),
        ["image size", f"{protocol['image_size']} x {protocol['image_size']} pixels"],
        *([["batch size", protocol["batch_size"]]] if protocol["batch_size"] else []),
        *([["training images of a run", training]] if (training := protocol.get("training_images")) else []),
        ["seed", protocol["seed"]],
        ["choice of the model", protocol["validation"]],
    ]
    if speaks_of_models(analysis):
        paired = "All models had the same training images in the same order, and differences are paired by test image."
    else:
        paired = (
            "Every initialization had the same folds, the same order of images and the same seeds, so that differences "
            "are paired."
        )
    return Section(
        "Models and input conventions",
        [
            f"Protocol '{protocol['name']}': {protocol['description']}. {paired}",
            "A network's first layer maps the image, in [0, 1], to what its weights were trained on.",
        ],
        tables=[
            Table("Initializations", ["name", "weights", "input", "origin", "license"], weights),
            Table("Scenarios of training", ["scenario", "frozen", "learning rate"], scenarios),
            Table("Settings of all runs", ["setting", "value"], settings),
        ],
        details=json.dumps(
            {item["name"]: item["identity"] for item in analysis["initializations"]}, indent=2, ensure_ascii=False
        ),
        details_title="What identifies each file of weights",
    )


def failures_section(analysis: Analysis) -> Section:
    """Runs without a result and images that were not used."""
    failed = [run for run in analysis["runs"] if run["status"] != "finished"]
    runs = [
        [
            run["id"],
            run["initialization"],
            run["architecture"],
            run["scenario"],
            fold_cell(run),
            run["status"],
            run["problem"] or "no reason noted",
        ]
        for run in failed
    ]
    excluded = [[item["reason"], item["images"]] for item in analysis["data"]["excluded"]]
    paragraphs = []
    if failed:
        paragraphs.append(
            f"{count(len(failed), 'run')} of {len(analysis['runs'])} came to no result. Pairs that lack one of their "
            "runs are left out of the differences."
        )
    else:
        paragraphs.append(f"All {count(len(analysis['runs']), 'run')} came to a result.")
    paragraphs.append("Some images were left out." if excluded else "No image was left out.")
    return Section(
        "Failures",
        paragraphs,
        tables=[
            Table(
                "Runs without a result",
                ["run", "initialization", "architecture", "scenario", "fold", "status", "reason"],
                runs,
            ),
            Table("Images left out", ["reason", "images"], excluded),
        ],
    )


def commands_section(analysis: Analysis) -> Section:
    """Every run with its value and the command that repeats it alone."""
    runs = analysis["runs"]
    rows = [
        [
            run["id"],
            run["initialization"],
            run["architecture"],
            run["scenario"],
            fold_cell(run),
            f"{100 * run['fraction']:g}%",
            value_cell(run, "value") if run["status"] == "finished" else run["status"],
            "" if run["seconds"] is None else f"{run['seconds']:.0f}",
        ]
        for run in runs
    ]
    commands = "\n\n".join(f"# {run['id']}\n{run['command']}" for run in runs if run["command"])
    return Section(
        "How to repeat each run",
        [
            *([f"The whole comparison: {analysis['command']}"] if analysis["command"] else []),
            "Each run is an ordinary one that can be repeated alone by its command, folded below. Its shell variables "
            "stand for places on the machine it ran on; roots.env in the comparison's folder sets them there.",
        ],
        tables=[
            Table(
                "Runs",
                [
                    *("run", "initialization", "architecture", "scenario", "fold", "training set"),
                    f"{analysis['measure']} (95% CI)",
                    "seconds",
                ],
                rows,
                folded=len(rows) > _MOST_RUNS_OPEN,
            )
        ],
        details=commands,
        details_title=f"Commands of all {len(runs)} runs",
    )


def software_section(analysis: Analysis) -> Section:
    """Versions, machine, and each run's own record."""
    rows = [[name, str(version)] for name, version in analysis["software"].items()]
    rows += [[name, _plain(value)] for name, value in analysis["hardware"].items()]
    rows += [["started", analysis["started"]]] if analysis["started"] else []
    rows.append(["duration", f"{analysis['seconds']:.0f} s"])
    records = {run["id"]: run["run"] for run in analysis["runs"] if run.get("run")}
    return Section(
        "Software and machine",
        tables=[Table("Versions and machine", ["name", "value"], rows)],
        details=json.dumps(records, indent=1, ensure_ascii=False),
        details_title="run.json of every run",
    )


def limits_section(analysis: Analysis) -> Section:
    """Limits of the results, and parts missing from this report."""
    absent = []
    if not analysis["subgroups"]:
        absent.append("subgroups (columns of the records, such as sex or scanner)")
    if not several_fractions(analysis):
        absent.append("a learning curve (--fractions 0.25,0.5,1)")
    if not analysis["localization"]:
        absent.append("localization (records with masks)")
    missing = [f"Not in this report: {'; '.join(absent)}."] if absent else []
    listed = (
        ("Limits of the study", analysis["limits"]),
        ("Limits of the dataset and task", analysis["task"].get("limits") or []),
        ("Notes of the analysis", analysis["notes"]),
    )
    sections = [Section(title, texts) for title, texts in listed if texts]
    warning = _RESEARCH_ONLY.format(what="trained models" if speaks_of_models(analysis) else "ways to train")
    return Section("Limits", [warning, *missing], sections=sections)


def checklists_section(analysis: Analysis) -> Section:
    """CLAIM and TRIPOD+AI, filled in as far as the analysis can."""
    inner = []
    for name in CHECKLISTS:
        checklist = fill_checklist(name, analysis)
        rows = [[item.item, item.section, item.topic, item.answer or FOR_THE_AUTHOR] for item in checklist.items]
        inner.append(
            Section(
                checklist.name,
                [
                    f"{checklist.title}. {checklist.source}.",
                    f"{checklist.answered} of {len(checklist.items)} entries are filled in, in part or whole; the "
                    "others are marked for the author.",
                ],
                tables=[Table(f"{checklist.name}, item by item", ["item", "part", "topic", "this study"], rows)],
            )
        )
    return Section(
        "Reporting checklists",
        ["Topics are in words of this report. The published checklists govern; fill in their own forms to submit."],
        sections=inner,
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
