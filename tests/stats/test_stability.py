"""Agreement of maps, what it is measured against, and verdicts, on hand-made maps."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from xai.stats.stability import (
    Degraded,
    ImageStability,
    Steadiness,
    UnrelatedMaps,
    map_change,
    references,
    summarise_stability,
)


def change(spearman, name="jpeg-50", predicted="fake", probability=0.9):
    return Degraded(name, spearman, None if spearman is None else 0.5, probability, 1.0, predicted)


def image(*changes, reference=UnrelatedMaps(0.2, 0.4, 9), name="a", group=None):  # noqa: B008 - frozen
    return ImageStability(name, group or name, "fake", "fake", 0.95, 2.0, changes, reference)


def test_agreement_is_spearman_and_the_share_of_the_strongest_tenth_that_stays():
    rng = np.random.default_rng(0)
    clean = rng.random((5, 8))  # of 40 patches the strongest tenth are four
    other, moved = rng.random((5, 8)), clean.copy()
    moved[clean == np.sort(clean.ravel())[-1]] = -1  # one of the four goes to the end
    (same, reverse, found, gone, constant) = map_change(
        clean, np.stack([clean * 3 + 1, -clean, other, moved, np.ones((5, 8))])
    )
    assert same == pytest.approx((1, 1)) and reverse == pytest.approx((-1, 0))
    assert found[0] == pytest.approx(spearmanr(clean.ravel(), other.ravel()).statistic)
    assert gone[1] == 0.75 and constant == (None, None)


def test_ties_for_the_last_place_among_the_strongest_count_by_their_share():
    clean = np.zeros((1, 20))
    clean[0, :4] = 1  # two places, four patches
    after = np.zeros((1, 20))
    after[0, :2] = 1
    assert map_change(clean, after[None])[0][1] == pytest.approx(0.5)


def test_maps_are_measured_against_those_of_other_groups_only():
    rng = np.random.default_rng(1)
    maps = rng.random((8, 30))
    groups = ["a", "a", "b", "c", "d", "e", "f", "g"]
    found = references(maps, groups, np.empty((0, 30)))
    alike = [spearmanr(maps[0], maps[place]).statistic for place in range(2, 8)]
    assert found[0].maps == 6
    assert found[0].mean == pytest.approx(np.mean(alike))
    assert found[0].high == pytest.approx(np.quantile(alike, 0.95))
    assert found[2].maps == 7


def test_further_maps_count_only_where_there_are_too_few_others():
    rng = np.random.default_rng(2)
    maps, extra = rng.random((2, 30)), np.concatenate([rng.random((3, 30)), np.ones((1, 30))])
    (first, second) = references(maps, ["a", "b"], extra)
    assert (first.maps, second.maps) == (4, 4), (
        "the other image and three photographs; a constant map says nothing"
    )
    assert references(maps[:1], ["a"], np.empty((0, 30)))[0].maps == 0
    many = references(rng.random((80, 6)), [str(n) for n in range(80)], extra[:, :6])
    assert {one.maps for one in many} == {50}
    assert math.isnan(references(np.ones((6, 30)), list("abcdef"), extra)[0].mean), (
        "constant maps have no order"
    )


@pytest.mark.parametrize(
    ("spearman", "verdict"),
    [
        (1.0, Steadiness.KEPT),
        (0.61, Steadiness.KEPT),  # half-way from 0.2 to 1 is 0.6
        (0.59, Steadiness.SHIFTED),
        (0.41, Steadiness.SHIFTED),
        (0.4, Steadiness.LOST),  # as many maps of other images agree
        (-0.5, Steadiness.LOST),
        (None, Steadiness.NOT_COMPARED),
    ],
)
def test_a_map_is_placed_between_unrelated_maps_and_itself(spearman, verdict):
    one = change(spearman)
    assert image(one).verdict(one) is verdict
    assert image(one, reference=UnrelatedMaps()).verdict(one) is Steadiness.NOT_COMPARED


def test_the_worst_degradation_and_those_that_change_the_class_are_named():
    found = image(change(0.9, "mild"), change(0.5, "harsh", "real"), change(None, "none"))
    assert found.worst is Steadiness.SHIFTED and found.flips == ["harsh"]
    assert image().worst is Steadiness.NOT_COMPARED


def images(values, groups=None, **parts):
    names = [f"i{place}" for place in range(len(values))]
    groups = groups or names
    return [
        image(change(value, **parts), name=name, group=group)
        for value, name, group in zip(values, names, groups, strict=True)
    ]


def test_of_many_images_the_interval_decides():
    spread = np.linspace(-0.05, 0.05, 12)
    verdict = {mean: summarise_stability(images(mean + spread))[0].verdict for mean in (0.9, 0.6, 0.4, 0.21)}
    assert verdict == {
        0.9: Steadiness.KEPT,
        0.6: Steadiness.UNCLEAR,
        0.4: Steadiness.SHIFTED,
        0.21: Steadiness.LOST,
    }
    (found,) = summarise_stability(images(0.9 + spread, probability=0.5))
    assert found.spearman.mean == pytest.approx(0.9) and found.spearman.low < 0.9 < found.spearman.high
    assert found.place.mean == pytest.approx((0.9 - 0.2) / 0.8)
    assert found.probability.mean == pytest.approx(-0.45) and found.margin.mean == -1
    assert (found.flips, found.answered, found.images, found.blocks) == (0, 12, 12, 12)


def test_frames_of_one_video_are_one_block():
    values = np.repeat([0.9, 0.5], 6)
    (apart,), (together,) = (
        summarise_stability(images(values, groups)) for groups in (None, ["a"] * 6 + ["b"] * 6)
    )
    assert apart.blocks == 12 and together.blocks == 2
    assert together.verdict is Steadiness.TOO_FEW and together.spearman.low is None
    assert together.spearman.mean == pytest.approx(apart.spearman.mean)


def test_constant_maps_and_contrasts_leave_out_what_they_do_not_have():
    (found,) = summarise_stability(images([None] * 6, probability=float("nan"), predicted="real"))
    assert found.verdict is Steadiness.NOT_COMPARED and math.isnan(found.spearman.mean)
    assert math.isnan(found.probability.mean) and found.margin.mean == -1 and found.flips == 6
    (mixed,) = summarise_stability(images([None, *[0.9] * 6]))
    assert (mixed.images, mixed.answered, mixed.verdict) == (6, 7, Steadiness.KEPT)
    assert summarise_stability([]) == []
