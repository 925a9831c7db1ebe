"""The plan of a comparison: every initialization with the same folds, seeds, scenarios and training sets."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.tasks import Kind, get_task
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.architectures import ARCHITECTURES

PLAN_FILE = "comparison.json"
FORMAT = 1
OWN_SPLIT = 1
"""As a number of folds: the records' own train, validation and test."""

# Not all that are known: results would depend on which plug-ins are installed.
_PAPER_ARCHITECTURES = ("resnet50", "densenet121", "inceptionv3", "inceptionresnetv2")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Scenario:
    """One way to train: the freezing policy (of `radimagenet_monai.models.freezing`) and the learning rate."""

    freeze: str
    learning_rate: float

    @property
    def name(self) -> str:
        """Name such as ``none-0.001``."""
        return f"{self.freeze}-{self.learning_rate:g}"


@dataclass(frozen=True)
class Initialization:
    """An initialization to compare: a short name, and its weights as `find_weights` accepts them."""

    name: str
    weights: str


@dataclass(frozen=True)
class Protocol:
    """Settings of a comparison.

    ``scenarios`` is empty for the linear probe, which trains no encoder. If ``image_size`` or ``batch_size`` is
    ``None``, the task's value is used. If ``folds`` is ``None``, the task decides: five, or the records' own split if
    the authors used one.
    """

    name: str
    description: str
    architectures: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    folds: int | None
    epochs: int | None
    image_size: int | None
    batch_size: int | None


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "paper",
            "the 24 scenarios of Mei et al. 2022: four networks, each with all layers trained at 1e-3 and 1e-4, the "
            "encoder frozen at 1e-2 and 1e-3, and its last ten Keras layers trained at 1e-2 and 1e-3; Adam, 30 "
            "epochs, the epoch with the best validation measure",
            _PAPER_ARCHITECTURES,
            tuple(
                Scenario(freeze, rate)
                for freeze, rates in (
                    ("none", (1e-3, 1e-4)),
                    ("encoder", (1e-2, 1e-3)),
                    ("all_but_last_10", (1e-2, 1e-3)),
                )
                for rate in rates
            ),
            None,
            30,
            None,
            None,
        ),
        Protocol(
            "quick",
            "one network, all layers trained at 3e-4, between the two rates of the paper, on small images for a few "
            "epochs in five folds: a first answer in minutes, not the last word",
            ("densenet121",),
            (Scenario("none", 3e-4),),
            5,
            6,
            96,
            16,
        ),
        Protocol(
            "probe",
            "logistic regression on the features of the frozen encoders, regularization chosen in nested folds",
            _PAPER_ARCHITECTURES,
            (),
            5,
            None,
            160,  # the default of `probe_run`
            None,
        ),
    )
}


@dataclass(frozen=True)
class Run:
    """One run of a comparison; ``scenario`` is ``None`` for the probe, ``fold`` for the records' own split."""

    architecture: str
    initialization: str
    scenario: Scenario | None
    fold: int | None
    fraction: float

    @property
    def id(self) -> str:
        """Id of the run and name of its folder."""
        scenario = self.scenario.name if self.scenario else "probe"
        fold = "split" if self.fold is None else f"fold{self.fold}"
        return f"{self.architecture}.{self.initialization}.{scenario}.{fold}.{self.fraction:g}"


@dataclass(frozen=True)
class Plan:
    """A comparison, complete and serializable.

    Attributes
    ----------
    task, protocol
        Names.
    classes
        Class names in index order; for your own data they may differ from the task's (two or more).
    folds
        Number of folds, or `OWN_SPLIT`.
    fractions
        Shares of the training patients, in ascending order; the main analysis uses the last one.
    identities
        Architecture to initialization name to name and hashes of its weights.
    unavailable
        Pairs of architecture and initialization that cannot be run, with the reason.
    records_sha256
        SHA-256 of the records table.
    """

    task: str
    protocol: str
    initializations: tuple[Initialization, ...]
    architectures: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    folds: int
    fractions: tuple[float, ...]
    classes: tuple[str, ...]
    image_size: int
    batch_size: int | None
    epochs: int | None
    seed: int
    aggregate: str
    records_sha256: str
    identities: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    unavailable: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_probe(self) -> bool:
        """Whether no encoder is trained."""
        return not self.scenarios

    def runs(self) -> list[Run]:
        """All runs, ordered so that the first finished runs can already be compared."""
        missing = {(architecture, name) for architecture, name, _ in self.unavailable}
        folds: Sequence[int | None] = [None] if self.folds == OWN_SPLIT else range(self.folds)
        return [
            Run(architecture, initialization.name, scenario, fold, fraction)
            for fraction, fold, scenario, architecture, initialization in itertools.product(
                reversed(self.fractions), folds, self.scenarios or (None,), self.architectures, self.initializations
            )
            if (architecture, initialization.name) not in missing
        ]

    def weights_of(self, name: str) -> str:
        """The weights of an initialization."""
        return next(item.weights for item in self.initializations if item.name == name)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class Choices:
    """Values in place of a protocol's defaults.

    Attributes
    ----------
    architectures
        Names, or ``("all",)``.
    folds
        3 or more, or 1 for the records' own split.
    fractions
        Shares of the training patients in (0, 1]; the whole set is always included.
    learning_rates, freeze
        They replace the protocol's scenarios with every combination of policy and rate.
    epochs, image_size, batch_size, classes, seed
        As in a bundle's ``train.json``.
    """

    architectures: Sequence[str] | None = None
    folds: int | None = None
    fractions: Sequence[float | str] = (1.0,)
    learning_rates: Sequence[float | str] | None = None
    freeze: Sequence[str] | None = None
    epochs: int | None = None
    image_size: int | None = None
    batch_size: int | None = None
    classes: Sequence[str] | None = None
    seed: int = 0


