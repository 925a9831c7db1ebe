"""The sets of weights this version knows, and how a name is resolved to one. Imports no torch."""

from __future__ import annotations

from radimagenet_monai.errors import ConfigurationError
from radimagenet_monai.networks.architectures import ARCHITECTURES, get_architecture
from radimagenet_monai.weights.spec import InputConvention, NetworkVariant, WeightSpec

# A network that starts from nothing has no convention to keep; [-1, 1] is centred and symmetric.
_CENTRED = InputConvention("RGB", 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

CATALOGUE: dict[str, WeightSpec] = {
    spec.name: spec
    for spec in (
        WeightSpec(
            architecture=name,
            tag="random",
            origin="random initialization (He et al. 2015 for convolutions), drawn from the run's seed",
            licence="none needed",
            convention=_CENTRED,
            variant=NetworkVariant(),
        )
        for name in ARCHITECTURES
    )
}


def resolve_weights(architecture: str, weights: str) -> WeightSpec:
    """The specification of ``weights`` for ``architecture``.

    Parameters
    ----------
    architecture
        A name of `ARCHITECTURES`.
    weights
        A tag such as ``"random"``, or a full name such as ``"resnet50.random"``.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or weight name, or a full name of another architecture.
    """
    get_architecture(architecture)
    name = str(weights)
    if name in CATALOGUE:
        spec = CATALOGUE[name]
        if spec.architecture != architecture:
            raise ConfigurationError(
                f"weights {name!r} are of {spec.architecture}, but the architecture is {architecture!r}; "
                f"give --architecture {spec.architecture} or other weights"
            )
        return spec
    spec_or_none = CATALOGUE.get(f"{architecture}.{name}")
    if spec_or_none is None:
        known = ", ".join(spec.tag for spec in CATALOGUE.values() if spec.architecture == architecture)
        raise ConfigurationError(f"unknown weights {name!r} for {architecture}; known: {known}")
    return spec_or_none
