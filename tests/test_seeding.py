"""Seeding: independent streams for independent purposes."""

import numpy as np
import pytest
import torch

from dal_toolbox.seeding import draw_seed, generator, seed_everything, torch_generator


def test_purposes_have_independent_streams():
    draws = {
        int(generator(0, *purpose).integers(2**62))
        for purpose in [("a",), ("b",), ("a", 0), ("a", 1), ("ab",), ("a", "b"), ()]
    }
    assert len(draws) == 7


def test_stream_is_a_function_of_seed_and_purpose_alone():
    np.random.seed(1)  # noqa: NPY002
    first = generator(3, "query", 2).random(5)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, generator(3, "query", 2).random(5))


def test_torch_generator_follows_rng():
    first = torch.rand(3, generator=torch_generator(generator(0, "x")))
    assert torch.equal(first, torch.rand(3, generator=torch_generator(generator(0, "x"))))


def test_seed_everything_fixes_the_global_generators():
    seed_everything(7)
    first = (torch.rand(2), np.random.rand(2))  # noqa: NPY002
    seed_everything(7)
    assert torch.equal(first[0], torch.rand(2))
    assert np.array_equal(first[1], np.random.rand(2))  # noqa: NPY002


def test_drawn_seeds_fit_31_bits():
    assert all(0 <= draw_seed(generator(0, i)) < 2**31 for i in range(100))


@pytest.mark.parametrize("seed", [-1, 0.5, float("nan"), True, None, "3"])
@pytest.mark.parametrize("use", [generator, seed_everything])
def test_what_is_no_seed_is_refused(use, seed):
    with pytest.raises(ValueError, match=f"^seed={seed!r}: must be an integer of at least 0"):
        use(seed)


@pytest.mark.parametrize("seed", [2**31, 2**63, 2**64 + 5, 10**30])
def test_large_seeds_work(seed):
    seed_everything(seed)
    assert generator(seed).random() != generator(seed + 1).random()
