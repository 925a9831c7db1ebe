"""Bundles that try to run or write something: small changes to a bundle of ours, each with what it plants.

``MARKER`` in a text stands for the path of a file that appears when a payload runs.
"""

from __future__ import annotations

import io
import json
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from released_bundle import NAME

Change = Callable[[Path, Path], object]
"""Takes the folder of a bundle and the path of the marker."""

INFERENCE = "configs/inference.json"
TRAIN = "configs/train.json"


def with_marker(value: Any, marker: Path) -> Any:
    return json.loads(json.dumps(value).replace("MARKER", str(marker)))


def item(value: Any, name: str = "planted", file: str = INFERENCE) -> Change:
    """A further item of a config."""
    return items({name: value}, file)


def items(values: dict[str, Any], file: str = INFERENCE) -> Change:
    def change(bundle: Path, marker: Path) -> None:
        path = bundle / file
        content = json.loads(path.read_text()) if path.is_file() else {}
        content.update(with_marker(values, marker))
        path.write_text(json.dumps(content))

    return change


def edit(place: str, value: Any, file: str = INFERENCE) -> Change:
    """Another value at a place of a config."""

    def change(bundle: Path, marker: Path) -> None:
        content = json.loads((bundle / file).read_text())
        *parents, last = place.split("::")
        node = content
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[int(last) if isinstance(node, list) else last] = with_marker(value, marker)
        (bundle / file).write_text(json.dumps(content))

    return change


def both(*changes: Change) -> Change:
    return lambda bundle, marker: [change(bundle, marker) for change in changes]


def raw(old: str, new: str, file: str = INFERENCE) -> Change:
    def change(bundle: Path, marker: Path) -> None:
        text = (bundle / file).read_text()
        assert old in text
        (bundle / file).write_text(text.replace(old, new.replace("MARKER", str(marker)), 1))

    return change


def file(path: str, content: bytes | Callable[[Path], bytes] = b"") -> Change:
    def change(bundle: Path, marker: Path) -> None:
        (bundle / path).parent.mkdir(parents=True, exist_ok=True)
        data = content(marker) if callable(content) else content.replace(b"MARKER", str(marker).encode())
        (bundle / path).write_bytes(data)

    return change


def link(path: str) -> Change:
    """A link out of the bundle."""

    def change(bundle: Path, marker: Path) -> None:
        place = bundle / path
        if place.is_dir() and not place.is_symlink():
            for inner in place.iterdir():
                inner.unlink()
            place.rmdir()
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(marker.parent)

    return change


class Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Callable, tuple]:
        return open, (self.marker, "w")


def _tensors() -> bytes:
    stream = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, stream)
    return stream.getvalue()


def _with_code(marker: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"weight": torch.zeros(2), "code": Touch(marker)}, stream)
    return stream.getvalue()


COMPILE = {"options": {"cpp.march": "native -wrapper 'sh,-c,: > MARKER'"}}
"""gcc's option ``-wrapper`` runs what follows in place of its own parts."""

WRITES = {"_target_": "radimagenet_monai.engine.require_writable", "_mode_": "callable"}

