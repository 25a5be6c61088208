"""The reference, which every method must beat: a random map, of which there may be several draws."""

from collections.abc import Sequence

import numpy as np

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
        unit: Unit,
        alpha: float,
    ):
        self.name = reference
        self._verdicts: dict[str, Verdict] = {}
        self.tests: dict[str, tuple[float, float]] = {}  # p before Holm, superiority
        if reference is None:
            return
        sign = 1 if higher_is_better else -1
        column = scores[:, list(names).index(reference)]
        single = draws if draws.shape[1] > 1 else column[:, None]
        others = [name for name in names if name != reference]
        tests = []
        for name in others:
            mine = scores[:, list(names).index(name)]
            differences = sign * (mine - column)
            if single.shape[1] > 1:
                p, side = _against_draws(sign * mine, sign * single, differences)
            else:
                p, side = signed_rank(differences)
            ahead = superiority(sign * (mine[:, None] - single))
            tests.append((p, side, ahead, float(np.median(mine - column))))
        self.tests = {name: (test[0], test[2]) for name, test in zip(others, tests, strict=True)}
        adjusted = holm(np.array([test[0] for test in tests]))
        count = max(1, len(others))
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
            )
            for name, p, (_, side, ahead, difference) in zip(others, adjusted, tests, strict=True)
        }

    def verdict(self, name: str) -> Verdict:
        """What the comparison of one method with the reference comes to."""
        return self._verdicts.get(name, Verdict(self.name))
