"""Rankings that agree, that are reversed, and that have nothing to do with each other."""

import json

import numpy as np
import pytest
from scipy import stats

from xai.core import UsageError
from xai.stats import metric_agreement, rank_stability, split_half, to_json
from xai.stats.agreement import tau_b

RNG = np.random.default_rng(0)
METHODS = "abcdef"


def named(values):
    return dict(zip(METHODS, map(float, values), strict=True))


@pytest.mark.parametrize("tied", [False, True])
def test_tau_equals_scipy(tied):
    first, second = RNG.normal(size=(2, 30, 8))
    if tied:
        first, second = first.round(), second.round()
    expected = [stats.kendalltau(a, b, variant="b").statistic for a, b in zip(first, second, strict=True)]
    assert np.allclose(tau_b(first, second), expected)


def test_metrics_agree_whatever_their_direction_and_scale():
    up = RNG.normal(size=6)
    agreement = metric_agreement(
        {"srg": named(up), "deletion": named(-np.exp(up)), "worst": named(-up)},
        {"srg": True, "deletion": False, "worst": True},
    )
    assert agreement.names == ("srg", "deletion", "worst")
    assert np.allclose(agreement.tau, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]])


def test_methods_that_a_metric_lacks_do_not_count():
    partly = {"a": 3.0, "b": 2.0, "c": float("nan"), "x": 9.0}
    agreement = rank_stability({"blur": named(range(6)), "mean": partly})
    assert agreement.methods == ((6, 2), (2, 3))
    assert agreement.tau[0][1] == -1


def test_a_flat_ranking_agrees_with_nothing(recwarn):
    agreement = rank_stability({"blur": named(range(6)), "flat": named([1] * 6), "none": {}})
    assert np.isnan(np.array(agreement.tau)[0, 1:]).all()
    assert json.loads(json.dumps(to_json(agreement), allow_nan=False))["tau"][0] == [1.0, None, None]
    assert not recwarn.list


def test_a_direction_that_is_not_given_is_asked_for():
    with pytest.raises(UsageError, match="direction of saco"):
        metric_agreement({"saco": named(range(6))}, {})


def test_halves_agree_on_clear_differences_and_not_on_chance():
    clear = split_half(RNG.normal(size=(60, 6)) + 3 * np.arange(6))
    assert (clear.mean, clear.low, clear.high, clear.blocks) == (1, 1, 1, 60)
    chance = [split_half(RNG.normal(size=(60, 6)), splits=50, seed=i).mean for i in range(30)]
    assert abs(np.mean(chance)) < 0.2


def test_groups_are_never_split():
    """With two groups there is one way to split, and the halves are the groups."""
    one, other = RNG.normal(size=(2, 1, 6))
    values = np.concatenate([one.repeat(10, 0), other.repeat(30, 0)])
    halves = split_half(values, groups=["a"] * 10 + ["b"] * 30)
    assert (halves.low, halves.high) == pytest.approx([tau_b(one, other)[0]] * 2)


@pytest.mark.parametrize("values", [np.zeros((1, 3)), np.zeros((10, 1)), np.zeros((10, 3)), np.zeros((0, 3))])
def test_nothing_to_split_is_no_number(values, recwarn):
    halves = split_half(values)
    assert halves.splits == 0 and to_json(halves)["mean"] is None
    assert not recwarn.list
