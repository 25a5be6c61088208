"""The critical-difference diagram of Demšar (2006): mean ranks, and bars over what cannot be told apart."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from xai.core.language import gettext, ngettext
from xai.report.figures.description import (
    RankChart,
    RankedRow,
    controls_of,
    image_count,
    named_rows,
    nothing_to_draw,
    scored,
)
from xai.stats import Analysis
from xai.stats.words import notes_of

Test = Literal["wilcoxon", "nemenyi"]


def critical_difference_chart(
    analysis: Analysis, title: str, *, test: Test = "wilcoxon", notes: Sequence[str] = ()
) -> RankChart:
    """Methods on a scale of mean ranks, 1 = best; bars join those that the test does not tell apart.

    Args:
        analysis: Of one metric under one protocol.
        title: Stands above.
        test: "wilcoxon": signed-rank tests with Holm's correction; "nemenyi": the critical difference.
        notes: Stand below, with the analysis's own.

    Raises:
        UsageError: No method has a score.
    """
    methods = scored(analysis)
    if not methods:
        raise nothing_to_draw(title)
    named = named_rows((method.name for method in methods), controls_of(methods))
    bars = indistinct([method.name for method in methods], analysis, test)
    critical = analysis.critical_difference if test == "nemenyi" else None
    count = ngettext("{n} method", "{n} methods", len(methods))
    images = image_count(analysis)
    return RankChart(
        title=title,
        subheading=gettext("Mean rank of {methods} on {images}; 1 is best.", methods=count, images=images),
        alt=gettext(
            "Critical-difference diagram of {title}: mean ranks of {methods}; bars join those that the test "
            "does not tell apart.",
            title=title,
            methods=count,
        ),
        notes=(_meaning(analysis, test, bool(bars)), *notes_of(analysis), *notes),
        axis=gettext("mean rank, 1 is best"),
        rows=tuple(
            RankedRow(
                label=named[method.name].label,
                control=method.control,
                rank=method.mean_rank,
                number=f"{method.mean_rank:.2f}",
            )
            for method in methods
        ),
        bars=tuple(map(tuple, bars)),
        ruler=None
        if critical is None
        else (critical, gettext("critical difference {n}", n=f"{critical:.2f}")),
    )


def indistinct(ranked: Sequence[str], analysis: Analysis, test: Test) -> list[list[int]]:
    """The largest sets of methods of which no two are told apart, as places in the ranking; best first.

    By Nemenyi's test they are neighbours; by pairwise tests a method in between may not belong.
    """
    apart = {
        frozenset((pair.first, pair.second)): (
            pair.distinguishable
            if test == "wilcoxon"
            else pair.p_nemenyi < analysis.alpha and not pair.imprecise
        )
        for pair in analysis.pairs
    }
    near: dict[int, set[int]] = {place: set() for place in range(len(ranked))}
    for i, j in combinations(range(len(ranked)), 2):
        if not apart.get(frozenset((ranked[i], ranked[j])), False):
            near[i].add(j)
            near[j].add(i)
    found: list[list[int]] = []

    def grow(chosen: set[int], open_: set[int], done: set[int]) -> None:
        """Bron and Kerbosch (1973), with pivots."""
        if not open_ and not done:
            found.append(sorted(chosen))
            return
        pivot = max(open_ | done, key=lambda place: len(near[place] & open_))
        for place in sorted(open_ - near[pivot]):
            grow(chosen | {place}, open_ & near[place], done & near[place])
            open_, done = open_ - {place}, done | {place}

    grow(set(), set(near), set())
    return sorted(clique for clique in found if len(clique) > 1)


def _meaning(analysis: Analysis, test: Test, joined: bool) -> str:
    if len(analysis.methods) < 2:
        return gettext("One method alone: there is nothing to compare it with.")
    rule = (
        gettext("Wilcoxon signed-rank tests (Pratt) with Holm's correction over all pairs, at {alpha}")
        if test == "wilcoxon"
        else gettext("Nemenyi's critical difference, at {alpha}")
    ).format(alpha=f"{analysis.alpha:g}")
    if analysis.friedman is not None:
        rule = gettext("{rule}; Kendall's W = {w}", rule=rule, w=f"{analysis.friedman.kendall_w:.2f}")
    if not joined:
        return gettext("All methods are told apart from each other. {rule}. Dashed: controls.", rule=rule)
    return gettext(
        "A bar joins methods that cannot be told apart from each other: those with a dot on it. {rule}. "
        "Dashed: controls.",
        rule=rule,
    )
