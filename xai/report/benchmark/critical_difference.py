"""The critical-difference diagram of Demšar (2006): mean ranks, and bars over what cannot be told apart."""

from collections.abc import Sequence
from itertools import combinations
from math import ceil, floor
from typing import Literal

from matplotlib.figure import Figure

from xai.report.benchmark.chart import CONTROL, NAME, SMALL, Axis, Chart, name_of, nothing_to_draw, widest
from xai.report.benchmark.words import count, plural
from xai.report.layout import GREY, INK, MARGIN
from xai.stats import Analysis, MethodSummary
from xai.stats.words import notes_of

LINE, LANE = 0.21, 0.12  # inches between names, and between bars
SCALE = 5.0  # inches of the scale
ARM = 0.25  # of a name's line beyond the end of the scale
BAR = "#0b5c9e"

Test = Literal["wilcoxon", "nemenyi"]


def draw_critical_difference(
    analysis: Analysis, title: str, *, test: Test = "wilcoxon", notes: Sequence[str] = ()
) -> Figure:
    """Methods on a scale of mean ranks, 1 = best; bars join those that the test does not tell apart.

    Args:
        analysis: Of one metric under one protocol.
        title: Stands above.
        test: "wilcoxon": signed-rank tests with Holm's correction; "nemenyi": the critical difference.
        notes: Stand below, with the analysis's own.

    Raises:
        UsageError: No method has a score.
    """
    ranked = analysis.ranked
    if not ranked:
        raise nothing_to_draw(title)
    bars = indistinct([method.name for method in ranked], analysis, test)
    half = (len(ranked) + 1) // 2
    sides = ranked[:half], ranked[half:]
    labels = [[f"{name_of(m.name)}  {m.mean_rank:.2f}" for m in side] for side in sides]
    margins = [widest(side) + ARM + 0.12 for side in labels]
    sheet = Chart(margins[0] + SCALE + max(margins[1], 0.3))
    sheet.head(title, f"Mean rank of {plural(len(ranked), 'method')} on {count(analysis)}; 1 is best.")
    axis = _axis(ranked, analysis if test == "nemenyi" else None, MARGIN + margins[0])
    if test == "nemenyi" and analysis.critical_difference is not None:
        _ruler(sheet, axis, analysis.critical_difference)
    sheet.y += 0.26
    top = sheet.y
    _scale(sheet, axis, top)
    for i, bar in enumerate(bars):
        _bar(sheet, [axis.at(ranked[place].mean_rank) for place in bar], top + 0.16 + i * LANE)
    first = top + 0.3 + len(bars) * LANE
    for side, names, left in zip(sides, labels, (True, False), strict=True):
        _names(sheet, axis, side, names, left, top, first)
    sheet.y = first + (half - 1) * LINE + 0.1
    sheet.foot([_meaning(analysis, test, bool(bars)), *notes_of(analysis), *notes])
    return sheet.finish()


def indistinct(ranked: Sequence[str], analysis: Analysis, test: Test) -> list[list[int]]:
    """The largest sets of methods of which no two are told apart, as places in the ranking; best first.

    By Nemenyi's test they are neighbours; by pairwise tests a method in between may not belong.
    """
    apart = {
        frozenset((pair.first, pair.second)): (
            pair.distinguishable if test == "wilcoxon" else pair.p_nemenyi < analysis.alpha
        )
        for pair in analysis.pairs
    }
    near: dict[int, set[int]] = {place: set() for place in range(len(ranked))}
    for i, j in combinations(range(len(ranked)), 2):
        if not apart[frozenset((ranked[i], ranked[j]))]:
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


def _axis(ranked: Sequence[MethodSummary], analysis: Analysis | None, start: float) -> Axis:
    """From the whole rank before the best to the one after the worst; the critical difference fits on it."""
    low, high = floor(ranked[0].mean_rank + 1e-9), ceil(ranked[-1].mean_rank - 1e-9)
    length = max(1, high - low)
    if analysis is not None and analysis.critical_difference is not None:
        length = max(length, ceil(analysis.critical_difference))
    return Axis(low, low + length, start, start + SCALE)


def _scale(sheet: Chart, axis: Axis, y: float) -> None:
    sheet.line([axis.start, axis.end], [y, y], INK, 1.0)
    for rank in range(int(axis.low), int(axis.high) + 1):
        sheet.line([axis.at(rank)] * 2, [y - 0.07, y], INK, 0.8)
        sheet.text(str(rank), axis.at(rank), y - 0.16, SMALL, colour=GREY)


def _ruler(sheet: Chart, axis: Axis, critical: float) -> None:
    """The critical difference, to scale."""
    sheet.y += 0.02
    shown = f"critical difference {critical:.2f}"
    end = axis.at(axis.low + critical)
    sheet.line([axis.start, end], [sheet.y + 0.06] * 2, BAR, 1.4)
    for x in (axis.start, end):
        sheet.line([x, x], [sheet.y, sheet.y + 0.12], BAR, 1.4)
    beside = end + 0.08 + widest([shown], SMALL) <= sheet.right
    x, y = (end + 0.08, sheet.y + 0.06) if beside else (axis.start, sheet.y + 0.22)
    sheet.text(shown, x, y, SMALL, align="left", colour=GREY)
    sheet.y += 0.16 if beside else 0.36


def _bar(sheet: Chart, places: Sequence[float], y: float) -> None:
    sheet.line([min(places) - 0.03, max(places) + 0.03], [y, y], BAR, 2.4, zorder=3)
    for x in places:
        sheet.dot(x, y, BAR, 4.6)


def _names(
    sheet: Chart,
    axis: Axis,
    methods: Sequence[MethodSummary],
    labels: Sequence[str],
    left: bool,
    top: float,
    first: float,
) -> None:
    """Names beside the scale, each joined to its place: the outermost place has the uppermost name."""
    end = axis.start - ARM if left else axis.end + ARM
    for i, (method, label) in enumerate(zip(methods, labels, strict=True)):
        y = first + (i if left else len(methods) - 1 - i) * LINE
        x, colour = axis.at(method.mean_rank), CONTROL if method.control else INK
        sheet.line([x, x, end], [top, y, y], colour, 0.9, linestyle=(0, (3, 2)) if method.control else "-")
        sheet.text(
            label, end + (-0.06 if left else 0.06), y, NAME, align="right" if left else "left", colour=colour
        )


def _meaning(analysis: Analysis, test: Test, joined: bool) -> str:
    if len(analysis.methods) < 2:
        return "One method alone: there is nothing to compare it with."
    rule = (
        f"Wilcoxon signed-rank tests (Pratt) with Holm's correction over all pairs, at {analysis.alpha:g}"
        if test == "wilcoxon"
        else f"Nemenyi's critical difference, at {analysis.alpha:g}"
    )
    if analysis.friedman is not None:
        rule += f"; Kendall's W = {analysis.friedman.kendall_w:.2f}"
    if not joined:
        return f"All methods are told apart from each other. {rule}. Grey, dashed: controls."
    return (
        "A bar joins methods that cannot be told apart from each other: those with a dot on it. "
        f"{rule}. Grey, dashed: controls."
    )
