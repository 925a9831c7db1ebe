"""Epoch sampler: each sample once, in an order that is a function of seed and epoch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.loading.sampler import EpochBatches, EpochSampler, SampleKey


def drawn(epoch: int, *arguments, **options) -> list[SampleKey]:
    sampler = EpochSampler(*arguments, **options)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    return keys


def passes(
    length: int, batch_size: int, ranks: int, start: int = 0, epoch: int = 3, at_least: int = 1, **options
) -> tuple[list[list[list[int]]], list[list[float]]]:
    """Indices and loss weights of every batch of every rank, ``[rank][batch]``."""
    indices, weights = [], []
    for rank in range(ranks):
        sampler = EpochSampler(length, seed=5, num_replicas=ranks, rank=rank, **options)
        sampler.set_epoch(epoch)
        sampler.start_at(epoch, start)
        batches = EpochBatches(sampler, batch_size, at_least=at_least)
        indices.append([[key.index for key in batch] for batch in batches])
        assert len(batches) == len(indices[-1])
        weights.append([batches.weight(start, number) for number in range(len(batches))])
    return indices, weights


@st.composite
def splits(draw) -> dict:
    ranks = draw(st.integers(1, 9))
    length = draw(st.integers(ranks, 200))
    sizes = {"batch_size": draw(st.integers(1, 12)), "at_least": draw(st.integers(1, 2))}
    return {"length": length, "ranks": ranks, **sizes}


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 500), st.integers(1, 7), st.booleans())
def test_ranks_share_the_samples(length, seed, epoch, replicas, shuffle):
    replicas = min(replicas, length)
    keys = [
        key for rank in range(replicas) for key in drawn(epoch, length, shuffle, seed, num_replicas=replicas, rank=rank)
    ]
    assert sorted(key.index for key in keys) == list(range(length))
    assert {key.epoch for key in keys} == {epoch}


@settings(deadline=None)
@given(splits())
def test_each_sample_is_in_one_batch_of_one_rank_and_ranks_have_equally_many(split):
    indices, _ = passes(**split)
    assert sorted(index for rank in indices for batch in rank for index in batch) == list(range(split["length"]))
    assert len({len(rank) for rank in indices}) == 1
    for step in zip(*indices, strict=True):
        sizes = [len(batch) for batch in step]
        least = min(split["at_least"], split["batch_size"])
        assert min(sizes) >= (least if split["length"] >= least * split["ranks"] else 1)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= split["batch_size"] + least
    for step in list(zip(*indices, strict=True))[:-1]:
        assert {len(batch) for batch in step} == {split["batch_size"]}


@settings(deadline=None)
@given(splits(), st.data())
def test_the_mean_over_ranks_of_weighted_losses_is_the_mean_of_the_global_batch(split, data):
    """Also where an epoch is gone on with at any place, by any number of ranks."""
    start = data.draw(st.integers(0, split["length"]))
    indices, weights = passes(**split, start=start)
    seen = 0
    for number in range(len(indices[0])):
        share: dict[int, float] = {}
        for batches, of_rank in zip(indices, weights, strict=True):
            for index in batches[number]:
                share[index] = share.get(index, 0) + of_rank[number] / len(batches[number]) / split["ranks"]
        assert all(value == pytest.approx(1 / len(share), rel=1e-12) for value in share.values())
        seen += len(share)
    assert seen == split["length"] - start


@settings(deadline=None)
@given(splits(), st.data())
def test_used_and_left_make_up_the_order_whatever_the_number_of_ranks(split, data):
    """The first batches of one number of ranks, then another number from there: the whole epoch, nothing twice."""
    whole, _ = passes(split["length"], 1, 1)
    order = [batch[0] for batch in whole[0]]
    indices, _ = passes(**split)
    steps = data.draw(st.integers(0, len(indices[0])))
    used = [index for batches in indices for batch in batches[:steps] for index in batch]
    assert sorted(used) == sorted(order[: len(used)])
    ranks = data.draw(st.integers(1, max(1, min(9, split["length"] - len(used)))))
    rest, _ = passes(split["length"], data.draw(st.integers(1, 12)), ranks, start=len(used))
    assert sorted(index for batches in rest for batch in batches for index in batch) == sorted(order[len(used) :])


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 6), st.integers(1, 2), st.data())
def test_going_on_with_the_same_ranks_gives_the_same_batches(length, batch_size, ranks, at_least, data):
    ranks = min(ranks, length)
    indices, weights = passes(length, batch_size, ranks, at_least=at_least)
    steps = data.draw(st.integers(0, len(indices[0]) - 1))
    left, left_weights = passes(length, batch_size, ranks, start=steps * batch_size * ranks, at_least=at_least)
    assert left == [batches[steps:] for batches in indices]
    assert left_weights == [of_rank[steps:] for of_rank in weights]


@pytest.mark.parametrize(
    ("length", "batch_size", "ranks", "sizes"),
    [
        (9, 4, 1, [[4, 5]]),  # the ninth alone would be a batch of one
        (10, 4, 1, [[4, 4, 2]]),
        (1, 4, 1, [[1]]),
        (3, 1, 1, [[1, 1, 1]]),  # asked for
        (11, 4, 2, [[6], [5]]),
        (12, 4, 2, [[4, 2], [4, 2]]),
        (3, 4, 2, [[2], [1]]),
    ],
)
def test_no_process_trains_on_a_last_batch_of_one(length, batch_size, ranks, sizes):
    indices, _ = passes(length, batch_size, ranks, at_least=2)
    assert [[len(batch) for batch in batches] for batches in indices] == sizes


def test_other_epochs_start_at_their_beginning():
    sampler = EpochSampler(10, num_replicas=1, rank=0)
    sampler.start_at(2, 7)
    lengths = []
    for epoch in (1, 2, 3):
        sampler.set_epoch(epoch)
        lengths.append((len(sampler), len(list(sampler)), len(list(EpochBatches(sampler, 3)))))
    assert lengths == [(10, 10, 4), (3, 3, 1), (10, 10, 4)]


def test_a_rest_that_fills_no_global_batch_can_be_dropped():
    sampler = EpochSampler(11, num_replicas=2, rank=1)
    batches = EpochBatches(sampler, 2, drop_last=True)
    assert [len(batch) for batch in batches] == [2, 2]
    assert len(batches) == 2
    assert {batches.weight(0, number) for number in range(2)} == {1.0}


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 30), st.integers(0, 99))
def test_windows_hold_few_files_at_a_time(window, files, per_file, epoch):
    shards = np.repeat(np.arange(files) * 3, per_file)  # numbers need not be consecutive
    sampler = EpochSampler(len(shards), seed=2, shards=shards, window=window)
    order = sampler.order(epoch)
    assert sorted(order) == list(range(len(shards)))
    for first in range(0, len(shards), window * per_file):
        assert len(set(shards[order[first : first + window * per_file]])) == min(
            window, -(-(len(shards) - first) // per_file)
        )


def test_windows_shuffle_files_and_samples():
    shards = np.repeat(np.arange(12), 50)
    sampler = EpochSampler(600, seed=1, shards=shards, window=3)
    first, second = sampler.order(1), sampler.order(2)
    assert set(shards[first[:150]]) != set(shards[second[:150]])
    assert len(set(shards[first[:20]])) == 3
    assert not np.array_equal(np.sort(first[:150]), first[:150])
    assert np.array_equal(first, EpochSampler(600, seed=1, shards=shards, window=3).order(1))


def test_order_is_a_function_of_seed_and_epoch():
    first = drawn(3, 1000, seed=1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state must have no part in it
    assert drawn(3, 1000, seed=1) == first
    assert [key.index for key in drawn(4, 1000, seed=1)] != [key.index for key in first]
    assert [key.index for key in drawn(3, 1000, seed=2)] != [key.index for key in first]


def test_order_stays_what_it_was():
    """A change of these numbers would change every published run."""
    assert EpochSampler(8, seed=7).order(1).tolist() == [3, 1, 6, 2, 5, 4, 0, 7]


def test_positions_are_uniform():
    places = np.array([np.argsort(EpochSampler(10, seed=5).order(epoch)) for epoch in range(2000)])
    for sample in range(10):
        assert np.abs(np.bincount(places[:, sample], minlength=10) - 200).max() < 60


def test_ascending_without_shuffling():
    assert [key.index for key in drawn(9, range(5), shuffle=False)] == [0, 1, 2, 3, 4]


def test_global_state_is_left_alone():
    before = torch.get_rng_state()
    drawn(1, 100)
    assert torch.equal(before, torch.get_rng_state())


def test_survives_pickling():
    sampler = EpochSampler(20, seed=4)
    sampler.set_epoch(6)
    assert list(pickle.loads(pickle.dumps(sampler))) == list(sampler)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_replicas": 2, "rank": 2}, "rank 2 of 2 processes"),
        ({"seed": -1}, "seed -1"),
        ({"window": 0}, "window 0"),
        ({"shards": [0, 1]}, r"shape \(2,\)"),
        ({"shards": [0.0, 1.0, 2.0]}, "shards are float64"),
        ({"num_replicas": 4, "rank": 0}, "3 samples for 4 processes"),
    ],
)
def test_impossible_settings_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        EpochSampler(3, **options)


def test_negative_epoch_is_refused():
    with pytest.raises(ConfigurationError, match="epoch -1"):
        EpochSampler(3).set_epoch(-1)


def test_impossible_starts_and_batches_are_refused():
    with pytest.raises(ConfigurationError, match="start after 4 samples: expected 0 to 3"):
        EpochSampler(3).start_at(1, 4)
    with pytest.raises(ConfigurationError, match="batch_size 0"):
        EpochBatches(EpochSampler(3), 0)
