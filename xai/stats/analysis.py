"""One metric under one protocol: which methods can be told apart, and from chance.

Estimands. A block is an image or, with groups, a group of images (the frames of one video), whose scores
are averaged first. Every block counts once, in the means, in their intervals and in all tests: the mean is
that of a new group, not of a new frame. `weights="images"` makes the means and their intervals those of
images instead (groups are still resampled whole); tests stay on groups.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xai.core import UsageError, derive_seed, nearest
from xai.stats.asymptotic import drawn_sums, expanded_ends, holds
from xai.stats.blocks import Blocks, Weights
from xai.stats.bootstrap import LEAST_BLOCKS, SLAB, Columns, bca_ends, resampled_sums
from xai.stats.precision import PrecisionReport, PrecisionSample
from xai.stats.ranktests import critical_difference, friedman, holm, nemenyi, rank_balance, signed_rank
from xai.stats.reference import Reference, shifted_p, single_draws
from xai.stats.results import Analysis, MethodSummary, Pair
from xai.stats.verdict import Unit


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """Scores of the same images by several methods, and how they are to be compared.

    Args:
        values: (images, methods) scores of one metric; NaN where there is none.
        methods: Names of the columns.
        groups: (images,) what each image is a frame or crop of; None: images are independent.
        higher_is_better: Direction of the metric.
        reference: The method that the verdicts compare with.
        reference_draws: (images, draws) scores of the single seeds whose mean is the reference's column.
            With two or more, the reference is tested and ranked draw by draw (see `aligned_rank`): a mean
            of draws is less skewed than its parts, so that a random method would not look random beside it.
        controls: Methods that are controls, besides the reference.
        weights: What counts once in a mean: "groups" or "images".
        precision: What lower precision did to such scores; None: they have full precision.
    """

    values: np.ndarray
    methods: Sequence[str]
    groups: Sequence[str] | np.ndarray | None = None
    higher_is_better: bool = True
    reference: str | None = "random"
    reference_draws: np.ndarray | None = None
    controls: Sequence[str] = ()
    weights: Weights = "groups"
    precision: PrecisionSample | None = None


def analyse(
    values: np.ndarray,
    methods: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    higher_is_better: bool = True,
    reference: str | None = "random",
    reference_draws: np.ndarray | None = None,
    controls: Sequence[str] = (),
    weights: Weights = "groups",
    alpha: float = 0.05,
    resamples: int = 9999,
    seed: int = 0,
    precision: PrecisionSample | None = None,
) -> Analysis:
    """Compare methods on the same images.

    Images that lack the score of a method are left out for all methods, and counted.

    Args:
        values: See `ScoredImages`, also for the others.
        methods: Names of the columns.
        groups: (images,) what each image is a frame or crop of; None: images are independent.
        higher_is_better: Direction of the metric.
        reference: The method that the verdicts compare with.
        reference_draws: (images, draws) of the single seeds whose mean is the reference's column.
        controls: Methods that are controls, besides the reference.
        weights: What counts once in a mean: "groups" or "images".
        alpha: Level of tests and intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        precision: What lower precision did to such scores; None: they have full precision.

    Raises:
        UsageError: Shapes do not fit, a name is unknown or double, or SciPy is not installed.
    """
    one = ScoredImages(
        values, methods, groups, higher_is_better, reference, reference_draws, controls, weights, precision
    )
    (analysis,) = analyse_together([one], alpha=alpha, resamples=resamples, seed=seed)
    return analysis


def analyse_together(
    tables: Iterable[ScoredImages], *, alpha: float = 0.05, resamples: int = 9999, seed: int = 0
) -> list[Analysis]:
    """What `analyse` says of each. Tables of equally many blocks share their resamples: most of the time.

    Args:
        tables: Of any images and methods.
        alpha: Level of tests and intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    if not 0 < alpha < 1 or resamples < 1:
        raise UsageError(f"alpha must lie in (0, 1) and resamples be positive, not {alpha} and {resamples}.")
    analyses: dict[int, Analysis] = {}
    sharing: dict[int, list[tuple[int, _Tested]]] = {}
    for place, table in enumerate(tables):  # one by one: each needs memory for a while
        one = _Tested(table, alpha)
        if one.asymptotic:
            rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
            analyses[place] = one.analysis(None, drawn_sums(one.balance, resamples, rng), seed)
        else:
            sharing.setdefault(one.blocks, []).append((place, one))
    for same in sharing.values():
        rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
        matrices = [matrix for _, one in same for matrix in (one.weighted, one.balance)]
        sums = resampled_sums(matrices, resamples, rng)
        for (place, one), weighted, balance in zip(same, sums[::2], sums[1::2], strict=True):
            analyses[place] = one.analysis(weighted, balance, seed)
    return [analyses[place] for place in sorted(analyses)]


