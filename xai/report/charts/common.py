"""What all charts share: colours, names, configuration."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xai.report.outcomes import NAMES
from xai.report.text import printable, shorten
from xai.stats import Outcome

Spec = dict[str, Any]
Rows = list[dict[str, Any]]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
LONGEST_NAME = 44  # characters
ROW = 24  # pixels

# variables of benchmark.css; the values after the comma count where a specification stands alone
INK, QUIET, LINE, BACK = (
    "var(--chart-ink, #1c1f23)",
    "var(--chart-quiet, #5a6069)",
    "var(--chart-line, #dfe2e6)",
    "var(--chart-back, #ffffff)",
)
METHODS = tuple(
    f"var(--chart-{i}, {colour})"
    for i, colour in enumerate(
        ("#055997", "#c14405", "#2f97ac", "#6d1a44", "#9759eb", "#c1826d", "#5905eb", "#6d0505"), 1
    )
)
CONTROLS = tuple(
    f"var(--chart-control-{i}, {colour})" for i, colour in enumerate(("#737373", "#9a9a9a", "#4d4d4d"), 1)
)
JOINED = "var(--chart-joined, #0b5c9e)"
OUTCOMES = dict.fromkeys(NAMES.values(), "var(--chart-unclear, #737373)") | {
    NAMES[Outcome.BETTER]: "var(--chart-better, #0b5c9e)",
    NAMES[Outcome.WORSE]: "var(--chart-worse, #b34700)",
}
SOLID = (1, 0)
DASHES = ((4, 2), (1.5, 1.5), (6, 2, 1.5, 2), (3, 3), (8, 2), (2, 3))

CONFIG: Spec = {
    "aria": False,  # one picture with one description; its numbers stand in the table beside it
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
        "domainColor": QUIET,
        "tickColor": QUIET,
        "gridColor": LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 240,
    },
    "text": {"fill": INK, "fontSize": 12},
}


def chart(description: str, layer: Sequence[Spec], *, height: float, **more: Any) -> Spec:
    """A specification that is as wide as its place in the page.

    Args:
        description: What is drawn, for those who do not see it.
        layer: Vega-Lite layers.
        height: Of the plot, in pixels.
        more: Further top-level fields; `usermeta` is read by charts.js.
    """
    return {
        "$schema": SCHEMA,
        "description": printable(description),
        "config": CONFIG,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "height": height,
        "layer": list(layer),
    } | more


def names_of(rows: Iterable[str], controls: Iterable[str] = ()) -> dict[str, str]:
    """Row → what it is called in a chart: on one line, not too long, and unlike all others."""
    marked, names = set(controls), {}
    for row in rows:
        name = shorten(printable(row), LONGEST_NAME)
        same, number = name, 1
        while name in names.values():
            number += 1
            name = f"{same} ({number})"
        names[row] = f"{name} (control)" if row in marked else name
    return names


def ranked(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Methods of a part that have a mean, best mean rank first."""
    found = [one for one in part["analysis"]["methods"] if one["mean"] is not None]
    return sorted(found, key=lambda one: one["mean_rank"])


def scale(values: Iterable[Any], **more: Any) -> Spec:
    """A scale over exactly these values, in this order."""
    return {"domain": list(values), **more}


def name_axis(names: Sequence[str]) -> Spec:
    """Rows by name, from the top, in this order."""
    return {
        "field": "row",
        "type": "nominal",
        "scale": scale(names),
        "axis": {"title": None, "ticks": False, "domain": False},
    }


def tooltip(*fields: str) -> list[Spec]:
    """What is said under the pointer: fields whose names are fit to be read; numbers are written already."""
    return [{"field": field, "type": "nominal"} for field in fields]


def legend(entries: Iterable[Spec], param: str | None = None) -> Spec:
    """What charts.js makes buttons of (or a plain list, without `param`).

    Each entry: `name`, `colour`, and if need be `dash` (pixels on and off) or `shape` "square".
    """
    return {"legend": {"param": param, "entries": list(entries)}}
