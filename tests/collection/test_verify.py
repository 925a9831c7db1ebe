"""What `verify` refuses in folders and archives, and that it passes every bundle of ours."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from released_bundle import ARCHIVE, BUNDLES, NAME

from radimagenet_monai.collection.bundle_files import BundleError, parse_sums
from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.collection.verification.logging_config import logging_problems
from radimagenet_monai.collection.verification.torch_file import torch_file_problems
from radimagenet_monai.collection.verification.verify import inspect_bundle, inspect_release, verify_bundle
from radimagenet_monai.commands import bundles as commands
from radimagenet_monai.engine.trained.model_file import save_model

pytestmark = pytest.mark.slow

every_bundle = pytest.mark.parametrize(
    "folder", sorted(path.parents[1] for path in BUNDLES.glob("*/configs/metadata.json")), ids=lambda path: path.name
)


@every_bundle
def test_every_bundle_of_ours_passes_as_folder_and_released(folder: Path, tmp_path: Path) -> None:
    assert verify_bundle(folder) == []
    (archive,) = release_bundles(folder.parent, tmp_path / "release", [folder.name], weights="leave")
    found = inspect_bundle(archive)
    assert found.problems == []
    assert any("as in the SHA256SUMS beside it" in fact for fact in found.facts)
    assert verify_bundle(tmp_path / "release" / "huggingface" / folder.name) == []


@pytest.mark.long  # MONAI takes seconds to start
def test_monais_own_checks_run_after_ours(bundle: Path) -> None:
    found = inspect_bundle(bundle, run_checks=True)
    assert found.problems == []
    assert any("verify_net_in_out" in fact for fact in found.facts)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"]["num_channels"] = 7
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (problem,) = inspect_bundle(bundle, run_checks=True).problems
    assert problem.startswith("verify_net_in_out: ")


class RunsCode:
    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.system, ("true",)


def _add(path: str, content: bytes = b"x") -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        (bundle / path).parent.mkdir(exist_ok=True, parents=True)
        (bundle / path).write_bytes(content)

    return change


def _edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        text = (bundle / path).read_text()
        assert old in text
        (bundle / path).write_text(text.replace(old, new, 1))

    return change


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "expression": (
        _edit("configs/train.json", '"val_interval": 1', "\"val_interval\": \"$__import__('os').system('true')\""),
        "configs/train.json: val_interval: the expression",
    ),
    "component": (
        _edit("configs/inference.json", '"Activationsd"', '"os.system"'),
        "configs/inference.json: postprocessing::transforms::0::_target_: the component 'os.system'",
    ),
    "code in metadata": (
        _edit("configs/metadata.json", '"supported_apps": {}', '"supported_apps": {"x": "$1 + exit()"}'),
        "calling 'exit' is not on the allow-list",
    ),
    "config of a new name": (
        _add("configs/further.json", b'{"x": "$exit()"}'),
        "configs/further.json: x: the expression",
    ),
    "YAML config": (_add("configs/train.yaml"), "configs/train.yaml is no part of a bundle"),
    "scripts folder": (_add("scripts/__init__.py"), "scripts is a folder that is no part of a bundle"),
    "module": (_add("torch.py"), "torch.py is code"),
    "module in models": (_add("models/model.py"), "models/model.py is code"),
    "pickle": (_add("models/model.pkl"), "models/model.pkl is a file that may run code"),
    "TorchScript": (_add("models/model.ts"), "models/model.ts is a TorchScript program"),
    "pickle for weights": (
        _add("models/model.pt", pickle.dumps(RunsCode())),
        "models/model.pt: it is not a torch file",
    ),
    "handler that opens files": (
        _edit("configs/logging.conf", "class=StreamHandler", "class=FileHandler"),
        "[handler_console] class='FileHandler'",
    ),
    "code in logging": (
        _edit("configs/logging.conf", "args=(sys.stdout,)", "args=(__import__('os').system('true'),)"),
        "[handler_console] args=",
    ),
    "formatter of 3.12": (
        _edit("configs/logging.conf", "datefmt", "defaults=exit()\ndatefmt"),
        "[formatter_line] defaults",
    ),
    "missing config": (
        lambda bundle: (bundle / "configs" / "evaluate.json").unlink(),
        "configs/evaluate.json is missing",
    ),
    "missing licence": (lambda bundle: (bundle / "LICENSE").unlink(), "LICENSE is missing"),
    "metadata without a task": (_edit("configs/metadata.json", '"task":', '"tusk":'), "'task' is a required property"),
    "another name": (_edit("configs/metadata.json", f'"name": "{NAME}"', '"name": "another"'), "the name is 'another'"),
    "bad version": (
        _edit("configs/metadata.json", '"version": "', '"version": "../0'),
        "is not a version such as",
    ),
    "no JSON": (_add("configs/train.json", b"{"), "configs/train.json: it is not the JSON of a config"),
    "no text": (_add("docs/README.md", b"\xff\xfe"), "docs/README.md: it is not UTF-8 text"),
    "facts of other weights": (_add("models/model.json", b'{"sha256": "0"}'), "models/model.json describes"),
    "link": (lambda bundle: (bundle / "docs" / "data.txt").symlink_to("/etc/passwd"), "docs/data.txt is a link"),
    "link in place of a file": (
        lambda bundle: ((bundle / "LICENSE").unlink(), (bundle / "LICENSE").symlink_to("/etc/passwd")),
        "LICENSE is a link",
    ),
    "link in place of a folder": (
        lambda bundle: (shutil.rmtree(bundle / "models"), (bundle / "models").symlink_to("/etc")),
        "models is a link",
    ),
    "pipe": (lambda bundle: os.mkfifo(bundle / "models" / "model.onnx"), "models/model.onnx is a link or special file"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_with_a_folder_is_found(tampering: str, bundle: Path) -> None:
    change, sentence = TAMPERINGS[tampering]
    change(bundle)
    assert any(sentence in problem for problem in verify_bundle(bundle)), verify_bundle(bundle)


def test_links_are_not_followed(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.pt").write_bytes(b"x")
    shutil.rmtree(bundle / "models")
    (bundle / "models").symlink_to(tmp_path / "elsewhere")
    assert verify_bundle(bundle) == ["models is a link or special file"]


def test_runs_leave_things_behind_that_are_named_and_not_judged(trained: Path) -> None:
    for path in ("output/checkpoint.pt", "output/store/a.npy", "models/.model.pt.x.part", ".cache/huggingface/x"):
        _add(path)(trained)
    found = inspect_bundle(trained)
    assert found.problems == []
    assert "not looked at: .cache, models/.model.pt.x.part, output" in found.facts


def test_every_changed_byte_of_a_released_bundle_is_found(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    for path in sorted(parse_sums((release / "huggingface" / NAME / "SHA256SUMS").read_text())):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(release / "huggingface" / NAME, folder)
        (folder / path).write_bytes((folder / path).read_bytes() + b" ")
        assert f"{path} differs from its SHA-256 in SHA256SUMS" in verify_bundle(folder)
    (folder / "configs" / "additional.json").write_text("{}")
    assert "configs/additional.json is not in SHA256SUMS" in verify_bundle(folder)
    (folder / "models" / ".gitkeep").unlink()
    assert "models/.gitkeep is in SHA256SUMS, but missing" in verify_bundle(folder)


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_an_archive_is_found(place: float, bit: int, release: Path, tmp_path_factory) -> None:
    data = bytearray((release / ARCHIVE).read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    folder = tmp_path_factory.mktemp("flipped")
    (folder / ARCHIVE).write_bytes(data)
    shutil.copy(release / "SHA256SUMS", folder)
    assert verify_bundle(folder / ARCHIVE)


def test_an_archive_without_its_list_of_hashes_is_refused(release: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(release / ARCHIVE) as old, zipfile.ZipFile(tmp_path / ARCHIVE, "w") as new:
        for info in old.infolist():
            if not info.filename.endswith("SHA256SUMS"):
                new.writestr(info, old.read(info))
    assert verify_bundle(tmp_path / ARCHIVE) == ["SHA256SUMS is missing, which a released bundle has"]


@pytest.mark.parametrize(
    ("sums", "sentence"),
    [
        (f"{'0' * 64}  {ARCHIVE}\n", f"the SHA-256 of {ARCHIVE} differs from the SHA256SUMS beside it"),
        (f"{'0' * 64}  another.zip\n", f"{ARCHIVE} is not in the SHA256SUMS beside it"),
        ("nonsense\n", "SHA256SUMS: 'nonsense' is not a hash and a path of its own, as of sha256sum"),
        (f"{'0' * 64}  a\n{'1' * 64}  a\n", f"SHA256SUMS: '{'1' * 64} a' is not a hash and a path of its own"),
    ],
)
def test_hashes_beside_an_archive_count(sums: str, sentence: str, release: Path, tmp_path: Path) -> None:
    shutil.copy(release / ARCHIVE, tmp_path)
    assert verify_bundle(tmp_path / ARCHIVE) == []
    (tmp_path / "SHA256SUMS").write_text(sums)
    (problem,) = verify_bundle(tmp_path / ARCHIVE)
    assert problem.startswith(sentence)


def test_an_archive_of_another_name_is_refused(release: Path, tmp_path: Path) -> None:
    shutil.copy(release / ARCHIVE, tmp_path / f"{NAME}_v9.9.9.zip")
    (problem,) = verify_bundle(tmp_path / f"{NAME}_v9.9.9.zip")
    assert f"belongs into '{ARCHIVE}'" in problem


def _member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # the constructor would clean it
    info.external_attr = mode << 16
    return info


def _zip(path: Path, *members: tuple[zipfile.ZipInfo, bytes], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for info, content in members:
            archive.writestr(info, content, compress_type=options.get("compression"))
    return path


ODD_MEMBERS: dict[str, tuple[str, int, str]] = {
    "up": (f"{NAME}/../evil.txt", stat.S_IFREG, "leaves the folder"),
    "up at once": ("../evil.txt", stat.S_IFREG, "leaves the folder"),
    "up with backslashes": (f"{NAME}\\..\\evil.txt", stat.S_IFREG, "leaves the folder"),
    "absolute": ("/tmp/evil.txt", stat.S_IFREG, "absolute path"),
    "drive": ("C:/evil.txt", stat.S_IFREG, "absolute path"),
    "symbolic link": (f"{NAME}/link", stat.S_IFLNK | 0o777, "is a symbolic link"),
    "device": (f"{NAME}/device", stat.S_IFBLK | 0o644, "is a special file"),
    "pipe": (f"{NAME}/pipe", stat.S_IFIFO | 0o644, "is a special file"),
    "dot": (f"{NAME}/./evil.txt", stat.S_IFREG, "not plain"),
    "empty part": (f"{NAME}//evil.txt", stat.S_IFREG, "not plain"),
    "not ASCII": (f"{NAME}/\N{CYRILLIC SMALL LETTER A}.txt", stat.S_IFREG, "not plain"),
    "stream": (f"{NAME}/a:b", stat.S_IFREG, "not plain"),
    "device name": (f"{NAME}/CON.txt", stat.S_IFREG, "means something else"),
    "final dot": (f"{NAME}/evil.", stat.S_IFREG, "means something else"),
    "other folder": ("other/evil.txt", stat.S_IFREG, "more than one top folder"),
    "no folder": ("evil.txt", stat.S_IFREG, "outside of a top folder"),
    "same in upper case": (f"{NAME}/license", stat.S_IFREG, "differs from another in case only"),
    "twice": (f"{NAME}/LICENSE", stat.S_IFREG, "stands twice"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ODD_MEMBERS)
def test_odd_members_of_an_archive_are_refused_and_not_extracted(kind: str, tmp_path: Path) -> None:
    name, mode, reason = ODD_MEMBERS[kind]
    path = _zip(tmp_path / ARCHIVE, (_member(f"{NAME}/LICENSE"), b"x"), (_member(name, mode), b"/etc/passwd"))
    assert any(reason in problem for problem in verify_bundle(path)), verify_bundle(path)
    assert [found.name for found in tmp_path.iterdir()] == [ARCHIVE]
    assert not Path("/tmp/evil.txt").exists()


def test_bombs_encryption_and_damage_are_refused(release: Path, tmp_path: Path) -> None:
    path = tmp_path / ARCHIVE
    deflated = {"compression": zipfile.ZIP_DEFLATED}
    _zip(path, (_member(f"{NAME}/LICENSE"), bytes(8 * 2**20)), **deflated)
    assert "unpacks to 8,388,608 bytes out of" in verify_bundle(path)[0]
    _zip(path, (_member(f"{NAME}/LICENSE"), b"x"), compression=zipfile.ZIP_LZMA)
    assert "compressed in a way that is not expected" in verify_bundle(path)[0]
    _zip(path, *[(_member(f"{NAME}/{number}"), b"") for number in range(1001)])
    assert "1001 members" in verify_bundle(path)[0]
    with zipfile.ZipFile(path, "w"):
        pass
    assert verify_bundle(path) == ["it is not a zip archive from its first byte on"]

    data = bytearray((release / ARCHIVE).read_bytes())
    first = data.index(b"PK\x01\x02")
    data[first + 8] |= 1  # the flag of encryption, in the directory at the end
    path.write_bytes(data)
    assert "is encrypted" in verify_bundle(path)[0]

    data = bytearray((release / ARCHIVE).read_bytes())
    # The stated size, in the directory at the end: far more than there is.
    data[first + 20 : first + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(data)
    assert verify_bundle(path)

    for content in (
        b"",
        b"PK\x03\x04",
        (release / ARCHIVE).read_bytes()[:-30],
        b"#!" + (release / ARCHIVE).read_bytes(),
    ):
        path.write_bytes(content)
        assert verify_bundle(path)


def test_weights_are_read_without_unpickling(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).half().state_dict(), path)
    assert torch_file_problems(path) == []
    tensors = path.read_bytes()
    torch.save({"weight": torch.zeros(2), "code": RunsCode()}, path)
    assert torch_file_problems(path) == [f"it names '{os.system.__module__}.system', which could run code"]
    code = path.read_bytes()
    torch.save(torch.nn.Linear(1, 1), path)  # a module and no tensors
    assert any("torch.nn.modules.linear.Linear" in problem for problem in torch_file_problems(path))
    torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    assert "a bare pickle may run code" in torch_file_problems(path)[0]
    torch.jit.script(torch.nn.Linear(1, 1)).save(path)
    assert "TorchScript" in torch_file_problems(path)[0]
    # torch goes by the first bytes, zipfile by the last.
    path.write_bytes(pickle.dumps(RunsCode()) + tensors)
    assert "a bare pickle may run code" in torch_file_problems(path)[0]
    # Two pickles, of which torch might take the other.
    with zipfile.ZipFile(path, "w") as both:
        for number, data in enumerate((tensors, code)):
            (tmp_path / "part.zip").write_bytes(data)
            with zipfile.ZipFile(tmp_path / "part.zip") as part:
                name = next(name for name in part.namelist() if name.endswith("data.pkl"))
                both.writestr(f"model{number}/data.pkl", part.read(name))
    assert torch_file_problems(path) == ["it does not hold one data.pkl in one folder"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_weights_are_problems_and_no_errors(data: st.DataObject, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "model.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    content[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path.write_bytes(content)
    assert isinstance(torch_file_problems(path), list)


@given(st.text())
def test_any_text_as_logging_configuration(text: str) -> None:
    assert isinstance(logging_problems(text), list)


def test_a_default_section_cannot_bring_in_a_class() -> None:
    assert logging_problems("[DEFAULT]\nclass=x\n[handler_a]\nlevel=INFO\n")


def test_what_is_printed_cannot_move_the_cursor(bundle: Path) -> None:
    _add("docs/\x1b[2Jfine.txt")(bundle)
    assert all(problem.isprintable() for problem in verify_bundle(bundle))


def test_what_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist, expected the folder or the zip archive"):
        verify_bundle(tmp_path / "none")


def test_command_prints_problems_and_exits_with_1(
    bundle: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.verify(str(bundle))
    commands.verify(str(release))
    output = capsys.readouterr().out
    assert f"{bundle}: ok" in output
    assert f"\n{ARCHIVE}: ok" in output
    assert f"\nhuggingface/{NAME}: ok" in output
    _add("evil.py")(bundle)
    with pytest.raises(SystemExit) as caught:
        commands.verify(str(bundle))
    assert caught.value.code == 1
    assert "1 dangerous\n  dangerous: evil.py is code" in capsys.readouterr().out


def test_a_release_is_looked_at_as_a_whole(release: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(release, tmp_path / "release"))
    (copy / "model_info.json").write_text("{}")
    (copy / "SHA256SUMS").write_text((release / "SHA256SUMS").read_text() + f"{'0' * 64}  lost_v1.0.0.zip\n")
    (copy / "huggingface" / NAME / "configs" / "train.json").write_text("{}")
    assert {name: found.problems for name, found in inspect_release(copy).items()} == {
        ARCHIVE: [f"model_info.json does not state the SHA-1 of {ARCHIVE}"],
        "lost_v1.0.0.zip": ["lost_v1.0.0.zip is in SHA256SUMS, but missing"],
        f"huggingface/{NAME}": ["configs/train.json differs from its SHA-256 in SHA256SUMS"],
    }


def test_hashes_are_those_of_sha256sum(release: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    for folder in (release, release / "huggingface" / NAME):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_what_cannot_be_checked_is_said(bundle: Path) -> None:
    _add("models/model.onnx")(bundle)
    assert any(fact.startswith("not looked into: models/model.onnx") for fact in inspect_bundle(bundle).facts)


def test_model_facts_of_another_model_are_found(trained: Path) -> None:
    assert verify_bundle(trained) == []
    facts = (trained / "models" / "model.json").read_text()
    save_model(trained / "models" / "model.pt", torch.nn.Linear(3, 1), {})
    (trained / "models" / "model.json").write_text(facts)
    assert verify_bundle(trained) == ["models/model.json describes another models/model.pt (SHA-256 differs)"]