class _Tested:
    """A table of scores, and all that can be said of it without the bootstrap.

    Attributes:
        blocks: That have a score of every method.
        weighted: (blocks, methods) scores times weights; where these differ, they are another column.
        balance: (blocks, methods) whole numbers that say the ranks, see `rank_balance`, summed over the draws
            of the reference; of a type in which sums over `SLAB` blocks are exact.
        asymptotic: Whether there are so many blocks that none need be drawn.
    """

    def __init__(self, table: ScoredImages, alpha: float):
        values, methods = _checked(table), len(table.methods)
        draws = _checked_draws(table, values)
        both = values if draws is None else np.concatenate([values, draws], 1)
        kept = Blocks.of(both, table.groups, table.weights)
        del both  # large
        scored = kept.scored
        self._names = names = [name for name, one in zip(table.methods, scored, strict=False) if one]
        self._left_out = tuple(name for name, one in zip(table.methods, scored, strict=False) if not one)
        self._reference = table.reference if table.reference in names else None
        extra = 0 if draws is None or self._reference is None else int(scored[methods:].sum())
        scores, per_draw = kept.values[:, : len(names)], kept.values[:, len(names) :][:, :extra]
        self._higher, self._controls, self._weights = table.higher_is_better, table.controls, table.weights
        self._precision = table.precision
        self._alpha, self.blocks = alpha, len(scores) if names else 0
        self._images, self._excluded = kept.images, kept.excluded
        self._unit: Unit = kept.unit
        self.weighted = np.empty((0, 1))
        self.balance: np.ndarray = np.empty((0, 0))
        self.asymptotic = False
        if self.blocks:
            self._test(scores, per_draw, kept.weights)

    def _test(self, scores: np.ndarray, draws: np.ndarray, weights: np.ndarray) -> None:
        names, higher = self._names, self._higher
        self._friedman, rankings = None, 0
        for one in single_draws(names, scores, draws, self._reference):
            balance = rank_balance(one, higher)
            if not rankings:
                self._friedman, self.balance = friedman(_ranks(balance, len(names))), np.zeros_like(balance)
            self.balance += balance
            rankings += 1
        exact = len(names) * rankings * 2 * SLAB < 2**24
        self.balance = self.balance.astype(np.float32 if exact else np.float64)
        self._mean_ranks = _ranks(self.balance.mean(0, dtype=float) / rankings, len(names))
        equal = (weights == 1).all()
        self.weighted = scores if equal else np.hstack([scores * weights[:, None], weights[:, None]])
        self._columns = Columns.of(scores, weights)
        self.asymptotic = bool(equal) and holds(self._columns, self.blocks)
        self._against = Reference(
            names, scores, draws, self._reference, higher, self._unit, self._alpha, self._precision
        )
        self._pairs = _pairs(
            names, scores, self._mean_ranks, self._against, 1 if higher else -1, self._alpha, self._precision
        )

    def analysis(self, weighted: np.ndarray | None, balance: np.ndarray, seed: int) -> Analysis:
        """All of it.

        Args:
            weighted: (resamples, …) resampled sums of `weighted`; None where it is asymptotic.
            balance: (resamples, methods) resampled sums of `balance`.
            seed: Of the bootstrap.
        """
        methods, means = len(self._names), None
        if weighted is not None and self.blocks:
            total = weighted[:, methods:] if weighted.shape[1] > methods else self.blocks
            means = weighted[:, :methods] / total
        return Analysis(
            methods=self._summaries(means, balance) if self.blocks else (),
            friedman=self._friedman if self.blocks else None,
            pairs=self._pairs if self.blocks else (),
            critical_difference=critical_difference(self.blocks, len(self._names), self._alpha),
            images=self._images,
            blocks=self.blocks,
            unit=self._unit,
            excluded=self._excluded,
            left_out=self._left_out,
            reference=self._reference,
            alpha=self._alpha,
            higher_is_better=self._higher,
            weights=self._weights,
            resamples=len(balance),
            seed=seed,
            precision=self._precision_report(),
            asymptotic=self.asymptotic,
        )

    def _precision_report(self) -> PrecisionReport | None:
        if self._precision is None:
            return None
        pairs = self._pairs if self.blocks else ()
        tolerances = [np.inf if pair.tolerance is None else pair.tolerance for pair in pairs]
        return self._precision.report(max(tolerances, default=np.inf), sum(pair.imprecise for pair in pairs))

    def _summaries(self, means: np.ndarray | None, balance: np.ndarray) -> tuple[MethodSummary, ...]:
        low = high = np.full(len(self._names), np.nan)  # a few blocks say too little of spread
        if means is None:
            low, high = expanded_ends(self._columns, self._alpha)
        elif self.blocks >= LEAST_BLOCKS:
            low, high = bca_ends(self._columns, means, self._alpha)
        best = balance == balance.min(1, keepdims=True)
        p_best = (best / best.sum(1, keepdims=True)).mean(0)
        if self.blocks < LEAST_BLOCKS:
            p_best = np.full(len(self._names), np.nan)
        return tuple(
            MethodSummary(
                name=name,
                control=name in self._controls or name == self._reference,
                mean=float(self._columns.mean[i]),
                low=float(low[i]),
                high=float(high[i]),
                mean_rank=float(self._mean_ranks[i]),
                p_best=float(p_best[i]),
                verdict=self._against.verdict(name),
            )
            for i, name in enumerate(self._names)
        )