FOLDERS: dict[str, Change] = {
    # Arguments that reach a compiler, a process or a name.
    "compile_kwargs of the evaluator": both(
        edit("evaluator::compile", True), edit("evaluator::compile_kwargs", COMPILE)
    ),
    "compile_kwargs of the trainer": both(
        edit("train::trainer::compile", True, TRAIN), edit("train::trainer::compile_kwargs", COMPILE, TRAIN)
    ),
    "compile alone": edit("evaluator::compile", True),
    "compile_kwargs by reference": both(item(COMPILE, "options"), edit("evaluator::compile_kwargs", "@options")),
    "compile_kwargs by macro": both(item(COMPILE, "options"), edit("evaluator::compile_kwargs", "%options")),
    "compile_kwargs by a key with a path": items({"evaluator::compile": True, "evaluator::compile_kwargs": COMPILE}),
    "compile_kwargs by the old separator": items({"evaluator#compile": True, "evaluator#compile_kwargs": COMPILE}),
    "compile_kwargs merged in": items({"+evaluator": {"compile": True, "compile_kwargs": COMPILE}}),
    "compile_kwargs from a further file": items({"evaluator::compile_kwargs": COMPILE}, "configs/faster.json"),
    "compile_kwargs merged in from a further file": items(
        {"+evaluator": {"compile_kwargs": COMPILE}}, "configs/faster.json"
    ),
    "compile_kwargs over two files": both(
        items({"other::inner": {"_target_": "SupervisedEvaluator"}}, "configs/first.json"),
        items({"other::inner::compile_kwargs": COMPILE}, "configs/second.json"),
    ),
    "compile_kwargs of an unknown engine": item({"_target_": "GanTrainer", "compile_kwargs": COMPILE}),
    "component exchanged behind its arguments": items({"dataloader::_target_": "SupervisedEvaluator"}),
    "start of worker processes": edit("dataloader::multiprocessing_context", "spawn"),
    "start of each worker": edit("dataloader::worker_init_fn", "os.mkdir"),
    "MONAI's loader with a start of workers": item({"_target_": "DataLoader", "dataset": [1], "worker_init_fn": "x"}),
    "collate_fn by name": item({"_target_": "DataLoader", "dataset": [1], "collate_fn": "os.mkdir"}),
    "reader by name": item({"_target_": "LoadImaged", "keys": "image", "reader": "os.mkdir", "path": "MARKER"}),
    "reader that unpickles": item({"_target_": "LoadImaged", "keys": "image", "reader": "NumpyReader"}),
    "writer by name": item({"_target_": "SaveImaged", "keys": "pred", "writer": "os.mkdir"}),
    "hash function": item({"_target_": "CacheDataset", "data": [1], "hash_func": "$engine.loss_value"}),
    "downloaded weights": item({"_target_": "FlexibleUNet", "in_channels": 3, "backbone": "x", "pretrained": True}),
    "callable by name": edit("evaluator::prepare_batch", "os.mkdir"),
    "lambda component": item({"_target_": "Lambda", "func": "$str"}),
    "address to connect to": item("$torch.distributed.init_process_group(backend='nccl', init_method='tcp://a:1')"),
    # Places that are written to.
    "path from the root": edit("validate::handlers::1::path", "MARKER", TRAIN),
    "path from the root in an expression": edit("validate::handlers::1::path", "$'MARKER'", TRAIN),
    "path upwards": edit("validate::handlers::1::path", "$@bundle_root + '/../model.pt'", TRAIN),
    "path upwards in two parts": edit("validate::handlers::1::path", "$@bundle_root + '/.' + './models/m.pt'", TRAIN),
    "path over a document": edit("validate::handlers::1::path", "$@bundle_root + '/docs/README.md'", TRAIN),
    "path over a document of whoever runs it": edit("validate::handlers::1::path", "README.md", TRAIN),
    "path over a config": edit("validate::handlers::1::path", "$@bundle_root + '/configs/x.pt'", TRAIN),
    "path by a chain of references": both(
        items({"a": "/tm", "b": "$@a + 'p/'", "c": "$@b + 'x.pt'"}, TRAIN),
        edit("validate::handlers::1::path", "@c", TRAIN),
    ),
    "path by a condition": edit("validate::handlers::1::path", "$'MARKER' if @amp else '/x'", TRAIN),
    "path by 'or'": edit("validate::handlers::1::path", "$'' or 'MARKER'", TRAIN),
    "path by os.path.join": both(
        item("$import os", "imports", TRAIN),
        edit("validate::handlers::1::path", "$os.path.join(@bundle_root, 'MARKER')", TRAIN),
    ),
    "path from the facts of a model": both(
        file("models/model.json", b'{"place": "MARKER"}'),
        edit("validate::handlers::1::path", "$engine.trained_fact(@bundle_root, 'place', '')", TRAIN),
    ),
    "path from the metadata": edit("validate::handlers::1::path", "@_meta_::copyright", TRAIN),
    "path by a key with a path": items({"validate::handlers::1::path": "MARKER"}, TRAIN),
    "path from a further file": items({"validate::handlers::1::path": "MARKER"}, "configs/faster.json"),
    "output folder from the root": edit("output_dir", "MARKER"),
    "output folder at home": edit("output_dir", "~/.config/autostart"),
    "output folder hidden": edit("output_dir", "$@bundle_root + '/.git/hooks'"),
    "output folder among the configs": edit("output_dir", "$@bundle_root + '/configs'"),
    "output folder of whoever runs it": edit("output_dir", "src"),
    "output folder from a further file": items({"output_dir": "MARKER"}, "configs/faster.json"),
    "bundle_root from the root": edit("bundle_root", "MARKER"),
    "bundle_root from an expression": edit("bundle_root", "$'' + 'MARKER'"),
    "cache of headers over a document": edit("train::records::options", {"header_cache": "README.md"}, TRAIN),
    "final file of MONAI's saver": item(
        {"_target_": "CheckpointSaver", "save_dir": "$@bundle_root + '/models'", "final_filename": "MARKER"}
    ),
    "log folder of TensorBoard": item({"_target_": "TensorBoardStatsHandler", "log_dir": "MARKER"}),
    "folder outside of the bundle": item("$engine.require_writable('MARKER')"),
    "writing function handed on": item({"_target_": "Compose", "transforms": [WRITES]}),
    "writing function handed on bare": item({"_target_": "Compose", "transforms": "$[engine.require_writable]"}),
    "writing function in a lambda": item(
        {"_target_": "Compose", "transforms": "$lambda x: engine.require_writable(x)"}
    ),
    "writing function in a comprehension": item("$[engine.require_writable(x) for x in ['MARKER']]"),
    "writing function as a key": item("$sorted(['MARKER'], key=engine.require_writable)"),
    "writing function called through a reference": items({"w": WRITES, "planted": "$@w('MARKER')", "x": "$exit()"}),
    "text that looks like a key below": both(
        item({"handlers::0": {"path": "MARKER"}, "handlers": []}), item({"": "$exit()"})
    ),
    # Addresses.
    "address behind a blank": edit("dataset_dir", " http://collector.example/x"),
    "table behind a blank": edit("datalist", " http://collector.example/x.csv", TRAIN),
    "bucket": edit("dataset_dir", "s3://bucket/x"),
    "file address": edit("dataset_dir", "file:///etc/passwd"),
    "file address without slashes": edit("dataset_dir", "file:etc/passwd"),
    "share": edit("dataset_dir", "\\\\host\\share"),
    "share with slashes": edit("dataset_dir", "//host/share"),
    "host and port": item("collector.example:4317"),
    "number of a host": item("10.0.0.1:5000"),
    "address in two parts": edit("dataset_dir", "$'http:/' + '/collector.example'"),
    "address by references": both(
        items({"a": "http:/", "b": "$@a + '/collector.example'"}, TRAIN), edit("datalist", "@b", TRAIN)
    ),
    "address for logs": item({"_target_": "radimagenet_monai.engine.MLflowLog", "tracking": "databricks"}),
    "tab before an address": edit("dataset_dir", "\thttp://collector.example"),
    # Code.
    "expression": item("$open('MARKER', 'w')"),
    "expression behind blanks": item("$  open('MARKER', 'w')"),
    "component": item({"_target_": "os.mkdir", "path": "MARKER"}),
    "component by an expression": item({"_target_": "$open", "file": "MARKER", "mode": "w"}),
    "component by a macro": items({"n": "os.mkdir", "planted": {"_target_": "%n", "path": "MARKER"}}),
    "component by a reference": items({"n": "os.mkdir", "planted": {"_target_": "@n", "path": "MARKER"}}),
    "component through a re-export": item({"_target_": "torch.os.mkdir", "path": "MARKER"}),
    "component with an escaped key": raw("{", '{"planted": {"\\u005ftarget_": "os.mkdir", "path": "MARKER"}, '),
    "component that is planted": both(file("evil.py", b"open('MARKER', 'w')"), item({"_target_": "evil.X"})),
    "debugger": item({"_target_": "Compose", "_mode_": "debug"}),
    "old debugger": item({"_target_": "Compose", "_debug_": True}),
    "requirement": edit("evaluator::_requires_", ["$open('MARKER', 'w')"]),
    "switch": edit("evaluator::_disabled_", "$open('MARKER', 'w')"),
    "description": edit("evaluator::_desc_", "$open('MARKER', 'w')"),
    "metadata": item("$open('MARKER', 'w')", file="configs/metadata.json"),
    "first step": edit("initialize", ["$open('MARKER', 'w')"]),
    "last step": item(["$open('MARKER', 'w')"], "finalize"),
    "step of another name": item(["$open('MARKER', 'w')"], "download"),
    "import of the system": both(item("$import subprocess", "imports"), item("$subprocess.run(['touch', 'MARKER'])")),
    "import under another name": both(item("$import os as torch", "imports"), item("$torch.mkdir('MARKER')")),
    "import of a function": both(item("$from os import mkdir as device", "imports"), item("$device('MARKER')")),
    "import over a builtin": both(item("$from os import mkdir as len", "imports"), item("$len('MARKER')")),
    "import over ours in a further file": items({"imports": ["$import os as training"]}, "configs/faster.json"),
    "import of a module that is planted": both(
        file("antigravity_too.py", b"open('MARKER', 'w')"), item("$import antigravity_too", "imports")
    ),
    "import found by a reference": items({"m": "$import os", "planted": "$@m.mkdir('MARKER')"}),
    "import and more": item("$import os; os.mkdir('MARKER')"),
    "macro of a file": both(file("docs/x.json", b"{\"x\": \"$open('MARKER', 'w')\"}"), item("%docs/x.json::x")),
    "relative reference": items({"imports": ["$import os"], "planted": {"x": "$@##imports::0.mkdir('MARKER')"}}),
    "text with a formula": item('$f\'{open("MARKER", "w")}\''),
    "quotes closed by a reference": items({"f": 1, "planted": '$\'@f{open("MARKER", "w")}\''}),
    "assignment": item("$(f := open)('MARKER', 'w')"),
    "lambda called at once": item("$(lambda: open('MARKER', 'w'))()"),
    "name bound anew": item("$[len('MARKER') for len in [open]]"),
    "chain of underscores": item("$().__class__.__base__.__subclasses__()"),
    "attribute by its name": item("$getattr(torch, 'os').mkdir('MARKER')"),
    "format": item("$'{0.__class__}'.format(@device)"),
    "letters that are not ASCII": item("$\N{FULLWIDTH LATIN SMALL LETTER O}pen('MARKER', 'w')"),
    "frame": item("$(x for x in [1]).gi_frame.f_builtins['open']('MARKER', 'w')"),
    "environment": both(item("$import os", "imports"), item("$os.environ['HOME']")),
    "thousands of operators": item("$" + "1+" * 9000 + "open('MARKER', 'w')"),
    "very long": item("$[" + "1," * 12_000 + "open('MARKER', 'w')]"),
    "unpickled weights": item("$torch.load('models/model.pt', weights_only=False)"),
    "library": item("$torch.ops.load_library('MARKER')"),
    # JSON that two readers see differently, or that ends a reader.
    "key twice": raw('"seed": 0', '"seed": 0, "seed": "$open(\'MARKER\', \'w\')"'),
    "not a number": raw('"seed": 0', '"seed": NaN'),
    "comment": raw('"seed": 0', '"seed": 0 // comment'),
    "mark of the byte order": lambda bundle, marker: (bundle / INFERENCE).write_bytes(
        b"\xef\xbb\xbf" + (bundle / INFERENCE).read_bytes()
    ),
    "deep lists": raw('"seed": 0', '"seed": ' + "[" * 500 + "]" * 500),
    "very deep lists": raw('"seed": 0', '"seed": ' + "[" * 100_000 + "]" * 100_000),
    "endless number": raw('"seed": 0', '"seed": ' + "1" * 10_000),
    "letter that looks like another in a key": item({"_t\N{CYRILLIC SMALL LETTER A}rget_": "os.mkdir"}),
    "control character": item("a\0b"),
    "large config": item("a" * 1_000_001),
    "YAML config": file("configs/train.yaml", b"x: $open('MARKER', 'w')"),
    # Files.
    "scripts": file("scripts/__init__.py", b"open('MARKER', 'w')"),
    "module of a known name": file("torch.py", b"open('MARKER', 'w')"),
    "module in a folder of a known name": file("monai/__init__.py", b"open('MARKER', 'w')"),
    "compiled module": file("torch.pyc"),
    "module in upper case": file("evil.PY"),
    "path configuration": file("evil.pth", b"import os"),
    "library file": file("models/x.so"),
    "shell script": file("install.sh", b"touch MARKER"),
    "array": file("models/x.npy"),
    "pickle": file("models/model.pkl", lambda marker: pickle.dumps(Touch(marker))),
    "pickle for weights": file("models/model.pt", lambda marker: pickle.dumps(Touch(marker))),
    "pickle in weights": file("models/model.pt", _with_code),
    "weights behind a pickle": file("models/model.pt", lambda marker: pickle.dumps(Touch(marker)) + _tensors()),
    "weights before a pickle": file("models/model.pt", lambda marker: _tensors() + pickle.dumps(Touch(marker))),
    "weights after weights": file("models/model.pt", lambda marker: _with_code(marker) + _tensors()),
    "weights before weights": file("models/model.pt", lambda marker: _tensors() + _with_code(marker)),
    "link for a file": link("docs/README.md"),
    "link for a folder": link("models"),
    "link for the output": link("output"),
    "link in the output": link("output/store"),
    "link in a cache": link(".cache/deep/x"),
    "handler of a log": raw("class=StreamHandler", "class=FileHandler", "configs/logging.conf"),
    "argument of a log": raw("args=(sys.stdout,)", "args=(open('MARKER', 'w'),)", "configs/logging.conf"),
    "default of a format": raw("datefmt", "defaults=open('MARKER', 'w')\ndatefmt", "configs/logging.conf"),
}


