"""Scores of lower precision: a bias is allowed for, scatter that averages out is not held against them."""

import json

import numpy as np
import pytest
from scipy import stats

from xai.stats import Outcome, analyse, compare_paired, from_json, phrase, to_json
from xai.stats.paired import adjust
from xai.stats.precision import PrecisionSample
from xai.stats.results import Analysis
from xai.stats.words import notes_of, precision_remark

NAMES = ("good", "near", "random")


def scores(images: int = 40, gap: float = 0.2) -> np.ndarray:
    """(images, methods): `near` is behind `good` by the gap on every image, `random` far behind."""
    rng = np.random.default_rng(0)
    good = rng.normal(5, 1, images)
    return np.stack(
        [good, good - gap + rng.normal(0, 0.02, images), good - 4 + rng.normal(0, 0.1, images)], 1
    )


def sample(bias: float = 0.0, spread: float = 0.0, images: int = 16, **more) -> PrecisionSample:
    """The error of `good` as given, that of the others none."""
    noise = np.random.default_rng(1).normal(0, 1, images)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    errors = np.zeros((images, 3))
    errors[:, 0] = bias + spread * noise
    return PrecisionSample("bfloat16", NAMES, errors, **more)


def pair(analysis: Analysis, first: str, second: str):
    return next(one for one in analysis.pairs if {one.first, one.second} == {first, second})


def test_the_bound_is_the_mean_and_its_interval() -> None:
    found = sample(0.1, 0.4).bound("good", "near", 3, 0.05)
    assert found == pytest.approx(0.1 + stats.t.ppf(1 - 0.05 / 6, 15) * 0.4 / 4)
    assert sample(-0.1, 0.4).bound("near", "good", 3, 0.05) == pytest.approx(found)


def test_what_two_methods_share_moves_neither_of_them() -> None:
    shared = sample(0.3, 0.2)
    both = PrecisionSample("bfloat16", NAMES, shared.differences[:, [0, 0, 0]])
    assert both.bound("good", "near", 1, 0.05) == 0
    assert both.bound("good", None, 1, 0.05) > 0.3


@pytest.mark.parametrize("groups", [["a"] * 16, None])
def test_one_group_or_image_bounds_nothing(groups: list[str] | None) -> None:
    few = sample(0.1, 0.1, 16, groups=groups) if groups else sample(0.1, 0.1, 2)
    few = few if groups else PrecisionSample("bfloat16", NAMES, few.differences[:1])
    assert few.bound("good", "near", 1, 0.05) == np.inf
    assert sample().bound("good", "unknown", 1, 0.05) == np.inf


def test_groups_are_averaged_first() -> None:
    errors = np.repeat(np.array([[0.1], [0.2], [0.4]]), 5, 0)
    found = PrecisionSample("bfloat16", ("good",), errors, [f"v{i // 5}" for i in range(15)])
    alone = PrecisionSample("bfloat16", ("good",), errors[::5])
    assert found.bound("good", None, 1, 0.05) == pytest.approx(alone.bound("good", None, 1, 0.05))


@pytest.mark.parametrize("higher", [True, False])
def test_a_bias_as_large_as_the_effect_holds_it_back(higher: bool) -> None:
    values = scores() if higher else -scores()
    plain = analyse(values, NAMES, higher_is_better=higher, resamples=99)
    held = analyse(values, NAMES, higher_is_better=higher, resamples=99, precision=sample(0.25, 0.01))
    slight = analyse(values, NAMES, higher_is_better=higher, resamples=99, precision=sample(0.05, 0.01))
    assert plain.precision is None
    assert pair(plain, "good", "near").distinguishable
    assert pair(held, "good", "near").imprecise
    assert not pair(held, "good", "near").distinguishable
    assert pair(slight, "good", "near").distinguishable
    assert pair(held, "good", "random").distinguishable  # a far larger effect
    assert held.precision is not None
    assert held.precision.held_back == 1
    assert held.precision.tolerance == pytest.approx(0.25, abs=0.02)
    assert held.method("good").verdict.outcome is Outcome.BETTER


