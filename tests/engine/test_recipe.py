"""Parts of the pretraining recipe, each against an oracle: schedule, decay, loss, average of the weights."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from ignite.engine import Events
from sklearn.dummy import DummyClassifier
from tiny_training import CLASSES, TinyPictures, largest_difference, tiny_network, tiny_trainer, weights_of
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torchvision_oracle import library

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.engine.handlers.weight_average import WeightAverage, network_to_evaluate
from radimagenet_monai.engine.losses.imbalance_loss import LogitAdjustedLoss, log_class_frequencies
from radimagenet_monai.engine.schedule.learning_rate import (
    WARMUP_START,
    LearningRateSchedule,
    scaled_learning_rate,
    warmup_cosine,
)
from radimagenet_monai.engine.schedule.weight_decay import parameter_groups
from radimagenet_monai.models.classifier import build_classifier

pytestmark = pytest.mark.slow


def rates_of_a_run(epochs=6, images=40, **options):
    network = tiny_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    schedule = LearningRateSchedule(optimizer, 0.3, batch_size=8, **options)
    trainer = tiny_trainer(network, [schedule], optimizer=optimizer, max_epochs=epochs, dataset=TinyPictures(images))
    rates = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.run()
    return rates


def test_rates_are_those_of_torch_at_the_same_places():
    epochs, batches, warmup = 6, 5, 2
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    rise = LinearLR(optimizer, WARMUP_START, 1.0, total_iters=warmup * batches)
    fall = CosineAnnealingLR(optimizer, T_max=(epochs - warmup) * batches)
    oracle = SequentialLR(optimizer, [rise, fall], milestones=[warmup * batches])
    expected = []
    for _ in range(epochs * batches):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    assert rates_of_a_run(reference_batch=0, warmup_epochs=warmup) == pytest.approx(expected, rel=1e-9)


def test_rate_is_a_function_of_samples_not_of_steps():
    """37 images in batches of 8: the last, short batch moves the schedule less far."""
    rates = rates_of_a_run(epochs=2, images=37, reference_batch=0)
    shares = [(epoch * 37 + place * 8) / 74 for epoch in range(2) for place in range(5)]
    assert rates == pytest.approx([0.15 * (1 + math.cos(math.pi * share)) for share in shares], rel=1e-9)


def test_warm_up_takes_half_of_a_short_run_at_most():
    assert rates_of_a_run(epochs=2, warmup_epochs=10, reference_batch=0).index(pytest.approx(0.3)) == 5


@pytest.mark.parametrize(
    ("share", "warmup", "factor"),
    [(0.0, 0.1, 0.01), (0.05, 0.1, 0.505), (0.1, 0.1, 1.0), (0.55, 0.1, 0.5), (1.0, 0.1, 0.0), (0.0, 0.0, 1.0)],
)
def test_factor_at_given_shares(share, warmup, factor):
    assert warmup_cosine(share, warmup) == pytest.approx(factor, abs=1e-12)


def test_rate_is_scaled_by_the_square_root_of_the_batch():
    assert scaled_learning_rate(1e-3, 1024, 256) == pytest.approx(2e-3)
    assert scaled_learning_rate(1e-3, 1024, 0) == 1e-3
    assert max(rates_of_a_run(accumulate=2, reference_batch=64)) == pytest.approx(0.3 * math.sqrt(16 / 64))


def test_only_weights_are_decayed():
    network = build_classifier("densenet121", 5)
    groups = parameter_groups(network, 0.05)
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    kinds = {
        id(parameter): (type(module), name)
        for module in network.modules()
        for name, parameter in module.named_parameters(recurse=False)
    }
    assert {kinds[id(parameter)] for parameter in groups[0]["params"]} == {
        (nn.Conv2d, "weight"),
        (nn.Linear, "weight"),
    }
    assert {kinds[id(parameter)][1] for parameter in groups[1]["params"]} <= {"weight", "bias"}
    before = weights_of(network)
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = weights_of(network)
    for name, parameter in network.named_parameters():
        factor = 1 - 0.1 * 0.05 if parameter.ndim > 1 else 1.0
        assert torch.allclose(after[name], before[name] * factor), name


RECORDS = [{"label": 0}] * 90 + [{"label": 1}] * 9 + [{"label": 2}]


def test_frequencies_are_those_of_scikit_learn():
    labels = [record["label"] for record in RECORDS]
    prior = DummyClassifier(strategy="prior").fit(np.zeros((100, 1)), labels).class_prior_
    assert np.exp(log_class_frequencies(RECORDS, 3)) == pytest.approx(prior)


def test_a_class_without_records_keeps_the_loss_finite():
    loss = LogitAdjustedLoss(RECORDS, 4, tau=1.0, label_smoothing=0.1)
    assert torch.isfinite(loss(torch.zeros(2, 4), torch.tensor([0, 3])))


def test_adjustment_is_a_shift_of_the_logits_by_the_log_frequencies():
    logits, labels = torch.randn(16, 3), torch.randint(0, 3, (16,))
    for tau in (0.5, 1.0, 2.0):
        ours = LogitAdjustedLoss(RECORDS, 3, tau, 0.1)(logits, labels)
        shifted = logits + tau * torch.log(torch.tensor([0.9, 0.09, 0.01]))
        assert torch.allclose(ours, nn.CrossEntropyLoss(label_smoothing=0.1)(shifted, labels), atol=1e-6)


def test_without_adjustment_it_is_plain_cross_entropy_and_reads_no_record():
    logits, labels = torch.randn(16, 3), torch.randint(0, 3, (16,))
    loss = LogitAdjustedLoss([{"label": "unread"}], 3, 0.0, 0.1)
    assert torch.equal(loss(logits, labels), nn.CrossEntropyLoss(label_smoothing=0.1)(logits, labels))


def test_adjusted_logits_learn_the_balanced_rule():
    """One constant input: cross-entropy learns the log frequencies, the adjusted one learns equal logits."""
    learned = {}
    labels = torch.tensor([record["label"] for record in RECORDS])
    for tau in (0.0, 1.0):
        logits = torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")
        loss = LogitAdjustedLoss(RECORDS, 3, tau)

        def closure(optimizer=optimizer, loss=loss, logits=logits):
            optimizer.zero_grad()
            value = loss(logits.expand(100, 3), labels)
            value.backward()
            return value

        optimizer.step(closure)
        learned[tau] = logits.detach()
    assert torch.softmax(learned[0.0], 0).tolist() == pytest.approx([0.9, 0.09, 0.01], abs=1e-3)
    assert torch.softmax(learned[1.0], 0).tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)


@pytest.mark.parametrize(("tau", "smoothing"), [(-1, 0.1), (0, 1.0), (0, -0.1)])
def test_losses_that_make_no_sense_are_refused(tau, smoothing):
    with pytest.raises(ConfigurationError, match="logit_adjustment"):
        LogitAdjustedLoss(RECORDS, 3, tau, smoothing)


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(RecordsError, match="label 2"):
        LogitAdjustedLoss(RECORDS, 2, 1.0)


def averaged_run(decay, **options):
    network = tiny_network()
    averaged = network_to_evaluate(network, decay)
    handler = WeightAverage(network, averaged, decay)
    trainer = tiny_trainer(network, [handler], dataset=TinyPictures(40), **options)
    history = [weights_of(network)]
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: None if engine.state.gradients_pending else history.append(weights_of(network)),
    )
    trainer.run()
    return network, averaged, handler, history


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_average_is_that_of_the_formula(accumulation_steps):
    _, averaged, _, history = averaged_run(0.5, accumulation_steps=accumulation_steps)
    assert len(history) == {1: 11, 2: 7}[accumulation_steps]
    expected = history[0]
    for step, weights in enumerate(history[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in weights.items():
            floating = value.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * value if floating else value
    assert largest_difference(weights_of(averaged), expected) < 1e-6


def test_average_is_that_of_timm():
    library("torchvision")
    timm = library("timm").utils
    network = tiny_network()
    averaged = network_to_evaluate(network, 0.9)
    ours = WeightAverage(network, averaged, 0.9)
    ours.steps = 1000  # past the first steps, over which timm's decay does not rise
    theirs = timm.ModelEmaV3(network, decay=0.9)
    for _ in range(20):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update()
        theirs.update(network)
    assert largest_difference(weights_of(averaged), weights_of(theirs.module)) < 1e-5


def test_average_differs_from_the_weights_and_is_not_trained():
    network, averaged, handler, _ = averaged_run(0.9)
    assert largest_difference(weights_of(network), weights_of(averaged)) > 1e-3
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
    assert handler.steps == 10


def test_without_average_the_network_itself_is_evaluated():
    network, averaged, handler, _ = averaged_run(0.0)
    assert averaged is network
    assert handler.state_dict() == {}


def test_marks_of_an_encoder_are_copied_and_not_averaged():
    network = build_classifier("resnet50", CLASSES)
    averaged = network_to_evaluate(network, 0.999)
    handler = WeightAverage(network, averaged, 0.999)
    for _ in range(3):
        handler.update()
    whole = {name: tensor for name, tensor in network.state_dict().items() if not tensor.is_floating_point()}
    assert len(whole) > 1
    for name, tensor in whole.items():
        assert torch.equal(averaged.state_dict()[name], tensor), name


def test_average_goes_on_from_its_state():
    network, averaged, handler, _ = averaged_run(0.9)
    state = copy.deepcopy(handler.state_dict())
    other = network_to_evaluate(tiny_network(seed=3), 0.9)
    resumed = WeightAverage(network, other, 0.9)
    resumed.load_state_dict(state)
    handler.update()
    resumed.update()
    assert largest_difference(weights_of(averaged), weights_of(other)) == 0
    assert resumed.steps == handler.steps == 11


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_decays_that_make_no_sense_are_refused(decay):
    with pytest.raises(ConfigurationError, match="ema_decay"):
        WeightAverage(tiny_network(), tiny_network(), decay)
