import numpy as np
import pytest

from dal_toolbox.datasets._splits import BadShare, split_off, stratified_choice
from dal_toolbox.datasets.digits import digits

TARGETS = np.random.default_rng(0).permutation([-1] * 7 + [0] * 50 + [1] * 20 + [2] * 3)


@pytest.mark.parametrize("number", [0, 1, 13, 40, 80])
def test_choice_keeps_shares(number):
    chosen = stratified_choice(TARGETS, number, np.random.default_rng(0).permutation(80))
    assert len(set(chosen.tolist())) == number
    assert (np.diff(chosen) > 0).all()
    for label in (-1, 0, 1, 2):
        exact = number * np.mean(label == TARGETS)
        assert abs((TARGETS[chosen] == label).sum() - exact) < 1


def test_choice_varies_with_the_generator():
    chosen = {
        tuple(stratified_choice(TARGETS, 20, np.random.default_rng(s).permutation(80)))
        for s in range(5)
    }
    assert len(chosen) == 5


def test_split_off_is_a_partition_and_fixed_by_seed_and_purpose():
    stays, goes = split_off(TARGETS, 0.25, 3, "val")
    assert len(goes) == 20
    assert sorted([*stays, *goes]) == list(range(80))
    assert (split_off(TARGETS, 0.25, 3, "val")[1] == goes).all()
    assert set(split_off(TARGETS, 0.25, 4, "val")[1]) != set(goes)
    assert set(split_off(TARGETS, 0.25, 3, "test")[1]) != set(goes)
    assert len(split_off(TARGETS, 0.25, 3, "val", of=40)[1]) == 10


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, 0.001, 0.999])
def test_bad_shares(share):
    with pytest.raises(BadShare, match=rf"^val_size={share}: "):
        split_off(TARGETS, share, 0, "val")


def test_digits_splits():
    bundle = digits(val_size=0.25)
    sizes = [len(bundle.train), len(bundle.val), len(bundle.test)]
    assert sum(sizes) == 1797
    assert sizes[2] == round(0.2 * 1797)
    assert bundle.test.names == digits().test.names  # validation is taken from training
    assert digits(split_seed=1).test.names != bundle.test.names
    pixels = bundle.train.images
    assert pixels.min() == 0
    assert pixels.max() == 255