def test_scatter_alone_averages_out() -> None:
    """A spread five times the effect, without bias, and many images: the bound shrinks with the root of n."""
    found = analyse(scores(), NAMES, resamples=99, precision=sample(0, 0.4, images=400))
    assert pair(found, "good", "near").distinguishable
    few = analyse(scores(), NAMES, resamples=99, precision=sample(0, 0.4, images=8))
    assert pair(few, "good", "near").imprecise


def test_without_an_error_nothing_changes() -> None:
    plain, exact = (analyse(scores(), NAMES, resamples=99, precision=one) for one in (None, sample()))
    assert [one.p_holm for one in exact.pairs] == [one.p_holm for one in plain.pairs]
    assert [one.distinguishable for one in exact.pairs] == [one.distinguishable for one in plain.pairs]
    assert all(one.tolerance == 0 for one in exact.pairs)


def test_an_error_that_is_not_measured_allows_no_verdict() -> None:
    found = analyse(
        scores(), NAMES, resamples=99, precision=PrecisionSample("bfloat16", (), np.empty((0, 0)))
    )
    assert not any(one.distinguishable for one in found.pairs)
    assert found.method("good").verdict.outcome is Outcome.IMPRECISE
    assert "in this precision" in phrase(found.method("good").verdict)
    assert any("nothing is told apart" in note for note in notes_of(found))


@pytest.mark.parametrize("draws", [2, 5])
def test_the_reference_by_its_draws_too(draws: int) -> None:
    values = scores()
    single = values[:, 2:] + np.random.default_rng(2).normal(0, 0.1, (len(values), draws))
    values[:, 2] = single.mean(1)
    found = {
        bias: analyse(values, NAMES, reference_draws=single, resamples=99, precision=sample(bias, 0.01))
        for bias in (0.5, 4.5)
    }
    assert found[0.5].method("good").verdict.outcome is Outcome.BETTER
    assert found[4.5].method("good").verdict.outcome is Outcome.IMPRECISE
    assert pair(found[4.5], "good", "random").imprecise


def test_a_false_finding_of_bias_alone_is_rare() -> None:
    """Methods that are alike in full precision, told apart by their errors: held back."""
    rng, found = np.random.default_rng(3), {"plain": 0, "allowed": 0}
    for _ in range(60):
        truth = rng.normal(5, 1, (200, 1)) + rng.normal(0, 0.02, (200, 2))
        errors = rng.normal([0.02, 0], 0.03, (200, 2))
        measured = PrecisionSample("bfloat16", ("a", "b"), errors[:16])
        for name, one in (("plain", None), ("allowed", measured)):
            result = analyse(truth + errors, ("a", "b"), reference=None, resamples=9, precision=one)
            found[name] += result.pairs[0].distinguishable
    assert found["plain"] > 40
    assert found["allowed"] <= 60 * 0.05


def test_there_and_back_as_json() -> None:
    found = analyse(scores(), NAMES, resamples=99, precision=sample(0.25, 0.01))
    content = json.loads(json.dumps(to_json(found)))
    assert content["precision"]["errors"]["good"]["bias"] == pytest.approx(0.25)
    assert to_json(from_json(Analysis, content)) == content
    assert "0.25" in precision_remark(found.precision)


def test_two_runs_within_the_error() -> None:
    values = scores()
    first, second = values[:, 0], values[:, 0] - 0.2
    plain, wide, unknown = (
        compare_paired(first, second, resamples=99, tolerance=t) for t in (0, 0.3, np.inf)
    )
    assert plain.verdict.outcome is Outcome.BETTER
    assert wide.verdict.outcome is unknown.verdict.outcome is Outcome.IMPRECISE
    assert unknown.tolerance is None
    assert [one.verdict.outcome for one in adjust([plain, wide])] == [Outcome.BETTER, Outcome.IMPRECISE]
    slight = compare_paired(first, second, resamples=99, tolerance=0.1)
    assert adjust([slight, wide])[0].verdict.outcome is Outcome.BETTER