def _member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # the constructor would clean it
    info.external_attr = mode << 16
    return info


def _added(name: str, mode: int = stat.S_IFREG | 0o644, **changes: Any) -> Callable[[bytes], bytes]:
    """The archive with one member more."""

    def change(data: bytes) -> bytes:
        stream = io.BytesIO(data)
        with zipfile.ZipFile(stream, "a") as archive:
            info = _member(name, mode)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.writestr(info, b"x")
        return stream.getvalue()

    return change


def _directory(data: bytes) -> tuple[int, int]:
    """Offset and size of the directory, from the end record."""
    size, offset = struct.unpack("<II", data[-10:-2])
    return offset, size


def _moved(data: bytes, by: int) -> bytes:
    """The archive's end record with the directory ``by`` bytes later."""
    offset, _ = _directory(data)
    return data[:-6] + struct.pack("<I", offset + by) + data[-2:]


def _two_directories(data: bytes) -> bytes:
    offset, size = _directory(data)
    directory = data[offset : offset + size]
    other = directory.replace(b"LICENSE", b"licence")
    return (
        data[:offset]
        + other
        + _moved(directory + data[offset + size :], 0)[:-6]
        + struct.pack("<I", offset + len(other))
        + data[-2:]
    )


def _gap(data: bytes) -> bytes:
    offset, _ = _directory(data)
    return _moved(data[:offset] + b"hidden" + data[offset:], 6)


