"""Mean curves of images that arrive a few at a time."""

import numpy as np
import pytest

from xai.stats import asymptotic, mean_curve
from xai.stats.curves import Draws, MeanCurves

POINTS = 4


def averaged(curves: np.ndarray, groups: np.ndarray | None, order: np.ndarray, each: int, resamples: int):
    """Bands of curves that arrive in an order, so many at a time."""
    averages = MeanCurves(Draws(len(curves), groups, resamples=resamples, seed=0), curves.shape[1])
    for start in range(0, len(order), each):
        images = order[start : start + each]
        averages.add(images, curves[images])
    return averages.bands(0.05)


@pytest.mark.parametrize("each", [1, 7, 60])
@pytest.mark.parametrize("grouped", [False, True])
def test_scattered_groups_give_what_all_at_once_give(each, grouped):
    rng = np.random.default_rng(0)
    curves = 1000 + rng.gamma(1, 1, (60, POINTS))
    groups = rng.integers(0, 11, 60) if grouped else None  # of several sizes, never one after the other
    whole = mean_curve(curves, range(POINTS), groups=groups, resamples=300)
    found = averaged(curves, groups, rng.permutation(60), each, 300)
    assert found is not None
    for mine, theirs in zip(found, (whole.mean, whole.low, whole.high), strict=True):
        assert mine == pytest.approx(np.array(theirs), rel=1e-10)


def test_without_draws_the_expansion_or_nothing(monkeypatch):
    monkeypatch.setattr(asymptotic, "LARGE", 3000)
    rng = np.random.default_rng(0)
    curves = rng.random((3000, POINTS)) ** 2  # skewed, none large
    order = np.arange(3000)
    drawn, found = (averaged(curves, None, order, 256, resamples) for resamples in (2000, 0))
    assert drawn is not None and found is not None
    error = curves.std(0) / np.sqrt(3000)
    assert found[0] == pytest.approx(drawn[0], rel=1e-12)
    for mine, theirs in zip(found[1:], drawn[1:], strict=True):
        assert (np.abs(mine - theirs) > 0).all() and (np.abs(mine - theirs) < 0.3 * error).all()
    curves[5, 2] = 1e4  # one image decides this point
    assert averaged(curves, None, order, 256, 0) is None
    again = averaged(curves, None, order, 256, 200)
    assert again is not None and np.isfinite(again).all()
