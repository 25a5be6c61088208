"""One metric under one protocol: which methods can be told apart, and from chance.

Estimands. A block is an image or, with groups, a group of images (the frames of one video), whose scores
are averaged first. Every block counts once, in the means, in their intervals and in all tests: the mean is
that of a new group, not of a new frame. `weights="images"` makes the means and their intervals those of
images instead (groups are still resampled whole); tests stay on groups.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from xai.core import UsageError, derive_seed, nearest
from xai.stats.blocks import Blocks, Weights
from xai.stats.bootstrap import bca, resampled_means
from xai.stats.precision import PrecisionReport, PrecisionSample
from xai.stats.ranktests import (
    critical_difference,
    friedman,
    holm,
    nemenyi,
    oriented_ranks,
    signed_rank,
    superiority,
)
from xai.stats.reference import Reference, shifted_p, single_draws
from xai.stats.results import Analysis, MethodSummary, Pair


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
        alpha: Level of tests and intervals.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        precision: What lower precision did to such scores; None: they have full precision.

    Raises:
        UsageError: Shapes do not fit, a name is unknown or double, or SciPy is not installed.
    """
    values = _checked(values, methods, reference, controls, alpha, resamples)
    draws = _checked_draws(reference_draws, values, reference)
    table = values if draws is None else np.concatenate([values, draws], 1)
    blocks = Blocks.of(table, groups, weights)
    extra = 0 if draws is None else int(blocks.scored[len(methods) :].sum())
    names = [name for name, scored in zip(methods, blocks.scored, strict=False) if scored]
    left_out = tuple(name for name, scored in zip(methods, blocks.scored, strict=False) if not scored)
    if reference not in names:
        reference, extra = None, 0
    scores, per_draw = blocks.values[:, : len(names)], blocks.values[:, len(names) :][:, :extra]

    summaries: tuple[MethodSummary, ...] = ()
    pairs: tuple[Pair, ...] = ()
    omnibus = None
    if len(scores) and names:
        tables = single_draws(names, scores, per_draw, reference)
        all_ranks = [oriented_ranks(table, higher_is_better) for table in tables]
        omnibus, ranks = friedman(all_ranks[0]), np.mean(all_ranks, axis=0)
        against = Reference(
            names, scores, per_draw, reference, higher_is_better, blocks.unit, alpha, precision
        )
        pairs = _pairs(names, scores, ranks, against, 1 if higher_is_better else -1, alpha, precision)
        summaries = _summaries(
            names, scores, ranks, blocks.weights, against, controls, alpha, resamples, seed
        )
    return Analysis(
        methods=summaries,
        friedman=omnibus,
        pairs=pairs,
        critical_difference=critical_difference(len(scores), len(names), alpha),
        images=blocks.images,
        blocks=len(scores),
        unit=blocks.unit,
        excluded=blocks.excluded,
        left_out=left_out,
        reference=reference,
        alpha=alpha,
        higher_is_better=higher_is_better,
        weights=weights,
        resamples=resamples,
        seed=seed,
        precision=None if precision is None else _precision_report(precision, pairs),
    )


def _precision_report(sample: PrecisionSample, pairs: Sequence[Pair]) -> PrecisionReport:
    tolerances = [np.inf if pair.tolerance is None else pair.tolerance for pair in pairs]
    return sample.report(max(tolerances, default=np.inf), sum(pair.imprecise for pair in pairs))