def _local(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Another name in a member's own header than in the directory."""
    return lambda data: data.replace(old, new, 1)


def _local_size(data: bytes) -> bytes:
    return data[:22] + struct.pack("<I", struct.unpack("<I", data[22:26])[0] + 1) + data[26:]


def _prepended(data: bytes) -> bytes:
    """Another archive in front, and every offset still right."""
    front = io.BytesIO()
    with zipfile.ZipFile(front, "w") as archive:
        archive.writestr(f"{NAME}/LICENSE", b"another")
    before = front.getvalue()
    offset, size = _directory(data)
    directory = bytearray(data[offset : offset + size])
    position = 0
    while position < size:
        name, extra, comment = struct.unpack_from("<3H", directory, position + 28)
        at = struct.unpack_from("<I", directory, position + 42)[0]
        struct.pack_into("<I", directory, position + 42, at + len(before))
        position += 46 + name + extra + comment
    return before + data[:offset] + bytes(directory) + _moved(data, len(before))[offset + size :]


def _zip64_that_differs(data: bytes) -> bytes:
    offset, size = _directory(data)
    count = struct.unpack("<H", data[-14:-12])[0]
    place = len(data) - 22
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count - 1, count - 1, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1)
    return data[:place] + wide + locator + data[place:]


def _unicode_path(name: str) -> bytes:
    encoded = name.encode()
    return struct.pack("<HHBI", 0x7075, 5 + len(encoded), 1, 0) + encoded