def make_plan(
    task: str, protocol: str, weights: Sequence[str], records_sha256: str, choices: Choices | None = None
) -> Plan:
    """The plan of a protocol.

    Parameters
    ----------
    task
        Task of a classification bundle.
    protocol
        A name of `PROTOCOLS`.
    weights
        Two or more, each a name of weights or ``NAME=WEIGHTS`` with a short name of your choice, such as
        ``mine=models/encoder.safetensors``.
    records_sha256
        SHA-256 of the records table.
    choices
        Values in place of the protocol's.

    Raises
    ------
    ConfigurationError
        For an unknown or repeated name, or a number out of range.
    """
    choices = choices or Choices()
    described = get_task(task)
    if described.kind is not Kind.CLASSIFICATION:
        raise ConfigurationError(
            f"task '{task}' is a {described.kind} task; a comparison takes one of the classification tasks, see "
            "'radimagenet info'"
        )
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"protocol '{protocol}' is unknown; expected one of {', '.join(PROTOCOLS)}")
    basis = PROTOCOLS[protocol]
    scenarios = _scenarios(basis, choices.learning_rates, choices.freeze)
    if basis.scenarios == () and (choices.epochs or choices.batch_size):
        raise ConfigurationError("--epochs and --batch_size have no meaning for the probe, which trains no encoder")
    for name in ("epochs", "image_size", "batch_size"):
        if (number := getattr(choices, name)) is not None:
            whole_number(name, number, 1)
    classes = choices.classes
    if classes is not None and not 1 < len(set(classes)) == len(classes):
        raise ConfigurationError(
            f"{len(classes)} classes were given, {', '.join(classes)}; expected two or more different names"
        )
    shares = sorted({*_numbers("fractions", choices.fractions), 1.0})
    if not (shares[0] > 0 and shares[-1] <= 1):
        raise ConfigurationError(
            f"fractions {list(choices.fractions)} were given; expected shares in (0, 1], such as 0.25,1"
        )
    folds = choices.folds
    if folds is None:
        folds = basis.folds or (5 if "5-fold" in described.split else OWN_SPLIT)
    if whole_number("folds", folds, 1) == 2:
        raise ConfigurationError(
            f"{folds} folds were given; expected 3 or more (one to test, one to validate, the rest to train), or 1 for "
            "the records' own split"
        )
    return Plan(
        task=task,
        protocol=protocol,
        initializations=tuple(_initializations(weights)),
        architectures=_architectures(choices.architectures or basis.architectures),
        scenarios=scenarios,
        folds=folds,
        fractions=tuple(shares),
        classes=tuple(map(str, classes)) if classes else described.classes,
        image_size=choices.image_size or basis.image_size or described.image_size,
        batch_size=choices.batch_size or basis.batch_size or (None if basis.scenarios == () else described.batch_size),
        epochs=choices.epochs or basis.epochs,
        seed=whole_number("seed", choices.seed, 0),
        aggregate=described.aggregate,
        records_sha256=records_sha256,
    )


def identify(plan: Plan) -> Plan:
    """The plan with the hashes of its weights; pairs that do not exist are marked.

    Raises
    ------
    ConfigurationError
        If fewer than two initializations are left for every architecture, with the reasons.
    """
    from radimagenet_monai.core.errors import RadImageNetError
    from radimagenet_monai.weights.store import identify_weights

    identities: dict[str, dict[str, Mapping[str, str]]] = {}
    unavailable = []
    for architecture in plan.architectures:
        identities[architecture] = {}
        for item in plan.initializations:
            try:
                identities[architecture][item.name] = identify_weights(architecture, item.weights)
                _require_encoder(architecture, item.weights)
            except RadImageNetError as error:
                identities[architecture].pop(item.name, None)
                unavailable.append((architecture, item.name, str(error)))
    if all(len(known) < 2 for known in identities.values()):
        reasons = "; ".join(f"{name} with {architecture}: {reason}" for architecture, name, reason in unavailable)
        raise ConfigurationError(f"nothing is left to compare: {reasons}")
    return replace(plan, identities=identities, unavailable=tuple(unavailable))


