"""``radimagenet``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from radimagenet_monai.commands import bundles as bundle_commands
from radimagenet_monai.commands import compare as experiment_commands
from radimagenet_monai.commands import pack as training_commands
from radimagenet_monai.commands import report as report_commands
from radimagenet_monai.commands import weights as weights_commands
from radimagenet_monai.core import command_line
from radimagenet_monai.core.command_line import Options, Parameter
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError, UsageError
from radimagenet_monai.core.flags import Count, Whole, with_known_flags
from radimagenet_monai.core.version import __version__

DEFAULT_BUNDLES = "bundles"
_MOST_IMAGES_AUDITED = 20_000  # about ten minutes on two cores

_MOST_COUNTS = 12  # classes that are listed one by one


def info(json: bool = False, task: str | None = None) -> None:
    """Show what this version offers: tasks, architectures, weights, datasets.

    Args:
        json: print one JSON object with the keys tasks, architectures, weights, datasets.
        task: show everything about this task only.
    """
    catalogue = _catalogue(task)
    print(_to_json(catalogue) if json else _to_text(catalogue, detailed=task is not None))


def prepare(
    name: str,
    root: str,
    out: str,
    seed: Whole = 0,
    audit: Literal["auto", "true", "false"] = "auto",
    **options: Any,
) -> None:
    """Turn a dataset, as published by its authors, into records.csv with patient-disjoint splits and folds; audit it.

    What the audit finds is printed and shown in audit.html; the exit status stays 0, since published datasets have
    known flaws. "radimagenet audit" has an exit status.

    Args:
        name: the dataset: busi, ddti, mrnet, rsna_pneumonia, rsna_ich, cc_ccii, covid19_ct, radimagenet; csv or folder
            for your own data.
        root: folder of the dataset.
        out: folder that receives records.csv, summary.json, audit.html and audit.json.
        seed: random seed of the split.
        audit: auto reads the images of up to 20 000; true reads any number; false leaves the audit out.
        options: options of the dataset, see docs/reference/datasets; an unknown one is refused, listing the valid ones.
    """
    from radimagenet_monai.datasets.registry import prepare as write_prepared

    table, facts = write_prepared(str(name), str(root), str(out), seed, **options)
    exams = f", {facts['exams']} exams" if "exams" in facts else ""
    print(f"{facts['images']} images of {facts['patients'] or 'unknown'} patients{exams}: {_counts(facts['labels'])}")
    print(f"split: {_counts(facts['splits'])}")
    if facts["differences"]:
        print(f"differs from the published counts: {_counts(facts['differences'])}")
    for note in facts["notes"][:10]:
        print(f"note: {note}")
    if len(facts["notes"]) > 10:
        print(f"note: {len(facts['notes']) - 10} more in {Path(out) / 'summary.json'}")
    _audit_prepared(table, facts["images"], audit)
    print(table)


def _audit_prepared(table: Path, images: int, wanted: Any) -> None:
    from radimagenet_monai.core.atomic import atomic_write_text
    from radimagenet_monai.core.flags import parse_flag
    from radimagenet_monai.datasets.registry import SUMMARY_FILE
    from radimagenet_monai.intensity.checks.plausibility import in_words
    from radimagenet_monai.report.audit_run import PAGE_FILE, run_audit
    from radimagenet_monai.report.sections.audit import VERDICTS, found_in_words

    automatic = wanted == "auto"
    if not automatic and not parse_flag(wanted):
        return
    pixels = not automatic or images <= _MOST_IMAGES_AUDITED
    result = run_audit(table, pixels=pixels)
    if pixels:
        summary = table.parent / SUMMARY_FILE
        facts = json.loads(summary.read_text(encoding="utf-8")) | {"questions": result.questions}
        atomic_write_text(summary, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        for sentence in in_words(result.questions, images):
            print(f"note: {sentence}")
    print(f"audit: {VERDICTS[result.verdict]}: {found_in_words(result)}; see {table.parent / PAGE_FILE}")
    if not pixels:
        print(f"audit: the table only, since there are {images} images; 'radimagenet audit {table}' reads them too")


def phantom(name: str, out: str, patients: Count = 200, seed: Whole = 0, workers: Count = 2, **options: Any) -> None:
    """Write synthetic images in the on-disk format of a dataset. They are phantoms, not patients.

    Args:
        name: the dataset to imitate, e.g. busi.
        out: folder to write to.
        patients: number of patients; depending on the dataset, each has one or several images.
        seed: random seed of the images.
        workers: number of drawing processes.
        options: options of the dataset, such as --size in pixels; an unknown one is refused with a list of valid ones.
    """
    from radimagenet_monai.phantoms import write_phantom

    print(write_phantom(str(name), str(out), patients=patients, seed=seed, workers=workers, **options))


def render(*names: str, out: str = DEFAULT_BUNDLES) -> None:
    """Write bundles from the task catalogue.

    Args:
        names: bundles to write; by default all released ones.
        out: output folder; each bundle gets a folder in it.
    """
    from radimagenet_monai.collection.render import write_bundles

    for folder in write_bundles(str(out), [str(name) for name in names]):
        print(folder)


def check(path: str = DEFAULT_BUNDLES) -> None:
    """Check that bundles are up to date, follow MONAI's metadata schema and have all properties. Exit status 1 if not.

    Args:
        path: folder of one bundle, or folder that contains several.
    """
    from radimagenet_monai.collection.check import check_bundles

    failed = False
    for name, problems in check_bundles(str(path)).items():
        print(f"{name}: {'ok' if not problems else f'{len(problems)} problems'}")
        for problem in problems:
            failed = True
            print(f"  {problem}")
    if failed:
        raise SystemExit(1)


def demo(
    out: str = "demo_output", images: Count = 480, epochs: Count = 14, image_size: Count = 96, seed: Whole = 0
) -> None:
    """Run the whole workflow on phantoms: images, records, training, evaluation, inference, report.

    Args:
        out: folder that receives everything; removed first if it is an earlier demo.
        images: number of phantom images.
        epochs: number of training epochs.
        image_size: rows and columns of the network's input in pixels.
        seed: random seed of phantoms and training.
    """
    from radimagenet_monai.commands.demo import run_demo

    print(run_demo(str(out), images=images, epochs=epochs, image_size=image_size, seed=seed))


def rehearse(*names: str, out: str = "rehearsal_output", seed: Whole = 0) -> None:
    """Train and test every bundle on its phantom and print one table. Exit status 1 if one has not learned enough.

    Takes about an hour on two cores. The same command resumes a stopped rehearsal.

    Args:
        names: bundles to rehearse; by default all.
        out: output folder for phantoms, trained bundles and rehearsal.md.
        seed: random seed of phantoms, splits and training.
    """
    from radimagenet_monai.commands.rehearsal import rehearse as run_rehearsal

    path, learnt = run_rehearsal(str(out), [str(name) for name in names], seed)
    print(path)
    if not learnt:
        raise SystemExit(1)


def miniature(out: str = "miniature_output", seed: Whole = 0) -> None:
    """Run the paper's experiment in miniature, on phantoms: pack, pretrain on 165 classes, compare with random weights.

    Takes about half an hour on two cores. The same command resumes a stopped run.

    Args:
        out: folder that receives everything; the figures are in miniature.md, the report in comparisons/report.html.
        seed: random seed of phantoms, splits, training and comparisons.
    """
    from radimagenet_monai.commands.miniature import Recipe, run_miniature

    print(run_miniature(str(out), Recipe(seed=seed)))


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a script that completes commands and flags in your shell.

    Args:
        shell: bash, zsh or fish. For bash: source <(radimagenet completion bash)
    """
    from radimagenet_monai.commands.completion import completion_script

    print(completion_script(COMMANDS, "radimagenet", shell), end="")