ARCHIVES: dict[str, Callable[[bytes], bytes]] = {
    "bytes behind": lambda data: data + b"x",
    "archive behind": lambda data: data + data,
    "bytes in front": lambda data: b"#!/bin/sh\n" + data,
    "archive in front": _prepended,
    "two directories": _two_directories,
    "bytes before the directory": _gap,
    "other name in its own header": _local(f"{NAME}/LICENSE".encode(), f"{NAME}/evil.py".encode()),
    "other size in its own header": _local_size,
    "second end record that differs": _zip64_that_differs,
    "other name in an extra field": _added(f"{NAME}/docs/x.md", extra=_unicode_path(f"{NAME}/evil.py")),
    "comment": lambda data: data[:-2] + b"\x01\x00x",
    "name twice": _added(f"{NAME}/LICENSE"),
    "name in another case": _added(f"{NAME}/license"),
    "link": _added(f"{NAME}/docs/x", stat.S_IFLNK | 0o777),
    "device": _added(f"{NAME}/docs/x", stat.S_IFCHR | 0o666),
    "upwards": _added(f"{NAME}/../evil.txt"),
    "from the root": _added("/tmp/evil.txt"),
    "backslash": _added(f"{NAME}\\..\\..\\evil.txt"),
    "zero in a name": _added(f"{NAME}/docs/README.md\0.py"),
    "second folder": _added("other/LICENSE"),
    "hidden file": _added(f"{NAME}/.bashrc"),
    "code": _added(f"{NAME}/scripts/__init__.py"),
    "by-product": _added(f"{NAME}/output/checkpoint.pt"),
}


