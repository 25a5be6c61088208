"""Means, spreads and differences of maps over groups, against formulas and SciPy."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ttest_1samp

from xai.stats.maps import (
    FEW,
    MOST,
    BlockNumbers,
    CellTotals,
    adjusted_p,
    map_distance,
    mean_difference,
    mean_of_differences,
)

RANDOM = np.random.default_rng(0)


def totals_of(values, groups, cells=None):
    totals = CellTotals(BlockNumbers())
    for i, value in enumerate(values):
        totals.add(("all",) if cells is None else cells[i], str(groups[i]), value)
    return totals


def test_mean_and_spread_are_over_images():
    values, groups = RANDOM.normal(size=(30, 4)), np.arange(30) // 3
    cells = [("fake" if i % 2 else "real",) for i in range(30)]
    totals = totals_of(values, groups, cells)
    for wanted, chosen in (("fake", values[1::2]), ("real", values[::2])):
        one = totals.of(lambda cell, wanted=wanted: cell == (wanted,))
        np.testing.assert_allclose(one.mean, chosen.mean(0))
        np.testing.assert_allclose(one.spread, chosen.std(0, ddof=1))
        assert (one.images, len(one.blocks)) == (15, 10)
    everything = totals.of()
    np.testing.assert_allclose(everything.mean, values.mean(0))
    low, high = everything.interval(999, 0.05, 0)
    assert (low < everything.mean).all() and (everything.mean < high).all()
    assert totals.of(lambda cell: False) is None


def test_what_is_held_does_not_grow_with_images_or_groups():
    totals = totals_of(np.ones((3 * MOST, 2)), range(3 * MOST))
    assert len(totals._sums) <= MOST
    one = totals.of()
    assert one.images == 3 * MOST and one.sums.shape == (MOST, 2)
    np.testing.assert_allclose(one.mean, 1)
    blocks = BlockNumbers()
    first = [blocks.of(f"video {i}") for i in range(3 * MOST)]
    assert first[:MOST] == list(range(MOST)) and first == [blocks.of(f"video {i}") for i in range(3 * MOST)]
    assert blocks.count == MOST and len(blocks._known) == MOST


def test_the_test_of_paired_differences_is_students_where_each_image_is_a_group():
    values = RANDOM.normal(0.4, 1, (25, 6))
    found = mean_of_differences(totals_of(values, range(25)).of())
    np.testing.assert_allclose(found.p, false_discovery_control(ttest_1samp(values, 0).pvalue))
    np.testing.assert_allclose(found.value, values.mean(0))
    assert mean_of_differences(totals_of(values, np.arange(25) % (FEW - 1)).of()).p is None


def test_a_difference_leaves_one_group_out_after_the_other():
    values, groups = RANDOM.normal(size=(60, 3)), np.arange(60) // 4
    fake = RANDOM.random(60) < 0.5
    values[fake, 0] += 2
    totals = totals_of(values, groups, [("fake",) if one else ("real",) for one in fake])
    first, second = (totals.of(lambda cell, name=name: cell == (name,)) for name in ("fake", "real"))
    found = mean_difference(first, second)

    def difference(kept):
        return values[fake & kept].mean(0) - values[~fake & kept].mean(0)

    without = np.stack([difference(groups != one) for one in range(15)])
    error = np.sqrt(14 / 15 * ((without - without.mean(0)) ** 2).sum(0))
    from scipy.stats import t

    raw = 2 * t.sf(np.abs(difference(groups >= 0)) / error, 14)
    np.testing.assert_allclose(found.p, false_discovery_control(raw))
    assert found.blocks == 15 and found.p[0] < 0.001


def test_a_label_of_one_group_is_not_tested():
    cells = [("fake",) if group == 0 else ("real",) for group in range(20)]
    totals = totals_of(RANDOM.normal(size=(20, 2)), range(20), cells)
    first, second = (totals.of(lambda cell, name=name: cell == (name,)) for name in ("fake", "real"))
    assert mean_difference(first, second).p is None


def test_the_same_images_differ_nowhere():
    one = totals_of(RANDOM.normal(size=(20, 3)), range(20)).of()
    assert (mean_difference(one, one).p == 1).all()


@pytest.mark.parametrize("size", [1, 2, 50])
def test_adjusted_p_is_that_of_benjamini_and_hochberg(size):
    p = RANDOM.random(size) ** 3
    np.testing.assert_allclose(adjusted_p(p), false_discovery_control(p))


def test_distances_lie_between_the_same_and_nothing_in_common():
    one, other = np.array([2.0, 2, 0, 0]), np.array([0.0, 0, 2, 2])
    assert (map_distance(one, 3 * one), map_distance(one, other), map_distance(one, -one)) == (0, 1, 1)
    assert (map_distance(one, np.ones(4)), map_distance(one, np.zeros(4))) == (0.5, 1)