def _reader_options(given: Mapping[str, Any]) -> Options:
    from radimagenet_monai.datasets.registry import get_reader

    name = str(given["name"])
    read = get_reader(name).read
    return Options(f"dataset '{name}'", tuple(command_line.parameters_of(read, leave_out=("root", "seed"))))


def _phantom_options(given: Mapping[str, Any]) -> Options:
    from radimagenet_monai.phantoms import phantom_writer

    name = str(given["name"])
    own = ("out", "patients", "seed", "workers")
    return Options(f"phantom '{name}'", tuple(command_line.parameters_of(phantom_writer(name), leave_out=own)))


def _import_options(given: Mapping[str, Any]) -> Options:
    return Options("radimagenet weights import", (Parameter("as", str, None, "name of the weights"),))


def _explain_options(given: Mapping[str, Any]) -> Options:
    config = Path(str(given["bundle"])) / "configs" / "inference.json"
    if not config.is_file():
        raise ConfigurationError(f"'{given['bundle']}' has no configs/inference.json; give the folder of a bundle")
    known = {
        key: value
        for key, value in json.loads(config.read_text(encoding="utf-8")).items()
        if key != "bundle_root" and not isinstance(value, list | dict)
    }
    simple = (bool, int, float, str)
    return Options(
        "radimagenet explain",
        tuple(
            Parameter(name, type(value) if isinstance(value, simple) and not _is_expression(value) else Any, value)
            for name, value in known.items()
        ),
    )


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$")


