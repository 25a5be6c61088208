"""Results of the statistics, as numbers; `xai.stats.words` has the sentences, `xai.stats.serial` the JSON."""

from dataclasses import dataclass

from xai.stats.precision import PrecisionReport
from xai.stats.verdict import Unit, Verdict

LEADING = 8
"""Methods that compact tables show, beside all controls."""


@dataclass(frozen=True)
class MethodSummary:
    """What can be said of one method under one metric and protocol.

    Args:
        name: Row name of the method.
        control: Whether it is a control, which a method must beat.
        mean: Of the metric, in its own units.
        low: Lower end of the BCa bootstrap interval of the mean; NaN of fewer than `LEAST_BLOCKS` blocks.
        high: Upper end; likewise.
        mean_rank: Over the blocks, 1 = best; ties share their ranks.
        p_best: Share of bootstrap resamples in which its mean rank is the best; ties share;
            NaN where there is no interval.
        verdict: Its comparison with the reference.
    """

    name: str
    control: bool
    mean: float
    low: float
    high: float
    mean_rank: float
    p_best: float
    verdict: Verdict

    @property
    def p_reference(self) -> float | None:
        """Two-sided p against the reference, Holm-adjusted over all methods; None without one."""
        return self.verdict.p

    @property
    def superiority(self) -> float | None:
        """Share of blocks on which it is better than the reference; ties count half."""
        return self.verdict.superiority

    @property
    def median_difference(self) -> float | None:
        """Median over blocks of its score minus the reference's, in the metric's units."""
        return self.verdict.difference


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of whether any two methods differ, corrected for ties.

    Args:
        statistic: Chi-squared with (methods − 1) degrees of freedom.
        p: Of the hypothesis that all methods are alike.
        kendall_w: Agreement of the blocks on the ranking, 0 (none) to 1 (all the same).
    """

    statistic: float
    p: float
    kendall_w: float


@dataclass(frozen=True)
class Pair:
    """Two methods compared on the same blocks.

    Args:
        first: Row name.
        second: Row name.
        p: Wilcoxon's signed-rank test, zeros by Pratt's rule, two-sided; the aligned rank test with a
            reference whose draws are known.
        p_holm: The same, Holm-adjusted over all pairs.
        p_nemenyi: Nemenyi's test on the mean ranks, which corrects for all pairs itself.
        superiority: Share of blocks on which `first` is better; ties count half.
        median_difference: Median over blocks of `first` − `second`, in the metric's units.
        distinguishable: `p_holm` is under alpha, and not `imprecise`.
        imprecise: The precision of the scores could explain what the test finds.
        tolerance: Shift that the precision could have caused; None: full precision, or not known.
    """

    first: str
    second: str
    p: float
    p_holm: float
    p_nemenyi: float
    superiority: float
    median_difference: float
    distinguishable: bool
    imprecise: bool = False
    tolerance: float | None = None


@dataclass(frozen=True)
class Analysis:
    """All that one metric says about the methods under one protocol.

    Args:
        methods: In the order given; those without any score are in `left_out`.
        friedman: None with fewer than three methods or two blocks.
        pairs: Every pair, in the order of the methods.
        critical_difference: Of mean ranks, by Nemenyi; None with fewer than two methods or blocks.
        images: That have a score of every method.
        blocks: Independent units: images, or groups of them.
        unit: "image" or "group".
        excluded: Images without a score of some method.
        left_out: Methods without any score.
        reference: Row name of the reference, if there is one.
        alpha: Level of tests and intervals.
        higher_is_better: Direction of the metric.
        weights: What counts once in a mean: "groups" or "images".
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        precision: What lower precision did to the scores; None: they have full precision.
        asymptotic: Whether no blocks were drawn, as there are so many: see `xai.stats.asymptotic`.
    """

    methods: tuple[MethodSummary, ...]
    friedman: Friedman | None
    pairs: tuple[Pair, ...]
    critical_difference: float | None
    images: int
    blocks: int
    unit: Unit
    excluded: int
    left_out: tuple[str, ...]
    reference: str | None
    alpha: float
    higher_is_better: bool
    weights: str
    resamples: int
    seed: int
    precision: PrecisionReport | None = None
    asymptotic: bool = False

    def method(self, name: str) -> MethodSummary:
        """The summary of one method."""
        return next(summary for summary in self.methods if summary.name == name)

    @property
    def ranked(self) -> tuple[MethodSummary, ...]:
        """The methods, best mean rank first."""
        return tuple(sorted(self.methods, key=lambda summary: summary.mean_rank))

    @property
    def leading(self) -> tuple[MethodSummary, ...]:
        """The first `LEADING` methods and all controls, best mean rank first."""
        first = [one.name for one in self.ranked if not one.control][:LEADING]
        return tuple(one for one in self.ranked if one.control or one.name in first)


@dataclass(frozen=True)
class Comparison:
    """Two series of scores of the same images, such as one method in two runs.

    Args:
        names: Of the two.
        means: Of the two.
        difference: Mean of first − second.
        low: Lower end of its BCa bootstrap interval; NaN of fewer than `LEAST_BLOCKS` blocks.
        high: Upper end; likewise.
        images: With both scores.
        excluded: Images without one of the scores.
        verdict: Of the first beside the second, by Wilcoxon's signed-rank test, zeros by Pratt's rule; p is
            Holm's after `adjust`.
        tolerance: Shift that the precision of the scores could have caused; 0: full precision, None: any.
        p_allowed: p of the same test with that allowed for, not adjusted; None: nothing to allow for.
    """

    names: tuple[str, str]
    means: tuple[float, float]
    difference: float
    low: float
    high: float
    images: int
    excluded: int
    verdict: Verdict
    tolerance: float | None = 0.0
    p_allowed: float | None = None

    @property
    def p(self) -> float:
        """Two-sided p of the test, adjusted as the verdict says."""
        return 1.0 if self.verdict.p is None else self.verdict.p

    @property
    def identical(self) -> bool:
        """Whether all scores are equal."""
        return self.verdict.identical


@dataclass(frozen=True)
class Agreement:
    """How far several rankings of the same methods agree: 1 the same, 0 unrelated, −1 reversed.

    Args:
        names: Of the rankings (operators, protocols or metrics).
        tau: (rankings, rankings) Kendall's tau-b; NaN where a ranking is flat or has one method.
        methods: (rankings, rankings) number of methods that each pair shares.
    """

    names: tuple[str, ...]
    tau: tuple[tuple[float, ...], ...]
    methods: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SplitHalf:
    """Whether one half of the images ranks the methods as the other half does.

    Args:
        mean: Kendall's tau-b between the halves, averaged over random splits.
        low: Lower end of the interval that holds 1 − alpha of the splits.
        high: Upper end.
        splits: Number of splits.
        blocks: Images, or groups of them, that were split.
    """

    mean: float
    low: float
    high: float
    splits: int
    blocks: int
