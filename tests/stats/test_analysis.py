"""What is said of methods whose truth is known."""

import json
import subprocess
import sys

import autorank
import numpy as np
import pandas
import pytest

from xai.core import UsageError
from xai.stats import Outcome, analyse, phrase, to_json
from xai.stats.words import notes_of

NAMES = ["planted", "twin", "noise", "random"]


def scores(images=60, seed=1, spread=1.0):
    """A better method, one like it, and one as random as the reference."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(size=(images, 1))
    return hardness + spread * rng.normal(size=(images, 4)) + [1.2, 1.2, 0, 0]


def quick(values, methods=NAMES, **options):
    return analyse(values, methods, **{"resamples": 199, **options})


def test_a_planted_method_is_found():
    analysis = analyse(scores(), NAMES)
    planted = analysis.method("planted")
    assert phrase(planted.verdict) == "better than random, p<0.001 (Holm)"
    assert planted.low < planted.mean < planted.high
    assert planted.superiority > 0.7 and planted.median_difference > 0.5
    assert analysis.method("noise").verdict.outcome is Outcome.UNCLEAR
    assert phrase(analysis.method("random").verdict) == "the reference"
    assert {summary.name for summary in analysis.ranked[:2]} == {"planted", "twin"}
    assert planted.p_best + analysis.method("twin").p_best == pytest.approx(1, abs=0.01)
    apart = {(pair.first, pair.second): pair.distinguishable for pair in analysis.pairs}
    assert apart["planted", "noise"] and not apart["planted", "twin"] and not apart["noise", "random"]
    assert not notes_of(analysis) and analysis.friedman.p < 1e-6


def test_lower_is_better_mirrors_everything():
    values = scores()
    up, down = quick(values), quick(-values, higher_is_better=False)
    for one, other in zip(up.methods, down.methods, strict=True):
        assert one.mean_rank == other.mean_rank and one.p_best == other.p_best
        assert phrase(one.verdict) == phrase(other.verdict) and one.superiority == other.superiority
        assert one.mean == pytest.approx(-other.mean) and one.p_reference == other.p_reference
    assert quick(values, higher_is_better=False).method("planted").verdict.outcome is Outcome.WORSE


@pytest.mark.parametrize("skewed", [False, True])
def test_a_random_method_is_not_distinguishable_from_one_random_reference(skewed):
    judged = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = rng.exponential(size=(80, 2)) if skewed else rng.normal(size=(80, 2))
        verdict = quick(values, ["lucky", "random"], resamples=9).method("lucky").verdict
        judged += verdict.outcome is Outcome.UNCLEAR
    assert judged >= 90


def test_a_random_method_is_not_distinguishable_from_several_skewed_draws():
    """A mean of draws is less skewed than a draw: a test against the mean would judge chance as worse."""
    against_draws = against_mean = 0
    for seed in range(100):
        draws = (np.random.default_rng(seed).random((100, 4)) < 0.1).astype(float)
        values, single = np.stack([draws[:, 0], draws[:, 1:].mean(1)], 1), draws[:, 1:]
        options = {"methods": ["lucky", "random"], "resamples": 9}
        against_mean += quick(values, **options).methods[0].verdict.outcome is Outcome.UNCLEAR
        against_draws += (
            quick(values, reference_draws=single, **options).methods[0].verdict.outcome is Outcome.UNCLEAR
        )
    assert against_draws >= 90
    assert against_mean < 80


def test_draws_of_the_reference_find_a_planted_method_and_agree_in_pairs_and_ranks():
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(60, 3))
    values = np.stack([rng.exponential(size=60) + 0.6, rng.exponential(size=60), draws.mean(1)], 1)
    analysis = quick(values, ["planted", "lucky", "random"], reference_draws=draws)
    assert analysis.method("planted").verdict.outcome is Outcome.BETTER
    pairs = {(pair.first, pair.second): pair for pair in analysis.pairs}
    assert pairs["planted", "random"].superiority == analysis.method("planted").superiority
    assert pairs["planted", "random"].superiority == pytest.approx(
        (values[:, :1] > draws).mean() + (values[:, :1] == draws).mean() / 2
    )
    ranks = [
        np.argsort(np.argsort(-np.column_stack([values[:, :2], draw]), axis=1), axis=1).mean(0) + 1
        for draw in draws.T
    ]
    assert np.allclose([m.mean_rank for m in analysis.methods], np.mean(ranks, axis=0))
    assert analysis.method("random").mean == pytest.approx(draws.mean())


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (1, "cannot be told from random: 1 image is too few (smallest possible p=1)"),
        (2, "cannot be told from random: 2 images are too few (smallest possible p=1)"),
        (5, "cannot be told from random: 5 images are too few (smallest possible p=0.19)"),
    ],
)
def test_too_few_images_are_said_to_be_too_few(images, says, recwarn):
    analysis = quick(scores(images, spread=0.01))
    assert phrase(analysis.method("planted").verdict) == says
    assert "cannot tell any two of the methods apart" in notes_of(analysis)[0]
    assert not any(pair.distinguishable for pair in analysis.pairs)
    for one in analysis.methods:
        known = images >= 5
        assert [np.isfinite(number) for number in (one.low, one.high, one.p_best)] == [known] * 3
    assert any("no intervals" in note for note in notes_of(analysis)) == (images < 5)
    json.dumps(to_json(analysis), allow_nan=False)
    assert not recwarn.list


def test_enough_images_are_enough():
    assert quick(scores(7, spread=0.001)).method("planted").verdict.outcome is Outcome.BETTER


def test_a_small_effect_is_called_small():
    rng = np.random.default_rng(0)
    difference = rng.normal(0.1, 1, 4000)
    analysis = quick(np.stack([difference, np.zeros(4000)], 1), ["slight", "random"])
    verdict = phrase(analysis.method("slight").verdict)
    assert verdict.startswith("better than random, p<0.001 (Holm), but the effect is small: better on 5")
    assert verdict.endswith(f"median {np.median(difference):+.3g}")
    assert any("look at the effects" in note for note in notes_of(analysis))


def test_constant_columns_are_ties_without_a_warning(recwarn):
    analysis = quick(np.full((20, 4), 0.1))
    assert all(summary.low == summary.mean == summary.high for summary in analysis.methods)
    assert {summary.mean_rank for summary in analysis.methods} == {2.5}
    assert [summary.p_best for summary in analysis.methods] == [0.25] * 4
    assert phrase(analysis.method("noise").verdict) == "not distinguishable from random, p=1 (Holm)"
    assert analysis.friedman.p == 1 and all(pair.p_nemenyi == 1 for pair in analysis.pairs)
    json.dumps(to_json(analysis), allow_nan=False)
    assert not recwarn.list


def test_groups_are_the_units_of_all_tests():
    """Copies of an image add nothing: 8 videos of 50 equal frames say as much as 8 images."""
    values = scores(8)
    groups = [f"video {i}" for i in range(8) for _ in range(50)]
    alone, many = quick(values), quick(values.repeat(50, 0), groups=groups)
    assert (many.images, many.blocks, many.unit) == (400, 8, "group")
    assert [p.p for p in many.pairs] == [p.p for p in alone.pairs]
    assert many.friedman == alone.friedman and many.critical_difference == alone.critical_difference
    for one, other in zip(alone.methods, many.methods, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert "400 images in 8 groups" in notes_of(many)[0]


def test_the_mean_is_that_of_groups_unless_images_are_asked_for():
    values = np.array([[1.0], [0.0], [0.0], [0.0]])
    groups = ["a", "b", "b", "b"]
    one = quick(values, ["m"], groups=groups, reference=None).methods[0]
    other = quick(values, ["m"], groups=groups, reference=None, weights="images").methods[0]
    assert (one.mean, other.mean) == (0.5, 0.25)


def test_undefined_scores_are_excluded_for_all_and_counted():
    values = np.column_stack([scores(), np.full(60, np.nan)])
    values[3, 0] = values[7, 1] = np.nan
    values[9, 2] = np.inf
    analysis = quick(values, [*NAMES, "empty"])
    same = quick(np.delete(values[:, :4], [3, 7, 9], 0))
    assert (analysis.images, analysis.excluded, analysis.left_out) == (57, 3, ("empty",))
    assert analysis.methods == same.methods and analysis.pairs == same.pairs
    assert notes_of(analysis)[0].startswith("3 images excluded") and "empty" in notes_of(analysis)[1]


@pytest.mark.parametrize("values", [np.zeros((0, 4)), np.full((5, 4), np.nan), np.eye(4)])
def test_no_complete_image_says_nothing(values, recwarn):
    values = np.where(values == 0, np.nan, values)
    analysis = quick(values)
    assert analysis.methods == () and analysis.pairs == () and analysis.friedman is None
    assert any("nothing can be said" in note for note in notes_of(analysis))
    json.dumps(to_json(analysis), allow_nan=False)
    assert not recwarn.list


def test_without_a_reference_there_are_no_verdicts():
    missing = scores()
    missing[:, 3] = np.nan
    for analysis in (quick(scores()[:, :3], NAMES[:3], reference=None), quick(missing)):
        summary = analysis.method("planted")
        assert (summary.p_reference, summary.superiority) == (None, None)
        assert phrase(summary.verdict) == "no reference to compare with"


def test_one_method_alone():
    analysis = quick(scores()[:, :1], ["only"], reference=None)
    assert analysis.pairs == () and analysis.critical_difference is None
    assert analysis.methods[0].mean_rank == analysis.methods[0].p_best == 1
    assert quick(scores()[:, 3:], ["random"]).method("random").verdict.p is None


def test_controls_and_the_reference_are_marked():
    analysis = quick(scores(), controls=["noise"])
    assert [summary.control for summary in analysis.methods] == [False, False, True, True]


def test_the_same_seed_gives_the_same_analysis():
    values = scores()
    assert quick(values, seed=3) == quick(values, seed=3)
    assert quick(values, seed=3).methods[0].low != quick(values, seed=4).methods[0].low


def test_agrees_with_autorank():
    values = scores(40)
    theirs = autorank.autorank(
        pandas.DataFrame(values, columns=NAMES), force_mode="nonparametric", verbose=False
    )
    ours = quick(values)
    assert ours.critical_difference == pytest.approx(theirs.cd, abs=1e-4)
    assert ours.friedman.p == pytest.approx(theirs.pvalue)
    for name, rank in theirs.rankdf["meanrank"].items():
        assert ours.method(name).mean_rank == pytest.approx(rank)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"values": np.zeros((5, 3))}, r"must be \(images, 4\)"),
        ({"values": np.zeros(4)}, "not of shape"),
        ({"reference": "randon"}, "Did you mean 'random'"),
        ({"controls": ["sobel"]}, "No method is named 'sobel'"),
        ({"methods": ["a", "a", "b", "random"]}, "Two methods are named 'a'"),
        ({"groups": ["a"]}, "1 groups were given for 60 images"),
        ({"weights": "frames"}, "must be 'groups' or 'images'"),
        ({"alpha": 5.0}, "alpha must lie"),
        ({"reference_draws": np.zeros((3, 2))}, "Draws of the reference"),
    ],
)
def test_wrong_input_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        quick(**{"values": scores(), **arguments})


def test_without_scipy_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name == "scipy" or name.startswith("scipy.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UsageError, match=r"pip install 'vit-xai\[bench\]'"):
        quick(scores())


def test_importing_needs_neither_scipy_nor_torch():
    code = "import sys, xai.stats; print([m for m in ('scipy', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_more_scatter_alone_is_no_verdict():
    """A smooth map that is unrelated scatters more than noise does; on average it is as good."""
    rng, found = np.random.default_rng(1), 0
    for _ in range(300):
        draws, values = rng.normal(0, 1, (60, 3)), rng.normal(0, 4, 60)
        table = np.column_stack([values, draws.mean(1)])
        analysis = analyse(table, ["smooth", "random"], reference_draws=draws, resamples=19)
        found += analysis.method("smooth").verdict.outcome is not Outcome.UNCLEAR
    assert found <= 24  # 15 expected of 300; the aligned rank test alone finds some 50
