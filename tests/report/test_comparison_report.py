"""The report of a comparison: what it says, what it leaves out, and whom it does not name."""

from __future__ import annotations

import base64
import csv
import html.parser
import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from comparison_example import example, with_localization

from radimagenet_monai.commands.report import report
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.report.comparison.checklists import FACTS
from radimagenet_monai.report.comparison.report import write_comparison_report
from radimagenet_monai.report.wording import number

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Tags with their attributes, headings, words; complains of tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write(folder: Path, analysis: dict[str, Any], **options: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "analysis.json").write_text(json.dumps(analysis))
    return write_comparison_report(folder, **options).read_text(encoding="utf-8")


def everything(folder: Path) -> str:
    """All text that a report consists of, pictures decoded."""
    texts = [path.read_text(encoding="utf-8") for path in [*folder.glob("report.*"), *folder.glob("csv/*.csv")]]
    pictures = re.findall(r"data:image/[\w+]+;base64,([\w+/=]+)", texts[0] + texts[1])
    return "\n".join(texts) + "\n".join(base64.b64decode(picture).decode("latin-1") for picture in pictures)


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@pytest.fixture(scope="module")
def analysis() -> dict[str, Any]:
    return with_localization(example())


@pytest.fixture(scope="module")
def short(analysis: dict[str, Any]) -> dict[str, Any]:
    """The same without the curves, whose pictures take longest."""
    return {
        **analysis,
        "learning_curve": [],
        "performance": [{**row, "pooled": None} for row in analysis["performance"]],
    }


