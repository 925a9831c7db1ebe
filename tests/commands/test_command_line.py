"""The command line refuses what it does not know before anything runs, and what is written about it is true."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from all_commands import ALL

from radimagenet_monai.cli import COMMANDS, main
from radimagenet_monai.core.command_line import checked, convert, parameters_of, run
from radimagenet_monai.core.errors import UsageError
from radimagenet_monai.core.flags import Count, whole, with_known_flags

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

# What a command needs before its further flags are known.
VALUES = {
    "prepare": {"name": "busi"},
    "phantom": {"name": "busi"},
    "completion": {"shell": "bash"},
    "explain": {"bundle": str(ROOT / "bundles" / "breast_mass_us_classification")},
    "predict": {"bundle": str(ROOT / "bundles" / "breast_mass_us_classification")},
    "quantize": {"bundle": str(ROOT / "bundles" / "breast_mass_us_classification")},
}


def refused(capsys: pytest.CaptureFixture, arguments: Sequence[str]) -> str:
    """The one error line of a command that must end with status 2."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    captured = capsys.readouterr()
    assert caught.value.code == 2, captured.err
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def needed(name: str) -> list[str]:
    """A command with all that it needs, typed correctly."""
    arguments = name.split()
    for parameter in parameters_of(ALL[name].command):
        if parameter.default is inspect.Parameter.empty:
            arguments += [f"--{parameter.name}", VALUES.get(name, {}).get(parameter.name, "absent")]
    return arguments


@pytest.fixture
def nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RADIMAGENET_HOME", str(tmp_path / "home"))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ALL)
def test_every_command_refuses_a_misspelt_flag(name: str, nothing_written: Path, capsys: pytest.CaptureFixture) -> None:
    flags = [item.name for item in parameters_of(ALL[name].command)]
    for flag in flags:
        slip = flag[:-2] + flag[-1] + flag[-2] if len(flag) > 3 and flag[-1] != flag[-2] else f"{flag}x"
        line = refused(capsys, [*needed(name), f"--{slip}", "value"])
        assert f"has no --{slip}" in line
        assert f"did you mean --{flag}?" in line or len(flag) < 4
    assert "no --wieghts" in refused(capsys, [*needed(name), "--wieghts", "radimagenet_keras"])
    assert "no --wieghts" in refused(capsys, [*needed(name), "--wieghts=radimagenet_keras"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("phantom busi --out o --patients abc", "--patients abc was given: expected a whole number"),
        ("phantom busi --out o --patients 0", "--patients 0 was given: expected a whole number, 1 or more"),
        ("phantom busi --out o --patients 3.5", "expected a whole number"),
        ("phantom busi --out o --size big", "--size big was given: expected a whole number"),
        ("phantom busi --out o --image_size 3", "phantom 'busi' has no --image_size: did you mean --size?"),
        ("prepare busi --root . --out o --folds three", "--folds three was given: expected a whole number"),
        ("prepare busi --root . --out o --slices all", "dataset 'busi' has no --slices"),
        ("prepare mrnet --root . --out o --target acll", "expected one of acl, meniscus, abnormal; did you mean acl?"),
        ("prepare csv --root . --out o --patient_colum x", "did you mean --patient_column?"),
        ("prepare busi --root . --out o --audit perhaps", "expected one of auto, true, false"),
        ("prepare busi --root .", "radimagenet prepare needs --out (folder that receives"),
        ("prepare busi . o 3 auto true too", "radimagenet prepare does not take 'too'"),
        ("prepare busi . --root . --out o", "--root was given twice"),
        ("audit records.csv --workers abc", "--workers abc was given"),
        ("audit records.csv --pixels maybe", "--pixels maybe was given: expected true or false"),
        ("bundles fetch URL --sha265 00", "did you mean --sha256?"),
        ("bundles release --out o --wieghts leave", "did you mean --weights?"),
        ("bundles release --out o --weights leve", "expected one of auto, include, leave; did you mean leave?"),
        ("bundles relase --out o", "radimagenet bundles has no command 'relase': did you mean release?"),
        ("bundle check", "radimagenet has no command 'bundle': did you mean bundles?"),
        ("compare --task t --records r --weights a,b --out o --seedd 1", "did you mean --seed?"),
        ("compare --task t --records r --weights a,b --out o --seed 1 --seed 2", "--seed was given twice"),
        ("compare --task t --records r --weights a,b --out o --learning_rates fast", "--learning_rates fast was given"),
        ("compare --task t --records r --weights a,b --out o --protocol quik", "did you mean quick?"),
        ("pack records.csv --out o --size", "--size True was given"),
        ("pack records.csv --out", "--out True was given: a value is missing"),
        ("weights import file --sa name", "radimagenet weights import has no --sa"),
        ("demo --epochs many", "--epochs many was given"),
        ("--seed 1", "'--seed' was given to radimagenet, which is followed by a command"),
    ],
)
def test_what_is_wrong_is_named(
    arguments: str, message: str, nothing_written: Path, capsys: pytest.CaptureFixture
) -> None:
    assert message in refused(capsys, arguments.split())


