"""What the figures of a benchmark show, before anything is drawn: every renderer shows this and nothing else.

Sentences, names, numbers as text, order, colours and marks are decided here, once; sizes and fonts are the
renderer's. A colour is a key of `PALETTE`, so that a page's theme can change it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite

from xai.core import UsageError
from xai.core.errors import printable
from xai.core.language import gettext, ngettext
from xai.report.text import shorten
from xai.stats import Analysis, MethodSummary, Outcome

# of curves, searched for: 20 or more apart in CIELAB with each colour blindness, contrast of 3 to white
CURVES = {
    str(i): colour
    for i, colour in enumerate(
        ("#055997", "#c14405", "#2f97ac", "#6d1a44", "#9759eb", "#c1826d", "#5905eb", "#6d0505"), 1
    )
}
CONTROLS = {"control-1": "#737373", "control-2": "#9a9a9a", "control-3": "#4d4d4d"}
PALETTE = (
    CURVES
    | CONTROLS
    | {"better": "#0b5c9e", "worse": "#b34700", "unclear": "#737373"}
    | {"joined": "#0b5c9e", "same": "#0b5c9e", "reversed": "#b34700"}
)

Details = tuple[tuple[str, str], ...]  # (what, value), as they stand beside the pointer


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What all figures have.

    Args:
        title: Stands above.
        subheading: Stands under the title.
        alt: The figure in a sentence, for those who do not see it.
        notes: Sentences that stand below.
    """

    title: str
    subheading: str
    alt: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedRow:
    """The name of a method, unlike all others in its figure; controls are marked in it."""

    label: str
    control: bool


@dataclass(frozen=True)
class LegendEntry:
    """A colour (a key of `PALETTE`) and what it means; controls have squares."""

    label: str
    colour: str
    square: bool = False


@dataclass(frozen=True, kw_only=True)
class MeanInterval(NamedRow):
    """One method's mean and interval, as numbers and as text, with its verdict.

    Args:
        mean: Of the metric.
        low: Lower end of the interval; the mean where it is unknown.
        high: Upper end.
        number: The mean as text.
        interval: The ends as text.
        outcome: Of the comparison with the reference.
        verdict: The same in words.
        colour: Says the outcome.
    """

    mean: float
    low: float
    high: float
    number: str
    interval: str
    outcome: Outcome
    verdict: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class IntervalChart(Chart):
    """A forest plot: means with intervals from best to worst, and the reference's behind them.

    Args:
        axis: What runs along.
        rows: From the top.
        reference: (low, mean, high) of the reference, if there is one.
        legend: Of the colours and marks that occur.
    """

    axis: str
    rows: tuple[MeanInterval, ...]
    reference: tuple[float, float, float] | None
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True)
class CurvePoint:
    """A point of a mean curve, as numbers and as text; the ends are the mean where they are unknown."""

    share: float
    mean: float
    low: float
    high: float
    position: str
    number: str
    interval: str


@dataclass(frozen=True, kw_only=True)
class MeanCurve(NamedRow):
    """One curve with its band.

    Args:
        points: From left to right, those whose mean is known.
        height: Mean height as text.
        colour: Of the line and the band.
        dash: Drawn and left out in turn; empty for a solid line.
        marker: As matplotlib names it; empty for none.
    """

    points: tuple[CurvePoint, ...]
    height: str
    colour: str
    dash: tuple[float, ...]
    marker: str


@dataclass(frozen=True, kw_only=True)
class CurveChart(Chart):
    """Mean curves on one plot.

    Args:
        along: What runs along, as a share.
        up: What runs up.
        curves: The highest first, which is the order of the legend.
        height: Heading of their mean heights.
    """

    along: str
    up: str
    curves: tuple[MeanCurve, ...]
    height: str


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """One cell.

    Args:
        row: Place of its row.
        column: Place of its column.
        value: The number it shows; None where there is none.
        text: Stands in it.
        detail: Stands smaller below.
        fill: −1 to 1: how strong its colour is, blue over 0 and orange under it; None for a neutral grey.
        details: Stand beside the pointer.
    """

    row: int
    column: int
    value: float | None
    text: str
    detail: str = ""
    fill: float | None
    details: Details


