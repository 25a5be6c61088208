"""The reference, which every method must beat: a random map, of which there may be several draws."""

from collections.abc import Sequence

import numpy as np

from xai.stats import words
from xai.stats.ranktests import aligned_rank, holm, signed_rank, smallest_p, superiority


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

    Attributes:
        tests: p before Holm's correction and probability of superiority, for every other method.
    """

    def __init__(
        self,
        names: Sequence[str],
        scores: np.ndarray,
        draws: np.ndarray,
        reference: str | None,
        higher_is_better: bool,
        unit: str,
        alpha: float,
    ):
        self.name, self.unit, self.alpha = reference, unit, alpha
        self._sign = 1 if higher_is_better else -1
        self._rows: dict[str, tuple[float, int, float, float]] = {}  # p, side, superiority, median difference
        self.tests: dict[str, tuple[float, float]] = {}  # p before Holm, superiority
        if reference is None:
            return
        column = scores[:, list(names).index(reference)]
        single = draws if draws.shape[1] > 1 else column[:, None]
        others = [name for name in names if name != reference]
        tests = []
        for name in others:
            mine = scores[:, list(names).index(name)]
            differences = self._sign * (mine - column)
            if single.shape[1] > 1:
                p, side = _against_draws(self._sign * mine, self._sign * single, differences)
            else:
                p, side = signed_rank(differences)
            ahead = superiority(self._sign * (mine[:, None] - single))
            tests.append((p, side, ahead, float(np.median(mine - column))))
        self.tests = {name: (test[0], test[2]) for name, test in zip(others, tests, strict=True)}
        adjusted = holm(np.array([test[0] for test in tests]))
        self._rows = {
            name: (float(p), *test[1:]) for name, p, test in zip(others, adjusted, tests, strict=True)
        }
        self._smallest = min(1.0, smallest_p(len(scores)) * max(1, len(others)))
        self._blocks = len(scores)

    def row(self, name: str) -> tuple[float | None, float | None, float | None, str]:
        """p, probability of superiority, median difference and verdict of one method."""
        if self.name is None:
            return None, None, None, "no reference to compare with"
        if name == self.name:
            return None, None, None, "the reference"
        p, side, ahead, difference = self._rows[name]
        if self._smallest > self.alpha:
            verdict = words.too_few(self.name, self._blocks, self.unit, self._smallest)
        else:
            verdict = words.compared(self.name, p, side, ahead, difference, self.unit, self.alpha)
        return p, ahead, difference, verdict
