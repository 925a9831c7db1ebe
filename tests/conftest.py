"""Keeps parallel test processes from each other's cores, and fixes what is drawn."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, and for the bundle runs that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# `make test` draws the same examples each time, so that it fails for a change and not by chance;
# `make test-search` draws new ones, and more, which is how the rare ones are found.
# No deadlines: the machine may be busy.
hypothesis.settings.register_profile("fixed", derandomize=True, max_examples=25, deadline=None)
hypothesis.settings.register_profile("search", print_blob=True, max_examples=200, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="of the tests marked `learns`, which hold for any")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of slow tests alone are not even imported where slow tests are not asked for: that takes half a minute."""
    if "not slow" not in config.getoption("markexpr") or collection_path.suffix != ".py":
        return None
    return True if "\npytestmark = pytest.mark.slow\n" in collection_path.read_text(encoding="utf-8") else None


# The rooms whose files take longest, so that at the end no process is left alone with one of them.
LONGEST_FIRST = ("commands", "bundles", "weights", "models", "comparison", "explain", "encoders", "store", "datasets")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {room: number for number, room in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.fixture
def forked_pools() -> Iterator[None]:
    """Pools whose processes start at once, see `forks`."""
    import forks

    with forks.forked_pools():
        yield


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Seed of data, weights and training in a test of what a network has learnt: ``make test-seeds`` tries ten."""
    return int(request.config.getoption("--seed"))