def save_plan(plan: Plan, folder: Path, command: str, source: Mapping[str, Any] | None = None) -> None:
    """Write ``comparison.json``; a folder with a comparison that differs in more than its size is rejected.

    More initializations, architectures, scenarios and fractions may be added to a comparison; finished runs are kept.

    Parameters
    ----------
    plan
        The comparison.
    folder
        Folder of the comparison.
    command
        The command as typed.
    source
        Origin of the data, from `radimagenet_monai.datasets.records.data_source.source_of_table`.

    Raises
    ------
    ConfigurationError
        If the folder holds a comparison with other data or settings.
    """
    path = folder / PLAN_FILE
    facts = json.loads(json.dumps({**plan.to_dict(), "command": command, "source": source}))
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        earlier = {}
    except ValueError:
        earlier = None
    if not isinstance(earlier, dict):
        raise ConfigurationError(f"'{path}' is no plan of a comparison; choose another --out")
    fixed = ("format", "task", "protocol", "folds", "classes", "image_size", "batch_size", "epochs", "seed")
    for name in (*fixed, "aggregate", "records_sha256"):
        if name in earlier and earlier[name] != facts[name]:
            raise ConfigurationError(
                f"'{folder}' holds a comparison with {name} {earlier[name]}, now {facts[name]} is wanted; choose "
                "another --out, or remove it"
            )
    atomic_write_text(path, json.dumps(facts, indent=2) + "\n")


def plan_from(facts: Mapping[str, Any]) -> Plan:
    """The plan that `save_plan` wrote."""
    values = {name: facts[name] for name in Plan.__dataclass_fields__}
    values["initializations"] = tuple(Initialization(**item) for item in facts["initializations"])
    values["scenarios"] = tuple(Scenario(**item) for item in facts["scenarios"])
    values["unavailable"] = tuple(tuple(item) for item in facts["unavailable"])
    for name in ("architectures", "fractions", "classes"):
        values[name] = tuple(facts[name])
    return Plan(**values)


def names(value: Any) -> list[str]:
    """A list from the command line: ``a,b``, or Fire's parsed value."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return [str(part).strip() for part in parts if str(part).strip()]


def whole_number(name: str, value: Any, least: int) -> int:
    """An option of the command line that must be a whole number.

    Raises
    ------
    ConfigurationError
        For anything else, or less than ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"--{name} {value} was given; expected a whole number, {least} or more")
    return value


def _numbers(name: str, values: Sequence[float | str]) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        raise ConfigurationError(f"--{name} {','.join(map(str, values))} was given; expected numbers") from None


def _scenarios(
    basis: Protocol, learning_rates: Sequence[float | str] | None, freeze: Sequence[str] | None
) -> tuple[Scenario, ...]:
    if learning_rates is None and freeze is None:
        return basis.scenarios
    if not basis.scenarios:
        raise ConfigurationError("--learning_rates and --freeze have no meaning for the probe")
    rates = _numbers("learning_rates", learning_rates or sorted({item.learning_rate for item in basis.scenarios}))
    policies = list(freeze or dict.fromkeys(item.freeze for item in basis.scenarios))
    if not all(0 < rate < 1 for rate in rates):
        raise ConfigurationError(f"learning rates {rates} were given; expected numbers such as 1e-3")
    known = ("none", "encoder", "all_but_last_10")
    for policy in policies:
        if policy not in known:
            raise ConfigurationError(f"freeze '{policy}' is unknown; expected one of {', '.join(known)}")
    return tuple(Scenario(policy, rate) for policy, rate in itertools.product(policies, rates))


def _architectures(wanted: Sequence[str]) -> tuple[str, ...]:
    if list(wanted) == ["all"]:
        return tuple(ARCHITECTURES)
    for name in wanted:
        if name not in ARCHITECTURES:
            raise ConfigurationError(f"architecture '{name}' is unknown; expected all, or some of {[*ARCHITECTURES]}")
    return tuple(dict.fromkeys(wanted))


def _initializations(weights: Sequence[str]) -> Iterator[Initialization]:
    seen: set[str] = set()
    if len(weights) < 2:
        raise ConfigurationError(f"{len(weights)} weights were given; a comparison needs two or more, --weights A,B")
    for text in weights:
        name, equals, value = text.partition("=")
        if not equals:
            name, value = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(text).stem).strip("-"), text
        if not _NAME.fullmatch(name) or not value:
            raise ConfigurationError(
                f"weights '{text}' were given; expected a name of weights, a path, or NAME=WEIGHTS with a name of "
                "letters, digits, _ and -"
            )
        if name in seen:
            raise ConfigurationError(f"two weights are called '{name}'; give them names: --weights first=A,second=B")
        seen.add(name)
        yield Initialization(name, str(Path(value).resolve()) if _is_path(value) else value)


def _is_path(value: str) -> bool:
    """Whether it is a path, by the rule of `find_weights`: a name of weights wins over a file or folder so named."""
    from radimagenet_monai.weights.catalogue import CATALOGUE
    from radimagenet_monai.weights.store import stored_names

    known = {*CATALOGUE, *stored_names()}
    return value not in {*known, *(name.partition(".")[2] for name in known)} and ("/" in value or Path(value).exists())


def _require_encoder(architecture: str, weights: str) -> None:
    """Raise if a path holds an encoder of another architecture, according to its file."""
    from radimagenet_monai.weights.store import find_weights, read_source

    source = find_weights(architecture, weights)
    if source.path is not None:
        read_source(source)