def _summaries(
    names: Sequence[str],
    scores: np.ndarray,
    ranks: np.ndarray,
    weights: np.ndarray,
    against: Reference,
    controls: Sequence[str],
    alpha: float,
    resamples: int,
    seed: int,
) -> tuple[MethodSummary, ...]:
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    means = resampled_means(scores, weights, resamples, rng)
    low, high = bca(scores, weights, means, alpha)
    mean = weights @ scores / weights.sum()
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))  # the same blocks again
    mean_ranks = resampled_means(ranks, np.ones(len(ranks)), resamples, rng)
    best = mean_ranks <= mean_ranks.min(1, keepdims=True) + 1e-9
    p_best = (best / best.sum(1, keepdims=True)).mean(0)
    summaries = []
    for i, name in enumerate(names):
        summaries.append(
            MethodSummary(
                name=name,
                control=name in controls or name == against.name,
                mean=float(mean[i]),
                low=float(low[i]),
                high=float(high[i]),
                mean_rank=float(ranks[:, i].mean()),
                p_best=float(p_best[i]),
                verdict=against.verdict(name),
            )
        )
    return tuple(summaries)


def _pairs(
    names: Sequence[str],
    scores: np.ndarray,
    ranks: np.ndarray,
    against: Reference,
    sign: int,
    alpha: float,
    precision: PrecisionSample | None,
) -> tuple[Pair, ...]:
    couples = list(combinations(range(len(names)), 2))
    if not couples:
        return ()
    tests, medians, bounds = [], [], []
    for i, j in couples:
        difference = scores[:, i] - scores[:, j]
        medians.append(float(np.median(difference)))
        bound = 0.0 if precision is None else precision.bound(names[i], names[j], len(couples), alpha)
        bounds.append(bound)
        if names[j] == against.name:
            tests.append(against.tests[names[i]])
        elif names[i] == against.name:
            p, allowed, ahead = against.tests[names[j]]
            tests.append((p, allowed, 1 - ahead))
        else:
            p, side = signed_rank(sign * difference)
            shifted = sign * difference
            allowed = p if not bound else shifted_p(lambda by, s=shifted: signed_rank(s - by), side, bound)
            tests.append((p, allowed, superiority(shifted)))
    p, lenient = np.array([test[0] for test in tests]), holm(np.array([test[1] for test in tests]))
    mean_ranks = ranks.mean(0)
    gaps = np.array([abs(mean_ranks[i] - mean_ranks[j]) for i, j in couples])
    adjusted, by_ranks = holm(p), nemenyi(gaps, *ranks.shape)
    return tuple(
        Pair(
            first=names[i],
            second=names[j],
            p=float(p[k]),
            p_holm=float(adjusted[k]),
            p_nemenyi=float(by_ranks[k]),
            superiority=tests[k][2],
            median_difference=medians[k],
            distinguishable=bool(lenient[k] < alpha),
            imprecise=bool(adjusted[k] < alpha <= lenient[k]),
            tolerance=None if precision is None or not np.isfinite(bounds[k]) else bounds[k],
        )
        for k, (i, j) in enumerate(couples)
    )


def _checked(
    values: np.ndarray,
    methods: Sequence[str],
    reference: str | None,
    controls: Sequence[str],
    alpha: float,
    resamples: int,
) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] != len(methods):
        raise UsageError(
            f"Scores of {len(methods)} methods must be (images, {len(methods)}), not of shape {values.shape}."
        )
    if len(set(methods)) < len(methods):
        double = next(name for name in methods if list(methods).count(name) > 1)
        raise UsageError(f"Two methods are named {double!r}.", "Give every row a name of its own.")
    for name in (*controls, *([] if reference is None else [reference])):
        if name not in methods:
            raise UsageError(f"No method is named {name!r}.", nearest(name, methods))
    if not 0 < alpha < 1 or resamples < 1:
        raise UsageError(f"alpha must lie in (0, 1) and resamples be positive, not {alpha} and {resamples}.")
    return values


def _checked_draws(draws: np.ndarray | None, values: np.ndarray, reference: str | None) -> np.ndarray | None:
    if draws is None:
        return None
    draws = np.asarray(draws, np.float64)
    if reference is None or draws.ndim != 2 or len(draws) != len(values):
        raise UsageError(
            f"Draws of the reference must be (images, draws) for {len(values)} images and a reference, "
            f"not of shape {draws.shape}."
        )
    return draws
