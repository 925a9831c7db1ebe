"""Code in configs is found before it runs. The oracle is MONAI itself: each trick here does run in `ConfigParser`."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ComponentLocator, ConfigParser, ReferenceResolver
from released_bundle import BUNDLES
from torchvision_oracle import library

from radimagenet_monai.collection.verification.allowed import (
    CONSTANTS,
    MONAI_COMPONENTS,
    OWN_COMPONENTS,
    TORCH_COMPONENTS,
    components,
    functions,
)
from radimagenet_monai.collection.verification.config_code import config_findings
from radimagenet_monai.collection.verification.config_values import as_evaluated
from radimagenet_monai.collection.verification.expressions import MAX_EXPRESSION_CHARACTERS
from radimagenet_monai.core.moved import exports_of_first_release

pytestmark = pytest.mark.slow

OURS = {
    "imports": ["$import radimagenet_monai.engine as engine", "$import radimagenet_monai.loading as loading"],
}
"""Imports that our expressions need."""

# CANARY is the path of a folder that appears when the code runs.
TRICKS: dict[str, Any] = {
    "plain expression": {"x": "$__import__('os').mkdir('CANARY')"},
    "component": {"x": {"_target_": "os.mkdir", "path": "CANARY"}},
    "component that is an expression": {"x": {"_target_": "$torch.os.mkdir", "path": "CANARY"}},
    "re-export of this package": {"x": {"_target_": "radimagenet_monai.core.atomic.os.mkdir", "path": "CANARY"}},
    "re-export of torch": {"x": {"_target_": "torch.os.mkdir", "path": "CANARY"}},
    "re-export in an expression": {"x": "$torch.os.mkdir('CANARY')"},
    "re-export behind an allowed import": {
        "imports": ["$import radimagenet_monai.core.atomic as engine"],
        "x": "$engine.os.mkdir('CANARY')",
    },
    "lambda": {"x": "$(lambda: torch.os.mkdir('CANARY'))()"},
    "comprehension": {"x": "$[torch.os.mkdir(name) for name in ['CANARY']]"},
    "f-string": {"x": "$f'{torch.os.mkdir(\"CANARY\")}'"},
    "quotes closed by a reference": {"f": 1, "x": "$'@f{torch.os.mkdir(\"CANARY\")}'"},
    "dunder chain": {"x": "$torch.__dict__['os'].mkdir('CANARY')"},
    "subscript of a builtin": {"x": "$().__class__.__base__ and vars(torch)['os'].mkdir('CANARY')"},
    "getattr": {"x": "$getattr(torch, 'os').mkdir('CANARY')"},
    "letters that are not ASCII": {"x": "$\N{FULLWIDTH LATIN SMALL LETTER T}orch.os.mkdir('CANARY')"},
    "walrus": {"x": "$(name := torch.os).mkdir('CANARY')"},
    "argument of an allowed function": {"x": "$monai.utils.set_determinism(torch.os.mkdir('CANARY'))"},
    "argument of an allowed component": {"x": {"_target_": "Compose", "transforms": "$torch.os.mkdir('CANARY')"}},
    "deep in lists": {"x": [[{"y": [1, "$torch.os.mkdir('CANARY')"]}]]},
    "in _requires_": {"x": {"_target_": "Compose", "_requires_": ["$torch.os.mkdir('CANARY')"]}},
    "in _disabled_": {"x": {"_target_": "Compose", "_disabled_": "$torch.os.mkdir('CANARY')"}},
    "key with a path": {"x": {}, "x::_target_": "os.mkdir", "x::path": "CANARY"},
    "key with an old separator": {"x": {}, "x#_target_": "os.mkdir", "x#path": "CANARY"},
    "key that adds": {"x": {"path": "CANARY"}, "+x": {"_target_": "os.mkdir"}},
    "import found through a reference": {"imports": ["$import os"], "y": "@imports::0", "x": "$@y.mkdir('CANARY')"},
    "import elsewhere": {"y": "$import os", "x": "$@y.mkdir('CANARY')"},
    "import runs by itself": {"imports": ["$import planted_module"], "x": "$1"},
    "part of another file": {"x": "%planted.json::x"},
}


def config_problems(data: bytes, paths: bool = True) -> list[str]:
    """Sentences about one JSON config, with or without paths that lead out of the bundle."""
    files = {"config": data}
    return [finding.sentence for finding in config_findings(files, () if paths else files)["config"]]


def written(config: Any, canary: Path) -> bytes:
    return json.dumps(config).replace("CANARY", str(canary)).encode()


@pytest.mark.parametrize("trick", TRICKS)
def test_code_that_monai_would_run_is_refused(trick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "planted_module.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    (tmp_path / "planted.json").write_bytes(written({"x": "$torch.os.mkdir('CANARY')"}, canary))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    data = written(TRICKS[trick], canary)

    assert config_problems(data, paths=False)  # the path of the canary is not the point
    assert not canary.exists(), "looking at a config ran it"

    (tmp_path / "config.json").write_bytes(data)
    parser = ConfigParser()
    with contextlib.suppress(Exception):  # what comes after the harm is done does not matter
        parser.read_config(tmp_path / "config.json")
        parser.get_parsed_content("x")
        if isinstance(parser["x"], list):
            parser.get_parsed_content("x::0::0::y::1")
    assert canary.exists(), "MONAI does not run this, so the test shows nothing"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"x": {"_target_": "Compose", "_mode_": "debug"}}, "_mode_ is 'debug'"),
        ({"x": {"_target_": "Compose", "_mode_": "$'debug'"}}, "_mode_ is"),
        ({"x": {"_target_": "Compose", "_debug_": True}}, "special key '_debug_'"),
        ({"x": {"_target_": "eval"}}, "'eval' is not on the allow-list"),
        ({"x": {"_target_": "@y"}}, "'@y' is not on the allow-list"),
        ({"x": {"_target_": ["Compose"]}}, "not on the allow-list"),
        ({"x": {"_target_": "monai.bundle.run"}}, "not on the allow-list"),
        ({"x": {"_target_": "Lambda"}}, "not on the allow-list"),
        ({"x": {"_target_": "torch.load", "f": "a"}}, "not on the allow-list"),
        ({"x": {"_target_": "torch.hub.load", "repo_or_dir": "a/b"}}, "not on the allow-list"),
        ({"x": "$torch.load('a')"}, "'torch.load' is not on the allow-list"),
        ({"x": "$torch"}, "the name 'torch' is not on the allow-list"),
        ({"x": "$@y.__init__"}, "only printable ASCII"),
        ({"x": "$@y(1)"}, "is not on the allow-list"),
        ({"x": "$@y.run.gi_frame"}, "attribute 'gi_frame'"),
        ({"x": "$'{0}'.format(@y)"}, "attribute of Constant"),
        ({**OURS, "x": "$engine.parse_flag(**@y)"}, "'**'"),
        ({**OURS, "x": "$engine.parse_flag(*@y)"}, "Starred"),
        ({"x": "$engine.parse_flag(@y)"}, "attribute 'parse_flag'"),
        ({"x": "$import subprocess"}, "the import of 'subprocess' is not on the allow-list"),
        ({"x": "$@\N{FULLWIDTH LATIN SMALL LETTER A}"}, "only printable ASCII"),
        ({"x": "$@::y"}, "relative references"),
        ({"x": "@#imports::0"}, "'::imports::0'"),
        ({"x": "@imports::0"}, "'imports::0'"),
        ({"x": "$@"}, "the whole config"),
        ({"x": "$1 # 2"}, "not a Python expression"),
        ({"x": "$1\n+1"}, "only printable ASCII"),
        ({"x": "$1 +"}, "not a Python expression"),
        ({"x": "$" + "1+" * MAX_EXPRESSION_CHARACTERS + "1"}, "longer than"),
        ({"x": "$" + "(" * 250 + ")" * 240}, "not a Python expression"),
        ({"x": "$" + "1+" * 9000 + "1"}, "not a Python expression (RecursionError)"),
        ({"x": "$" + "-" * 15000 + "1"}, "not a Python expression ("),
        ({"x": "/etc/passwd"}, "a path that leaves the bundle"),
        ({"x": "a/../../b"}, "a path that leaves the bundle"),
        ({"x": "~/.ssh"}, "a path that leaves the bundle"),
        ({"x": "C:\\x"}, "a path that leaves the bundle"),
        ({"x": "https://collector.example"}, "an address"),
        ({"x": "sqlite:////etc/x.db"}, "an address"),
        ({"x": "$'https://collector.example'"}, "could lead out of the bundle"),
        ({"x": "$@bundle_root + '/../..'"}, "could lead out of the bundle"),
    ],
)
def test_reason_of_a_refusal(content: Any, reason: str) -> None:
    problems = config_problems(json.dumps(content).encode())
    assert len(problems) == 1
    assert problems[0].startswith("x")
    assert reason in problems[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"a": 1, "a": 2}',
        '{"x": "$1"}'.encode("utf-16"),
        b'{"x": "\xff"}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"x": "' + b"a" * 1_000_001 + b'"}',
        b'{"x": ' + b"1" * 10_000 + b"}",
    ],
    ids=range(9),
)
def test_what_is_no_config_is_one_problem(data: bytes) -> None:
    assert len(config_problems(data)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "$@a + '/output'",
        "$[1, @a, -2 * (3 + 1)]",
        "$@train::dataset.data",
        "$@network.parameters()",
        "$@trainer.run()",
        "$monai.utils.set_determinism(seed=@seed)",
        "$torch.device('cuda:0')",
        "$engine.parse_flag(@amp)",
        "$loading.augmentation_on_device(@augmentation, @device)",
        "$1 if @a else {'b': None}",
        "$len(@a) > 1 and not @b['c']",
        "@a::b",
        "an e-mail@x",
        "50 % of",
    ],
)
def test_wiring_is_allowed(text: str) -> None:
    assert config_problems(json.dumps({**OURS, "x": text}).encode()) == []


def test_allowed_names_are_what_they_say(tmp_path: Path) -> None:
    """Each name is found where it is expected, so that no listed name quietly means another object."""
    locator = ComponentLocator()
    library("torchvision")
    library("timm")
    for name in MONAI_COMPONENTS:
        modules = locator.get_component_module_name(name)
        first = modules[0] if isinstance(modules, list) else modules
        assert first is not None, name
        assert first.startswith("monai."), name
    for name in {**TORCH_COMPONENTS, **functions(), **OWN_COMPONENTS}:
        found = locate(name)
        assert callable(found), name
        if not name.startswith("os.path."):
            assert getattr(found, "__module__", "torch").split(".")[0] in (name.split(".")[0], "builtins"), name
    assert all(locate(name) is not None for name in CONSTANTS)
    assert not {"os.system", "eval", "Lambda", "torch.load"} & (components().keys() | functions().keys())


def _located(name: str) -> Any:
    modules = ComponentLocator().get_component_module_name(name) if "." not in name else None
    module = modules[0] if isinstance(modules, list) else modules
    return locate(name if module is None else f"{module}.{name}")


# Where Python states no arguments, or only that any are handed on.
HANDED_ON = {"DataLoader", "SelectItemsd", "DenseNet121", "Activationsd", "DistributedSampler", "SwinUNETR"}


def test_listed_arguments_are_those_of_the_components() -> None:
    """So that no row names what does not exist; the rows of functions give positions, too."""
    library("torchvision")
    library("timm")
    for name, signature in {**MONAI_COMPONENTS, **TORCH_COMPONENTS, **OWN_COMPONENTS}.items():
        if name in HANDED_ON:
            continue
        taken = inspect.signature(_located(name)).parameters
        open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values())
        assert open_ended or signature.arguments.keys() <= taken.keys(), name
        if name in functions() and signature.arguments:
            assert list(taken)[: len(signature.arguments)] == list(signature.arguments), name


def test_no_argument_of_ours_that_reads_or_writes_is_left_out() -> None:
    """What a component of this project takes as a path, an address or any keyword has to be listed with its kind."""
    telling = re.compile(r"path|folder|dir|root|file|url|uri|tracking|checkpoint|options|model\Z|weights\Z")
    others = {*MONAI_COMPONENTS, *TORCH_COMPONENTS, "torch.device", *exports_of_first_release()}
    for name in components().keys() - others:
        signature = components()[name]
        for parameter in inspect.signature(locate(name)).parameters.values():
            annotation = str(parameter.annotation)
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                assert not signature.is_open, f"{name} takes any keyword: list its arguments in OWN_COMPONENTS"
            elif telling.search(parameter.name) or "PathLike" in annotation:
                if name in HARMLESS or not signature.is_open or parameter.name in ("path_keys", "findings"):
                    continue
                listed = signature.arguments.get(parameter.name) or signature.repeated
                assert listed is not None, f"{name}({parameter.name}) may be a path: list it in OWN_COMPONENTS"
                assert listed.kind or parameter.annotation == "Mapping[str, str] | None", (name, parameter.name)


HARMLESS = {"radimagenet_monai.engine.RunRecord"}  # its `weights` are facts about them


class _EveryReference(dict):
    def __contains__(self, key: object) -> bool:
        return True


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="@:ab1_'{}()[]. +", max_size=30))
def test_expressions_are_judged_as_monai_rewrites_them(text: str) -> None:
    rewritten = ReferenceResolver.update_refs_pattern(f"${text}", _EveryReference())
    assert f"${as_evaluated(text)}" == rewritten


CONFIGS = {
    f"{path.parts[-3]}/{path.name}": json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(BUNDLES.glob("*/configs/*.json"))
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_of_ours_passes(name: str) -> None:
    bundle, _, file = name.partition("/")
    together = {file, "train.json"} if file == "multi_gpu_train.json" else {file}
    files = {each: (BUNDLES / bundle / "configs" / each).read_bytes() for each in together}
    assert config_findings(files, together & {"metadata.json"})[file] == []


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_planted_code_is_found_wherever_it_is(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    canary = tmp_path_factory.getbasetemp() / "planted_canary"
    config = copy.deepcopy(CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    call = f"open({str(canary)!r}, 'w')"
    spaces = data.draw(st.sampled_from(["", " ", "  "]))
    planted: Any = data.draw(
        st.sampled_from(
            [
                f"${spaces}{call}",
                f"$({call})",
                f"$[1, {call}][0]",
                f"$@bundle_root + str({call})",
                f"$len([{call}])",
                f"$1 if {call} else 2",
                f"$engine.parse_flag({call})",
                f"$monai.utils.set_determinism(seed={call})",
                f"$(lambda: {call})()",
                f"$'@seed' + f'{{{call}}}'",
                {"_target_": "builtins.open", "file": str(canary), "mode": "w"},
                {"_target_": "pathlib.Path.touch", "self": str(canary)},
                "$import antigravity",
            ]
        )
    )
    place = data.draw(st.sampled_from(list(_containers(config))))
    if isinstance(place, dict):
        place[data.draw(st.sampled_from([*place, "new", "imports", "_requires_", "_disabled_"]))] = planted
    else:
        place.insert(data.draw(st.integers(0, len(place))), planted)
    assert config_problems(json.dumps(config).encode(), paths=False)
    assert not canary.exists()


def test_names_of_the_first_release_have_the_same_arguments() -> None:
    for old, new in exports_of_first_release().items():
        assert components()[old] == components()[new]
        assert locate(old) is locate(new)
