"""Two runs of the same images."""

import json

import numpy as np
import pytest
from scipy import stats

from xai.core import UsageError
from xai.stats import Outcome, adjust, compare_paired, phrase_comparison, to_json
from xai.stats.ranktests import holm

RNG = np.random.default_rng(0)
A = RNG.normal(size=70)


def test_equals_scipy():
    b = A - 0.3 + RNG.normal(size=70)
    ours = compare_paired(A, b, names=("new", "old"), resamples=4000)
    theirs = stats.bootstrap((A - b,), np.mean, method="BCa", n_resamples=4000, rng=RNG).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert ours.p == pytest.approx(stats.wilcoxon(A, b, zero_method="pratt", method="asymptotic").pvalue)
    assert ours.difference == pytest.approx((A - b).mean()) == pytest.approx(ours.means[0] - ours.means[1])
    assert ours.verdict.superiority == (b < A).mean() and ours.verdict.difference == pytest.approx(
        np.median(A - b)
    )


def test_verdicts():
    def verdict(a, b, **options):
        return phrase_comparison(compare_paired(a, b, names=("new", "old"), resamples=99, **options))

    assert verdict(A + 1, A) == "new: better than old, p<0.001"
    assert verdict(A + 1, A, higher_is_better=False) == "new: worse than old, p<0.001"
    assert verdict(A, A) == "new: identical to old"
    assert verdict(A, RNG.permutation(A)).startswith("new: not distinguishable from old, p=")
    assert verdict(A[:5] + 1, A[:5]).startswith("new: cannot be told from old: 5 images are too few")
    groups = [f"video {i % 5}" for i in range(70)]
    assert "5 groups are too few" in verdict(A + 1, A, groups=groups)


def test_images_with_one_score_are_excluded(recwarn):
    b = A + 0.1
    b[:4] = np.nan
    ours = compare_paired(A, b, resamples=99)
    assert (ours.images, ours.excluded) == (66, 4)
    assert ours.difference == pytest.approx(-0.1) and ours.high - ours.low < 1e-9
    json.dumps(to_json(ours), allow_nan=False)
    assert not recwarn.list


@pytest.mark.parametrize("b", [A[:-1], np.full(70, np.nan)])
def test_nothing_to_compare_is_refused(b):
    with pytest.raises(UsageError):
        compare_paired(A, b)


def test_many_comparisons_are_corrected_in_p_and_in_words():
    series = [compare_paired(A, A - shift + 0.4 * np.random.default_rng(i).normal(size=70), resamples=99)
              for i, shift in enumerate((0.14, 0.0, 0.0, 1.0))]  # fmt: skip
    adjusted = adjust(series)
    assert np.allclose([one.p for one in adjusted], holm(np.array([one.p for one in series])))
    assert adjusted[0].verdict.adjusted_over == 4
    assert phrase_comparison(adjusted[3]) == "A: better than B, p<0.001 (Holm)"
    weak = [one for one, other in zip(series, adjusted, strict=True) if one.p < 0.05 <= other.p]
    assert weak and all(adjusted[series.index(one)].verdict.outcome is Outcome.UNCLEAR for one in weak)