def test_a_flag_of_a_bundle_is_checked_by_explain(nothing_written: Path, capsys: pytest.CaptureFixture) -> None:
    assert "did you mean --allow_modality_mismatch?" in refused(
        capsys, [*needed("explain"), "--alow_modality_mismatch", "true"]
    )
    assert "expected true or false" in refused(capsys, [*needed("explain"), "--allow_modality_mismatch", "maybe"])


def test_values_arrive_with_their_types() -> None:
    seen: list[Any] = []

    def command(name: str, size: Count | None = None, rates: Sequence[float] = (), deep: bool = True) -> None:
        seen.append((name, size, rates, deep))

    tree = {"go": checked(command, "go")}
    run(tree, ["go", "0012e5", "--size", "7", "--rates", "1e-3,2", "--deep", "False"], "x")
    run(tree, ["go", "1,2", "--size", "None", "--rates", "[1,2]", "--nodeep"], "x")
    run(tree, ["go", "-n", "a", "-s=3"], "x")
    assert seen == [
        ("0012e5", 7, [1e-3, 2.0], False),  # Fire alone would read the first as 1200000.0
        ("1,2", None, [1.0, 2.0], False),
        ("a", 3, (), True),
    ]


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("7", int, 7),
        ("10_000", int, 10000),
        ("7", float, 7.0),
        ("yes", bool, True),
        ("none", int | None, None),
        ("none", str | None, "none"),
        ("72,96", int | tuple[int, int], [72, 96]),
        ("a, b", Sequence[str], ["a", "b"]),
        ("['a','b']", str | Sequence[str], ["a", "b"]),
        ("a", str | Sequence[str], "a"),
        ("ACL", Literal["acl", "meniscus"], "acl"),
        ("3", Annotated[int, whole(2)], 3),
    ],
)
def test_conversion(text: str, hint: Any, value: Any) -> None:
    assert convert(text, hint) == value


def test_help_goes_to_standard_output_without_a_pager(tmp_path: Path) -> None:
    """In a process of its own, with a pager that would be noticed."""
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged\n")
    pager.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "radimagenet_monai", "prepare", "csv", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "PAGER": str(pager), "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""
    assert "paged" not in done.stdout
    for part in ("usage: radimagenet prepare", "--root", "--patient_column", "auto|true|false", "default 0"):
        assert part in done.stdout


@pytest.mark.parametrize(
    "words", [["help"], [], ["--help"], ["-h"], ["help", "bundles"], ["bundles"], ["bundles", "--help"]]
)
def test_help_of_a_group_names_its_commands(words: list[str], capsys: pytest.CaptureFixture) -> None:
    main(words)
    out = capsys.readouterr().out
    assert "fetch" in out
    assert "usage: radimagenet" in out


@pytest.mark.parametrize("name", ALL)
def test_help_of_every_command_names_every_flag(name: str, capsys: pytest.CaptureFixture) -> None:
    main([*name.split(), "--help"])
    out = capsys.readouterr().out
    for parameter in parameters_of(ALL[name].command):
        assert f"--{parameter.name}" in out
        assert parameter.about, f"the docstring of {name} does not say what {parameter.name} is"
    main(["help", *name.split()])
    assert capsys.readouterr().out == out


# What is written about the command line -------------------------------------------------------------------------


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def written_commands(text: str) -> Iterator[str]:
    """Commands in documents and in strings of the program, up to the quote or the end of the line that closes them."""
    for found in re.finditer(r"radimagenet ((?:[a-z_]+)(?: [^`\n\"\\;]+)?)", text):
        yield found.group(1)