@dataclass(frozen=True, kw_only=True)
class MatrixChart(Chart):
    """A matrix of coloured cells with their numbers; a place without a cell is empty.

    Args:
        rows: From the top.
        columns: (name, remark) from the left.
        cells: In any order.
        scale: What the colours from −1 to 1 mean; empty for no colour bar.
    """

    rows: tuple[NamedRow, ...]
    columns: tuple[tuple[str, str], ...]
    cells: tuple[MatrixCell, ...]
    scale: str = ""


@dataclass(frozen=True, kw_only=True)
class RankedRow(NamedRow):
    """One method's mean rank, as a number and as text."""

    rank: float
    number: str


@dataclass(frozen=True, kw_only=True)
class RankChart(Chart):
    """A critical-difference diagram (Demšar 2006): mean ranks, and bars over what cannot be told apart.

    Args:
        axis: What runs along.
        rows: Best mean rank first.
        bars: Places of the rows that each bar joins.
        ruler: The critical difference and its name, if the test goes by it.
    """

    axis: str
    rows: tuple[RankedRow, ...]
    bars: tuple[tuple[int, ...], ...]
    ruler: tuple[float, str] | None

    @property
    def limits(self) -> tuple[int, int]:
        """From the whole rank before the best to the one after the worst; the ruler fits in."""
        low, high = floor(self.rows[0].rank + 1e-9), ceil(self.rows[-1].rank - 1e-9)
        return low, low + max(1, high - low, ceil(self.ruler[0]) if self.ruler else 0)

    @property
    def lanes(self) -> int:
        """Names on the fuller side."""
        return (len(self.rows) + 1) // 2

    def side(self, place: int) -> tuple[bool, int, str]:
        """Where a row is named: whether on the left, in which lane from the top, and its label with its rank.

        The better half stands on the left, the best above; on the right the worst stands above.
        """
        row = self.rows[place]
        if place < self.lanes:
            return True, place, f"{row.label}  {row.number}"
        return False, len(self.rows) - 1 - place, f"{row.number}  {row.label}"


def nothing_to_draw(what: str) -> UsageError:
    """What is raised where there is no number at all."""
    return UsageError(f"There is nothing to draw in {what}: no method has a score on every image.")


LONGEST_NAME = 42  # characters


def named_rows(methods: Iterable[str], controls: Collection[str] = ()) -> dict[str, NamedRow]:
    """Method → what it is called in a figure: on one line, not too long, and unlike all others."""
    rows: dict[str, NamedRow] = {}
    used: set[str] = set()
    for method in methods:
        name = shorten(printable(method), LONGEST_NAME)
        same, number = name, 1
        while name in used:
            number += 1
            name = f"{same} ({number})"
        used.add(name)
        control = method in controls
        rows[method] = NamedRow(gettext("{name} (control)", name=name) if control else name, control)
    return rows


def scored(analysis: Analysis) -> list[MethodSummary]:
    """The methods that have a mean, best mean rank first."""
    return [method for method in analysis.ranked if isfinite(method.mean)]


def controls_of(methods: Iterable[MethodSummary]) -> set[str]:
    """Names of the controls among them."""
    return {method.name for method in methods if method.control}


def image_count(analysis: Analysis) -> str:
    """Images, groups and exclusions."""
    images = ngettext("{n} image", "{n} images", analysis.images)
    if analysis.unit == "group":
        groups = ngettext("{n} group", "{n} groups", analysis.blocks)
        images = gettext("{images} in {groups}", images=images, groups=groups)
    if analysis.excluded:
        images = gettext("{images} ({n} excluded)", images=images, n=analysis.excluded)
    return images


def direction(higher_is_better: bool) -> str:
    """Which way a metric points."""
    return gettext("higher is better") if higher_is_better else gettext("lower is better")


def level(analysis: Analysis) -> str:
    """Confidence level, such as 95 %."""
    return f"{100 * (1 - analysis.alpha):g} %"
