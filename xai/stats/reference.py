"""The reference, which every method must beat: a random map, of which there may be several draws."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from xai.stats.precision import PrecisionSample
from xai.stats.ranktests import PairedTest, aligned_rank, holm, signed_rank, smallest_p, superiority
from xai.stats.verdict import Unit, Verdict


def single_draws(
    names: Sequence[str], scores: np.ndarray, draws: np.ndarray, reference: str | None
) -> Iterator[np.ndarray]:
    """The scores with one draw of the reference at a time: a mean of draws ranks elsewhere than its parts."""
    if reference is None or draws.shape[1] < 2:
        yield scores
        return
    table = scores.copy()
    for draw in draws.T:
        table[:, names.index(reference)] = draw
        yield table


def shifted_p(test: Callable[[float], PairedTest], side: int, bound: float) -> float:
    """The p of a test after a shift of all differences towards none; 1 where that leads to the other side.

    Args:
        test: Of the differences lowered by so much.
        side: Of the test without a shift.
        bound: Size of the shift.
    """
    if not np.isfinite(bound):
        return 1.0
    shifted = test(side * bound)
    return shifted.p if shifted.side == side else 1.0


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
        tests: For every other method, p before Holm's correction.
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
        self.tests: dict[str, PairedTest] = {}
        if reference is None:
            return
        sign = 1 if higher_is_better else -1
        column = np.ascontiguousarray(scores[:, list(names).index(reference)])
        count = max(1, len(names) - 1)

        def test(mine: np.ndarray) -> PairedTest:
            found = signed_rank(sign * (mine - column))
            return found if draws.shape[1] < 2 else _beside_draws(found, sign * mine, sign * draws)

        for name, mine in zip(names, scores.T, strict=True):
            if name != reference:
                found = test(mine)
                bound = 0.0 if precision is None else precision.bound(name, reference, count, alpha)
                if bound:
                    allowed = shifted_p(lambda by, of=mine: test(of - sign * by), found.side, bound)
                    found = found._replace(allowed=allowed)
                self.tests[name] = found._replace(median=sign * found.median + 0.0)  # no negative zero
        adjusted = holm(np.array([one.p for one in self.tests.values()]))
        lenient = holm(np.array([one.allowed for one in self.tests.values()]))
        self._verdicts = {
            name: Verdict(
                other=reference,
                p=float(p),
                side=one.side,
                superiority=one.superiority,
                difference=one.median,
                blocks=len(scores),
                unit=unit,
                alpha=alpha,
                smallest_p=min(1.0, smallest_p(len(scores)) * count),
                adjusted_over=count,
                imprecise=bool(p < alpha <= allowed),
            )
            for (name, one), p, allowed in zip(self.tests.items(), adjusted, lenient, strict=True)
        }

    def verdict(self, name: str) -> Verdict:
        """What the comparison of one method with the reference comes to."""
        return self._verdicts.get(name, Verdict(self.name))


def _beside_draws(test: PairedTest, values: np.ndarray, draws: np.ndarray) -> PairedTest:
    """The weaker of two tests, each of which finds too much alone.

    Wilcoxon's test against the mean of the draws finds differences where scores are skewed, since a mean is
    less skewed than its parts; the aligned rank test finds them where a method's scores only scatter more.
    """
    p, side = aligned_rank(values, draws)
    weaker, agreed = max(p, test.p), side if side == test.side else 0
    return PairedTest(weaker, agreed, superiority(values[:, None] - draws), test.median, weaker)