_OPTIONS = {
    "prepare": _reader_options,
    "phantom": _phantom_options,
    "weights import": _import_options,
    "explain": _explain_options,
}

_FUNCTIONS: dict[str, Any] = {
    "info": info,
    "prepare": prepare,
    "audit": report_commands.audit,
    "pack": training_commands.pack,
    "phantom": phantom,
    "weights": {
        "list": weights_commands.list_,
        "import": weights_commands.import_,
        "verify": weights_commands.verify,
        "show": weights_commands.show,
        "where": weights_commands.where,
        "ablate": weights_commands.ablate,
    },
    "bundles": {
        "render": render,
        "check": check,
        "release": bundle_commands.release,
        "verify": bundle_commands.verify,
        "fetch": bundle_commands.fetch,
        "rehearse": rehearse,
    },
    "compare": experiment_commands.compare,
    "explain": experiment_commands.explain,
    "report": report_commands.report,
    "demo": demo,
    "miniature": miniature,
    "completion": completion,
}


def _checked(functions: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The tree of commands, each wrapped by `command_line.checked`."""
    return {
        name: _checked(item, f"{path}{name} ")
        if isinstance(item, dict)
        else command_line.checked(item, f"radimagenet {path}{name}", _OPTIONS.get(f"{path}{name}"))
        for name, item in functions.items()
    }


COMMANDS: dict[str, Any] = _checked(_FUNCTIONS)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. An error that the user can fix is one line on standard error.

    Exit status 2 for a misspelt flag or a value of the wrong type, before anything is done; 1 for any other error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may contain bytes that are not UTF-8
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["version"]):
        print(__version__)
        return
    try:
        command_line.run(COMMANDS, arguments, "radimagenet")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_status) from None
    except (RadImageNetError, OSError) as error:
        from radimagenet_monai.engine.start.error_lines import user_error_line

        line = user_error_line(error) or f"error: {error}"
        known = command_line.flags_of(COMMANDS, arguments, "radimagenet")
        print(line if known is None else with_known_flags(line, known), file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def _catalogue(task: str | None) -> dict[str, Any]:
    from radimagenet_monai.catalog.tasks import DATASETS, TASKS, get_task
    from radimagenet_monai.encoders.architectures import ARCHITECTURES
    from radimagenet_monai.weights.catalogue import CATALOGUE

    tasks = [get_task(task)] if task else list(TASKS.values())
    datasets = [DATASETS[tasks[0].dataset]] if task else list(DATASETS.values())
    return {
        "version": __version__,
        "tasks": {item.name: _plain(item) for item in tasks},
        "architectures": {item.name: _plain(item) for item in ARCHITECTURES.values()},
        "weights": {item.name: item.to_dict() for item in CATALOGUE.values()},
        "datasets": {item.name: _plain(item) for item in datasets},
    }


def _plain(item: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(item)


def _to_json(catalogue: dict[str, Any]) -> str:
    return json.dumps(catalogue, indent=2, ensure_ascii=False)


def _to_text(catalogue: dict[str, Any], detailed: bool) -> str:
    if detailed:
        parts = {"task": next(iter(catalogue["tasks"].values())), "dataset": next(iter(catalogue["datasets"].values()))}
        return "\n\n".join(
            "\n".join([name, *(f"  {key}: {_value(value)}" for key, value in part.items())])
            for name, part in parts.items()
        )
    lines = [f"RadImageNet on MONAI {catalogue['version']}", "", "tasks (* bundle in this version)"]
    for name, task in catalogue["tasks"].items():
        lines.append(f"  {'*' if task['released'] else ' '} {name:44} {task['title']}")
    lines += ["", "architectures"]
    for name, item in catalogue["architectures"].items():
        lines.append(f"    {name:20} {item['num_features']} features, {item['num_parameters']:,} parameters")
    lines += ["", "weights"]
    for name, item in catalogue["weights"].items():
        lines.append(f"    {name:28} {item['origin']}")
    lines += ["", "datasets (* has a reader)"]
    for name, item in catalogue["datasets"].items():
        lines.append(f"  {'*' if item['reader'] else ' '} {name:20} {item['title']}")
    return "\n".join([*lines, "", "more: radimagenet info --task NAME, radimagenet info --json"])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_value(item) for item in value[:6]) + (f"; ... {len(value)} in all" if len(value) > 6 else "")
    return str(value)


def _counts(counts: dict[str, int]) -> str:
    if len(counts) > _MOST_COUNTS:
        return f"{len(counts)} classes of {min(counts.values())} to {max(counts.values())}"
    return ", ".join(f"{name} {count}" for name, count in counts.items())