@pytest.fixture(scope="module")
def folder(analysis: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("comparison")
    (place / "overlays").mkdir()
    for name in range(3):
        cv2.imwrite(str(place / "overlays" / f"{name:04d}.png"), np.full((90, 120, 3), 80 * name, np.uint8))
    write(place, analysis)
    return place


def test_the_page_is_whole_and_needs_nothing_else(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert not re.search(r"<script|@import|url\(|https?://", text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(link["href"] or "")[1:] for link in page.attributes("a")} <= set(ids)


def test_the_page_can_be_walked_through(folder: Path) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    names = [tag for tag, _ in page.tags]
    assert all(names.count(landmark) == 1 for landmark in ("header", "nav", "main"))
    assert names.count("caption") == names.count("table")
    assert all(image["alt"] for image in page.attributes("img"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.attributes("th"))


def test_the_answer_comes_first(folder: Path, analysis: dict[str, Any]) -> None:
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    main = text[text.index("Reporting checklists") :]  # after the contents
    assert main.index(analysis["sentences"][0]) < main.index("Data and split")
    assert analysis["task"]["image_warning"] in text


def test_figures_say_their_numbers(folder: Path, analysis: dict[str, Any]) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    told = " ".join(image["alt"] or "" for image in page.attributes("img"))
    for item in analysis["differences"]:
        if item["fraction"] == 1.0:
            assert f"{number(item['difference'])} ({number(item['low'])}, {number(item['high'])})" in told
    for item in analysis["learning_curve"]:
        assert f"{item['patients']} patients {number(item['mean'])}" in told
    for item in analysis["performance"]:
        if item["pooled"]:
            assert f"AUC {number(item['pooled']['auc']['auc'])}" in told
            assert f"slope {number(item['pooled']['calibration']['slope'], 2)}" in told


def test_every_number_is_in_a_csv_file(folder: Path, analysis: dict[str, Any]) -> None:
    cells = set()
    for path in (folder / "csv").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                cells |= {float(cell) for cell in row if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)}
    wanted = set(numbers_in(analysis))
    assert len(wanted) > 1000
    assert wanted <= cells


def test_the_json_holds_what_the_page_shows(folder: Path, analysis: dict[str, Any]) -> None:
    shown = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2 ") == len(shown["sections"]) + 1  # and the contents

    def tables(sections: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for section in sections:
            yield from section["tables"]
            yield from tables(section["sections"])

    assert sum(len(table["rows"]) for table in tables(shown["sections"])) == page.count('<th scope="row"')
    assert shown["analysis"]["differences"] == analysis["differences"]


def test_checklists_have_their_items_and_know_what_the_analysis_knows(folder: Path) -> None:
    shown = json.loads((folder / "report.json").read_text(encoding="utf-8"))["checklists"]
    claim, tripod = shown["claim_2024"]["items"], shown["tripod_ai"]["items"]
    assert [item["item"] for item in claim] == [str(place) for place in range(1, 45)]
    assert list(dict.fromkeys(re.match(r"\d+", item["item"]).group() for item in tripod)) == [
        str(place) for place in range(1, 28)
    ]
    assert len(tripod) == 52  # with letters, as published
    answers = {item["item"]: item["answer"] for item in claim}
    assert "radimagenet_monai 0.1.0" in answers["23"]
    assert "184 images" in answers["7"]
    assert answers["44"] is None  # nobody but the author knows who paid
    page = Page((folder / "report.html").read_text(encoding="utf-8")).text
    assert page.count("for the author") > sum(item["answer"] is None for item in claim + tripod)
    assert "The published checklists govern" in page
    used = {row["fact"] for path in _checklist_files() for row in json.loads(path.read_text())["items"]}
    assert used - {None} == set(FACTS)


def _checklist_files() -> list[Path]:
    import radimagenet_monai.report

    return sorted((Path(radimagenet_monai.report.__file__).parent / "checklists").glob("*.json"))


def test_gallery_pictures_are_shown_small_and_unnamed(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("heat map over the image") == 9
    assert "0001.png" not in everything(folder)


def test_a_gallery_shows_no_picture_from_elsewhere(tmp_path: Path, short: dict[str, Any]) -> None:
    cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((9, 9, 3), np.uint8))
    model = {**short["localization"][0]}
    model["gallery"] = [{**model["gallery"][0], "overlay": "../secret.png"}]
    text = write(tmp_path / "inside", {**short, "localization": [model]})
    assert "heat map over the image" not in text


PLANTED = ("Doe", "Jane", "19700131", "MRN0012345", "IM_0007")


def planted(analysis: dict[str, Any]) -> dict[str, Any]:
    """The analysis as it would be with patients' names in file names, headers and a column of ids."""
    runs = [dict(run) for run in analysis["runs"]]
    problems = [
        "the train run failed: UnreadableImageError: /data/Doe^Jane/IM_0007.dcm: cannot be read (decode): cut short",
        "Doe, Jane 19700131.png: cannot be read (open): no such file; images/Doe Jane 2.nii.gz is cut short",
        "RecordsError: records.csv: patient 'MRN0012345' is in two folds",
        "ValueError: PatientName Doe^Jane^^Dr does not fit, born 1970-01-31 or 19700131",
        'KeyError: "Doe, Jane"; see C:\\scans\\Doe\\IM_0007',
    ]
    for run, problem in zip(runs, problems, strict=False):
        run.update(status="failed", value=None, low=None, high=None, problem=problem)
    runs[6]["command"] += " --input /data/IM_0007.dcm"
    runs[7]["run"] = {"settings": {"first": "Doe^Jane", "image": "Doe.19700131.png"}}
    group = analysis["subgroups"][0]
    ids = [{**group, "column": "hospital_number", "group": f"MRN0012345{place}", "patients": 1} for place in range(25)]
    named = [{**group, "column": "reader", "group": "Doe^Jane"}]
    excluded = [{"reason": "cannot be read: Doe Jane.dcm", "images": 3}, {"reason": "no label", "images": 1}]
    return {
        **analysis,
        "runs": runs,
        "subgroups": [*analysis["subgroups"], *ids, *named],
        "data": {**analysis["data"], "excluded": excluded},
        "notes": ["'IM_0007' was left out"],
    }


def test_no_patient_is_named(tmp_path: Path, short: dict[str, Any]) -> None:
    text = write(tmp_path, planted(short))
    found = everything(tmp_path)
    assert [name for name in PLANTED if name in found] == []
    page = Page(text).text
    assert "[hidden]: cannot be read (decode): cut short" in page
    assert "hospital_number: group 25 (name hidden)" in page
    assert "sex: F" in page  # a group that is one
    assert "no label" in page


def test_file_names_of_failures_are_shown_when_asked_for(tmp_path: Path, short: dict[str, Any]) -> None:
    (tmp_path / "analysis.json").write_text(json.dumps(planted(short)))
    report(str(tmp_path), show_ids=True)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "IM_0007.dcm: cannot be read (decode): cut short" in page
    assert "/data/" not in page
    assert "MRN00123451" not in page  # groups are of patients, not of failures


def test_names_are_text_and_do_not_turn_numbers_around(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "משקולות", "a" * 120, "$x_1$", "=SUM(A1)", "_hidden"]
    analysis = example(initializations=names, architectures=["densenet121"], fractions=[1.0])
    analysis["sentences"] = ["With densenet121, משקולות 0.91, \u202erandom 0.88."]
    text = write(tmp_path, analysis)
    assert "<script>" not in text
    assert "<script>alert(1)</script>" in Page(text).text
    assert "\u2068משקולות\u2069 0.91" in text  # else a browser would draw 0.91 to the left of the name
    assert "\u202e" not in everything(tmp_path)
    with (tmp_path / "csv" / "initializations.csv").open(encoding="utf-8", newline="") as stream:
        found = [row["name"] for row in csv.DictReader(stream)]
    assert found == [*names[:4], "'=SUM(A1)", "_hidden"]
    for picture in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text):
        assert "<script" not in base64.b64decode(picture).decode()


@pytest.mark.long
def test_one_split_one_size_no_extras(tmp_path: Path) -> None:
    analysis = example(architectures=["densenet121"], folds=1, fractions=[1.0])
    analysis["data"]["folds"][0]["fold"] = None
    analysis["data"]["patients"] = None
    for key in ("subgroups", "localization", "localization_differences", "power", "learning_curve", "started"):
        del analysis[key]
    page = Page(write(tmp_path, analysis)).text
    assert "own split" in page
    assert "an unknown number of patients" in page
    assert "not estimable" in page  # one fold has no spread
    assert "the spread over folds needs two or more" in page
    for title in ("Learning curve", "Localization", "Subgroups", "Patients needed"):
        assert title not in page
    assert "Not in this report: subgroups" in page


@pytest.mark.long
def test_twelve_initializations(tmp_path: Path) -> None:
    names = [f"weights of a kind with a long name, number {place}" for place in range(12)]
    text = write(tmp_path, example(initializations=names, architectures=["resnet50"], fractions=[1.0]))
    page = Page(text)
    assert "The first 24 of 66; the table has all." in page.text
    assert all(name in page.text for name in names)
    assert "Intervals are in the CSV file." in page.text


def test_nothing_but_failures(tmp_path: Path, analysis: dict[str, Any]) -> None:
    runs = [{**run, "status": "missing", "value": None, "low": None, "high": None, "seconds": None, "command": None}
            for run in analysis["runs"]]  # fmt: skip
    bare = {**analysis, "runs": runs, "performance": [], "differences": [], "sentences": [], "localization": None}
    bare.update(subgroups=[], learning_curve=[], power=[], localization_differences=[])
    page = Page(write(tmp_path, bare)).text
    assert "No two initializations could be compared." in page
    assert "108 runs of 108 came to no result" in page
    assert "no reason noted" in page


def test_not_estimable_is_said_and_not_nan(tmp_path: Path, analysis: dict[str, Any]) -> None:
    def emptied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: emptied(item) for key, item in value.items()}
        if isinstance(value, list):
            return [emptied(item) for item in value]
        return math.nan if isinstance(value, float) else value

    parts = {key: emptied(analysis[key]) for key in ("subgroups", "localization", "localization_differences")}
    kept = {"fraction": 1.0, "pooled": None}
    parts["performance"] = [{**emptied(item), **kept} for item in analysis["performance"] if item["fraction"] == 1.0]
    parts["differences"] = [{**emptied(item), "fraction": 1.0} for item in analysis["differences"]][:9]
    text = write(tmp_path, {**analysis, **parts, "learning_curve": [], "power": []})
    assert "nan" not in re.sub(r"base64,[\w+/=]+", "", text).lower().split()
    assert "not estimable" in text


@pytest.mark.long
def test_a_probe_of_three_classes_has_no_scenarios_and_little_else(tmp_path: Path) -> None:
    analysis = with_localization(example(architectures=["densenet121"], patients=60))
    analysis["protocol"].update(scenarios=[], epochs=None, batch_size=None)
    analysis["task"].update(positive=None, classes=["a", "b", "c"])
    analysis["measure"] = "macro AUC"
    for item in analysis["learning_curve"]:
        item.update(mean=None, low=None, high=None)
    for item in analysis["localization"]:
        item.update(sanity=None, gallery=[], by_size=[], threshold=None, dice=None)
    for item in analysis["subgroups"]:
        item.update(values={}, difference=None, low=None, high=None, p=None, patients=None, reason="too small")
    for item in analysis["differences"]:
        item["test_sets"] = None
    for item in analysis["initializations"]:
        del item["origin"], item["input"]
    for item in analysis["performance"]:
        if item["pooled"]:
            item["pooled"].update(operating_point=None, decision_curve=None)
            item["pooled"]["auc"].update(auc=None, low=None, high=None, reason="one class alone")
            item["pooled"]["calibration"].update(bins=[], reasons={"slope": "perfect separation"})
            item["pooled"]["roc"].update(low=[None] * 3, high=[None] * 3)
    page = Page(write(tmp_path, analysis)).text
    assert "macro AUC" in page
    assert "Not estimable: too small." in page
    assert "Not estimable: one class alone." in page
    assert "Not estimable, slope: perfect separation." in page
    for title in ("Scenarios of training", "Decision curves", "Operating points"):
        assert title not in page


def test_several_tasks_share_a_page_and_a_family_of_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    p_values = []
    for seed, name in enumerate(("breast", "knee", "thyroid")):
        analysis = example(("random", "phantom"), ["densenet121"], 5, [1.0], patients=100, seed=seed)
        analysis["task"]["title"] = f"Task of {name}"
        p_values.append(analysis["differences"][0]["p"])
        (tmp_path / name).mkdir()
        (tmp_path / name / "analysis.json").write_text(json.dumps(analysis))
    report(str(tmp_path))
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    with (tmp_path / "csv" / "differences.csv").open(encoding="utf-8", newline="") as stream:
        found = [float(row["p_adjusted"]) for row in csv.DictReader(stream)]
    smallest, middle, largest = sorted(p_values)
    steps = list(itertools.accumulate([3 * smallest, 2 * middle, largest], max))  # Holm 1979
    assert sorted(found) == pytest.approx([min(1, step) for step in steps])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert all(f"Task of {name}" in page for name in ("breast", "knee", "thyroid"))
    assert "adjusted by Holm over all differences on this page" in page
    assert page.count("These are phantoms") == 1
    assert (tmp_path / "knee" / "report.html").is_file()


def test_a_report_may_go_elsewhere(tmp_path: Path, short: dict[str, Any]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "analysis.json").write_text(json.dumps({**short, "localization": None}))
    assert write_comparison_report(tmp_path / "in", tmp_path / "out") == tmp_path / "out" / "report.html"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["csv", "report.html", "report.json"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["analysis.json"]


def test_what_is_no_analysis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"holds no analysis\.json, nor do its folders; give the --out folder"):
        write_comparison_report(tmp_path)
    for content, message in (
        ("{", "is no JSON"),
        ("[]", "has format None; expected 1"),
        ('{"format": 2}', "has format 2; expected 1"),
        ('{"format": 1, "task": {}}', "lacks measure, protocol"),
    ):
        (tmp_path / "analysis.json").write_text(content)
        with pytest.raises(RecordsError, match=message):
            write_comparison_report(tmp_path)
