"""torch.compile in place: the same names, the same numbers, and a training that goes on where it fails."""

from __future__ import annotations

import copy
import logging
import shutil

import pytest
import torch
from tiny_training import largest_difference, tiny_network, tiny_trainer, weights_of

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.compilation import compile_network


def trained(network):
    tiny_trainer(network, max_epochs=1).run()
    return weights_of(network)


def compiled_by(backend, monkeypatch, network):
    """``network`` as by `compile_network`, with another backend of torch.compile in place of the default."""
    whole = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, **options: whole(call, **{**options, "backend": backend}))
    return compile_network(network, "cpu", True)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.long
def test_compiled_network_trains_alike_and_keeps_its_names(monkeypatch):
    network = tiny_network()
    plain = trained(copy.deepcopy(network))
    calls = []

    def counted(graph, inputs):
        calls.append(graph)
        return graph.forward

    assert compiled_by(counted, monkeypatch, network) is network
    assert largest_difference(plain, trained(network)) < 1e-6
    assert calls
    assert not any("_orig_mod" in name for name in network.state_dict())
    assert copy.deepcopy(network)._compiled_call_impl is None  # the average of the weights is not compiled


def test_training_goes_on_where_compilation_fails(monkeypatch, caplog):
    def broken(graph, inputs):
        raise ValueError("no compiler here")

    network = tiny_network()
    plain = trained(copy.deepcopy(network))
    compiled_by(broken, monkeypatch, network)
    with caplog.at_level(logging.WARNING):
        after = trained(network)
    assert largest_difference(plain, after) == 0
    warnings = [record.message for record in caplog.records if "torch.compile" in record.message]
    assert len(warnings) == 1
    assert "no compiler here" in warnings[0]


def test_errors_of_the_batch_are_not_taken_for_those_of_the_compiler(monkeypatch):
    network = compiled_by("eager", monkeypatch, tiny_network())
    with pytest.raises(RuntimeError):
        network(torch.zeros(2, 3, 32, 32))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_inductor_itself_trains_alike():
    network = tiny_network()
    plain = trained(copy.deepcopy(network))
    assert largest_difference(plain, trained(compile_network(network, "cpu", "true"))) < 1e-5


@pytest.mark.parametrize("compiled", ["auto", False, "false"])
def test_on_the_cpu_nothing_is_compiled_unless_asked(compiled):
    assert compile_network(tiny_network(), "cpu", compiled)._compiled_call_impl is None


def test_other_words_are_refused():
    with pytest.raises(ConfigurationError, match="true, false or auto"):
        compile_network(tiny_network(), "cpu", "maybe")