SMALL: Change = edit(
    "network_def",
    {
        **{"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 4},
        **{"growth_rate": 2, "block_config": [1, 1]},
    },
)
"""A network that is built in no time, and runs."""

HARMLESS: dict[str, Change] = {
    "command as a text": item("touch MARKER"),
    "code as a text": item("__import__('os').mkdir('MARKER')"),
    "expression that does not start with $": item(" $open('MARKER', 'w')"),
    "command as a description": edit("evaluator::_desc_", "touch MARKER"),
    "command as a setting": item({"note": "; touch MARKER #"}, "settings"),
    "command as a device": item({"_target_": "ToTensord", "keys": "image", "device": "cpu; touch MARKER"}),
    "command as the name of a log": item({"_target_": "StatsHandler", "name": "; $(touch MARKER)", "tag_name": "`x`"}),
    "command as a key": item({"touch MARKER": 1, "$(touch MARKER)": 2}),
    "command as a class": edit("classes", ["benign", "touch MARKER"]),
    "name of a component under another key": item({"target": "os.mkdir", "path": "x"}),
    "component that is off": item({"_target_": "Compose", "transforms": [], "_disabled_": True}),
    "component handed on": item({"_target_": "Compose", "_mode_": "callable"}),
    "lambda": item("$lambda x: x.to(@device)"),
    "comprehension": item("$[{'image': name} for name in ['a', 'touch MARKER']]"),
    "files of a folder": items(
        {
            "imports": ["$import glob", "$import monai", "$import radimagenet_monai.engine as engine"],
            "planted": "$list(sorted(glob.glob(@dataset_dir + '/imagesTr/*.nii.gz')))",
        }
    ),
    "flag of a backend": item("$setattr(torch.backends.cudnn, 'benchmark', True)"),
    "reader of the list": item({"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader"}),
    "macro of the same file": item("%classes"),
    "override": items({"dataloader::batch_size": 2, "dataloader#num_workers": 0}),
    "checkpoint": item({"_target_": "CheckpointLoader", "load_path": "@checkpoint", "load_dict": {"m": "@network"}}),
    "text with signs": item("50 % of a@b # :: + ~ not a path"),
}
"""Odd, and nothing happens: `verify` says ok, and a run shows that it is right."""