def _ranks(balance: np.ndarray, methods: int) -> np.ndarray:
    """Ranks from 1 of what `rank_balance` gives, or of means of it."""
    return (methods + 1 + balance) / 2


def _pairs(
    names: Sequence[str],
    scores: np.ndarray,
    mean_ranks: np.ndarray,
    against: Reference,
    sign: int,
    alpha: float,
    precision: PrecisionSample | None,
) -> tuple[Pair, ...]:
    couples = list(combinations(range(len(names)), 2))
    if not couples:
        return ()
    columns, tests, bounds = np.ascontiguousarray(scores.T), [], []
    for i, j in couples:
        bound = 0.0 if precision is None else precision.bound(names[i], names[j], len(couples), alpha)
        bounds.append(bound)
        if names[j] == against.name:
            tests.append(against.tests[names[i]])
        elif names[i] == against.name:
            test = against.tests[names[j]]
            tests.append(test._replace(superiority=1 - test.superiority, median=0.0 - test.median))
        else:
            difference = sign * (columns[i] - columns[j])
            test = signed_rank(difference)
            if bound:
                allowed = shifted_p(lambda by, of=difference: signed_rank(of - by), test.side, bound)
                test = test._replace(allowed=allowed)
            tests.append(test._replace(median=sign * test.median + 0.0))  # no negative zero
    gaps = np.array([abs(mean_ranks[i] - mean_ranks[j]) for i, j in couples])
    adjusted = holm(np.array([test.p for test in tests]))
    lenient = holm(np.array([test.allowed for test in tests]))
    by_ranks = nemenyi(gaps, *scores.shape)
    return tuple(
        Pair(
            first=names[i],
            second=names[j],
            p=float(test.p),
            p_holm=float(adjusted[k]),
            p_nemenyi=float(by_ranks[k]),
            superiority=test.superiority,
            median_difference=test.median,
            distinguishable=bool(lenient[k] < alpha),
            imprecise=bool(adjusted[k] < alpha <= lenient[k]),
            tolerance=None if precision is None or not np.isfinite(bounds[k]) else bounds[k],
        )
        for k, ((i, j), test) in enumerate(zip(couples, tests, strict=True))
    )


def _checked(table: ScoredImages) -> np.ndarray:
    values, methods = np.asarray(table.values, np.float64), list(table.methods)
    if values.ndim != 2 or values.shape[1] != len(methods):
        raise UsageError(
            f"Scores of {len(methods)} methods must be (images, {len(methods)}), not of shape {values.shape}."
        )
    if len(set(methods)) < len(methods):
        double = next(name for name in methods if methods.count(name) > 1)
        raise UsageError(f"Two methods are named {double!r}.", "Give every row a name of its own.")
    for name in (*table.controls, *([] if table.reference is None else [table.reference])):
        if name not in methods:
            raise UsageError(f"No method is named {name!r}.", nearest(name, methods))
    return values


def _checked_draws(table: ScoredImages, values: np.ndarray) -> np.ndarray | None:
    if table.reference_draws is None:
        return None
    draws = np.asarray(table.reference_draws, np.float64)
    if table.reference is None or draws.ndim != 2 or len(draws) != len(values):
        raise UsageError(
            f"Draws of the reference must be (images, draws) for {len(values)} images and a reference, "
            f"not of shape {draws.shape}."
        )
    return draws