def unknown_flags(command: str) -> list[str]:
    """Flags in a command that it does not have; a command that is none has no flags to look at."""
    node: Any = COMMANDS
    words = command.split()
    while words and isinstance(node, Mapping):
        if words[0] not in node:
            return []
        node = node[words.pop(0)]
    if isinstance(node, Mapping):
        return []
    known = {item.name for item in parameters_of(node.command)} | {"help"}
    if node.options is not None:
        given = dict(VALUES.get(node.full_name.removeprefix("radimagenet "), {}))
        if words and not words[0].startswith("-") and "name" in given and re.fullmatch(r"[a-z0-9_]+", words[0]):
            given["name"] = words[0]
        known |= {item.name for item in node.options(given).parameters}
    return [flag for flag in re.findall(r"--([a-z_0-9]+)", " ".join(words)) if flag not in known]


def test_the_documents_name_flags_that_their_commands_have() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: radimagenet {command}: --{flag}"
        for path in tracked("*.md", "docs/**/*.md", "bundles/*/docs/README.md")
        # The commands on extending are for plug-ins, with which test_plugins.py runs them.
        if path.name != "CHANGELOG.md" and path.parent.name != "extend"
        for command in written_commands(path.read_text(encoding="utf-8"))
        for flag in unknown_flags(command)
    ]
    assert wrong == []


def test_errors_name_flags_that_their_commands_have() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: radimagenet {command}: --{flag}"
        for path in tracked("radimagenet_monai/**/*.py", "radimagenet_monai/*.py")
        for command in written_commands(path.read_text(encoding="utf-8"))
        for flag in unknown_flags(command.split("'")[0])
    ]
    assert wrong == []


def test_a_wrong_flag_in_a_document_would_be_found() -> None:
    text = "`radimagenet phantom busi --out D --images 3`, 'radimagenet pack R --sise 3', `radimagenet bundles check`"
    assert [unknown_flags(command.split("'")[0]) for command in written_commands(text)] == [["images"], ["sise"], []]


@pytest.mark.parametrize(
    ("message", "known", "shown"),
    [
        (
            "disk full; free some space, or give another --output_dir",
            {"out"},
            "disk full; free some space, or give another --out",
        ),
        ("disk full; free some space, or give another --output_dir", {"file"}, "disk full; free some space"),
        ("'x' is a file; give another --output_dir", {"output_dir"}, "'x' is a file; give another --output_dir"),
        ("a CT; give US images, or go on with --allow_modality_mismatch true", {"size"}, "a CT; give US images"),
        (
            "NaN; start with a lower --learning_rate, a longer --warmup_epochs, --clip 1 or --amp false",
            {"learning_rate", "amp"},
            "NaN; start with a lower --learning_rate or --amp false",
        ),
        (
            "not in the store; import with 'radimagenet weights import FILE --as NAME', or train with --weights random",
            {"task"},
            "not in the store; import with 'radimagenet weights import FILE --as NAME'",
        ),
        ("40 coronal ones (--plane axial reslices); go on", set(), "40 coronal ones; go on"),
    ],
)
def test_errors_hint_at_flags_of_the_command_at_hand_alone(message: str, known: set[str], shown: str) -> None:
    assert with_known_flags(message, known) == shown


def test_the_hint_of_an_error_fits_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "records.csv")

    monkeypatch.setattr("radimagenet_monai.datasets.registry.prepare", full)
    with pytest.raises(SystemExit) as caught:
        main(["prepare", "busi", "--root", str(tmp_path), "--out", str(tmp_path / "o")])
    assert caught.value.code == 1
    assert capsys.readouterr().err.endswith("No space left on device; free some space, or give another --out\n")


def test_a_command_without_further_flags_says_so() -> None:
    def command(name: str) -> None:
        """Do nothing."""

    with pytest.raises(UsageError, match=r"go has no --size: known: --name. Nothing was run"):
        run({"go": checked(command, "go")}, ["go", "a", "--size", "3"], "x")


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if command.options is not None])
def test_help_says_what_the_further_flags_are(name: str, capsys: pytest.CaptureFixture) -> None:
    main([*name.split(), "--help"])
    assert re.search(r"further flags: +\w|further flags: +--\w", capsys.readouterr().out)
