"""The reference, which every method must beat: a random map, of which there may be several draws."""

from collections.abc import Callable, Sequence

import numpy as np

from xai.stats.precision import PrecisionSample
from xai.stats.ranktests import aligned_rank, holm, signed_rank, smallest_p, superiority
from xai.stats.verdict import Unit, Verdict


def single_draws(
    names: Sequence[str], scores: np.ndarray, draws: np.ndarray, reference: str | None
) -> list[np.ndarray]:
    """The scores with one draw of the reference at a time: a mean of draws ranks elsewhere than its parts."""
    if reference is None or draws.shape[1] < 2:
        return [scores]
    tables = [scores.copy() for _ in range(draws.shape[1])]
    for table, draw in zip(tables, draws.T, strict=True):
        table[:, names.index(reference)] = draw
    return tables


def _against_draws(values: np.ndarray, draws: np.ndarray, differences: np.ndarray) -> tuple[float, int]:
    """Two-sided p and side, by the weaker of two tests, each of which finds too much alone.

    Wilcoxon's test against the mean of the draws finds differences where scores are skewed, since a mean is
    less skewed than its parts; the aligned rank test finds them where a method's scores only scatter more.
    """
    p, side = aligned_rank(values, draws)
    other, lean = signed_rank(differences)
    return max(p, other), side if side == lean else 0


def shifted_p(test: Callable[[float], tuple[float, int]], side: int, bound: float) -> float:
    """The p of a test after a shift of all differences towards none; 1 where that leads to the other side.

    Args:
        test: p and side, with the differences lowered by so much.
        side: Of the test without a shift.
        bound: Size of the shift.
    """
    if not np.isfinite(bound):
        return 1.0
    p, lean = test(side * bound)
    return p if lean == side else 1.0


class Reference:
    """The comparisons of every method with the reference.

    Args:
        names: Of the methods.
        scores: (blocks, methods).
        draws: (blocks, draws) of the reference; fewer than two are not used.
        reference: Name of the reference, if there is one.
        higher_is_better: Direction of the metric.
        unit: "image" or "group".
        alpha: Level of the tests.
        precision: Scores of lower precision beside full ones; None: the scores have full precision.

    Attributes:
        tests: p before Holm's correction, the same with `precision` allowed for, and probability of
            superiority, for every other method.
    """

    def __init__(
        self,
        names: Sequence[str],
        scores: np.ndarray,
        draws: np.ndarray,
        reference: str | None,
        higher_is_better: bool,
        unit: Unit,
        alpha: float,
        precision: PrecisionSample | None = None,
    ):
        self.name = reference
        self._verdicts: dict[str, Verdict] = {}
        self.tests: dict[str, tuple[float, float, float]] = {}  # p, p allowing for precision, superiority
        if reference is None:
            return
        sign = 1 if higher_is_better else -1
        column = scores[:, list(names).index(reference)]
        single = draws if draws.shape[1] > 1 else column[:, None]
        others = [name for name in names if name != reference]
        count = max(1, len(others))

        def test(mine: np.ndarray) -> tuple[float, int]:
            if single.shape[1] > 1:
                return _against_draws(sign * mine, sign * single, sign * (mine - column))
            return signed_rank(sign * (mine - column))

        tests, allowed = [], []
        for name in others:
            mine = scores[:, list(names).index(name)]
            p, side = test(mine)
            ahead = superiority(sign * (mine[:, None] - single))
            tests.append((p, side, ahead, float(np.median(mine - column))))
            bound = 0.0 if precision is None else precision.bound(name, reference, count, alpha)
            allowed.append(p if not bound else shifted_p(lambda by, s=mine: test(s - sign * by), side, bound))
        self.tests = {
            name: (test[0], lenient, test[2])
            for name, test, lenient in zip(others, tests, allowed, strict=True)
        }
        adjusted, lenient = holm(np.array([test[0] for test in tests])), holm(np.array(allowed))
        self._verdicts = {
            name: Verdict(
                other=reference,
                p=float(p),
                side=side,
                superiority=ahead,
                difference=difference,
                blocks=len(scores),
                unit=unit,
                alpha=alpha,
                smallest_p=min(1.0, smallest_p(len(scores)) * count),
                adjusted_over=count,
                imprecise=bool(p < alpha <= other),
            )
            for name, p, other, (_, side, ahead, difference) in zip(
                others, adjusted, lenient, tests, strict=True
            )
        }

    def verdict(self, name: str) -> Verdict:
        """What the comparison of one method with the reference comes to."""
        return self._verdicts.get(name, Verdict(self.name))
