"""Epoch sampler: each sample once, in an order that is a function of seed and epoch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.data.sampler import EpochSampler, SampleKey
from radimagenet_monai.errors import ConfigurationError


def drawn(epoch: int, *arguments, **options) -> list[SampleKey]:
    sampler = EpochSampler(*arguments, **options)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    return keys


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 500), st.integers(1, 7), st.booleans())
def test_keep_gives_each_sample_exactly_once(length, seed, epoch, replicas, shuffle):
    keys = [
        key
        for rank in range(replicas)
        for key in drawn(epoch, length, shuffle, seed, num_replicas=replicas, rank=rank, uneven="keep")
    ]
    assert sorted(key.index for key in keys) == list(range(length))
    assert {key.epoch for key in keys} == {epoch}


@settings(deadline=None)
@given(st.integers(7, 300), st.integers(0, 2**40), st.integers(0, 500), st.integers(1, 7))
def test_drop_gives_equal_ranks_without_repeats(length, seed, epoch, replicas):
    ranks = [drawn(epoch, length, True, seed, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    assert {len(keys) for keys in ranks} == {length // replicas}
    indices = [key.index for keys in ranks for key in keys]
    assert len(set(indices)) == len(indices)


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
        ({"uneven": "pad"}, "uneven='pad'"),
        ({"num_replicas": 4, "rank": 0}, "3 samples for 4 processes"),
    ],
)
def test_impossible_settings_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        EpochSampler(3, **options)


def test_negative_epoch_is_refused():
    with pytest.raises(ConfigurationError, match="epoch -1"):
        EpochSampler(3).set_epoch(-1)
