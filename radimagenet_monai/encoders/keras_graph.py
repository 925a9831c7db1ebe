"""A Keras application as a graph of layers, each with the module that it becomes in our encoder.

An encoder's file defines the graph of its Keras application, if there is one, by a function ``keras_layers(graph)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LayerKind = Literal["conv", "bn", "other"]

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class KerasLayer:
    """One layer of a Keras application.

    Attributes
    ----------
    kind
        ``"conv"``, ``"bn"``, or ``"other"`` for a layer without weights.
    module
        Name of the module in our backbone that holds its weights.
    name
        Its name in Keras, or None if Keras numbers it.
    weights
        Its weights, in the order in which Keras saves them.
    inputs
        Indices of its input layers.
    folds_into
        For a convolution with a bias that our backbone does not have: the batch norm behind it.
    """

    kind: LayerKind
    module: str = ""
    name: str | None = None
    weights: tuple[str, ...] = ()
    inputs: tuple[int, ...] = ()
    folds_into: str | None = None


@dataclass
class KerasGraph:
    """The layers of a Keras application without head, in the order of construction; the first is the input."""

    layers: list[KerasLayer] = field(default_factory=lambda: [KerasLayer("other")])

    def add(self, layer: KerasLayer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def other(self, *inputs: int) -> int:
        """A layer without weights: padding, pooling, activation, sum or concatenation."""
        return self.add(KerasLayer("other", inputs=inputs))

    def conv(
        self, x: int, module: str, name: str | None = None, bias: bool = False, folds_into: str | None = None
    ) -> int:
        weights = ("kernel", "bias") if bias else ("kernel",)
        return self.add(KerasLayer("conv", module, name, weights, (x,), folds_into))

    def norm(self, x: int, module: str, name: str | None = None, gamma: bool = True) -> int:
        return self.add(KerasLayer("bn", module, name, _NORM if gamma else _NORM[1:], (x,)))

    def conv_norm_relu(self, x: int, *modules: str, name: str | None = None) -> int:
        """Convolution, batch norm without gamma and ReLU, for each of ``modules`` in turn: the Inception nets' unit."""
        for module in modules:
            x = self.conv(x, f"{module}.conv", name)
            x = self.other(self.norm(x, f"{module}.bn", name and f"{name}_bn", gamma=False))
        return x
