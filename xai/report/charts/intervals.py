"""Means with their intervals, beside what random maps reach."""

from collections.abc import Mapping
from typing import Any

from xai.report.charts.common import (
    BACK,
    LINE,
    OUTCOMES,
    QUIET,
    ROW,
    Rows,
    Spec,
    chart,
    legend,
    name_axis,
    names_of,
    ranked,
    scale,
    tooltip,
)
from xai.report.outcomes import NAMES, outcome_of
from xai.report.text import number_format
from xai.stats import Outcome


def intervals_chart(part: Mapping[str, Any]) -> Spec | None:
    """Forest plot of a part, best mean rank first; None without any score."""
    methods, analysis = ranked(part), part["analysis"]
    if not methods:
        return None
    names = names_of((one["name"] for one in methods), [one["name"] for one in methods if one["control"]])
    said = number_format([one["mean"] for one in methods], [_width(one) for one in methods])
    rows = [_row(one, names, said) for one in methods]
    level = f"{100 * (1 - analysis['alpha']):g} %"
    colour = {
        "field": "outcome",
        "type": "nominal",
        "scale": scale(OUTCOMES, range=list(OUTCOMES.values())),
        "legend": None,
    }
    along = {
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"tickCount": 7, "title": f"mean {part['metric']}"},
    }
    place = {"y": name_axis(list(names.values()))}
    reference = next((one for one in methods if one["name"] == analysis["reference"]), None)
    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 2.5, "tooltip": True},
            "encoding": place
            | {"x": {"field": "low", **along}, "x2": {"field": "high"}, "color": colour}
            | {"tooltip": tooltip("row", "mean", "interval", "verdict")},
        },
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "stroke": BACK, "strokeWidth": 1.2},
            "encoding": place
            | {
                "x": {"field": "value", **along},
                "fill": colour,
                "shape": {
                    "field": "control",
                    "type": "nominal",
                    "scale": scale([False, True], range=["circle", "square"]),
                    "legend": None,
                },
                "size": {"value": 75},
                "tooltip": tooltip("row", "mean", "interval", "verdict"),
            },
        },
    ]
    entries = [{"name": one, "colour": colour} for one, colour in OUTCOMES.items() if _has(rows, one)]
    if reference:
        entries = [one for one in entries if one["name"] != NAMES[Outcome.NOT_COMPARED]]
    return chart(
        f"Mean {part['metric']} under {part['protocol']} with {level} intervals, best mean rank first.",
        (_reference(reference, along) if reference else []) + layers,
        height=ROW * len(rows),
        data={"values": rows},
        usermeta=legend([*entries, {"name": "control", "colour": QUIET, "shape": "square"}]),
    )


def _reference(one: Mapping[str, Any], along: Spec) -> list[Spec]:
    """The interval of random maps as a band behind all rows, their mean as a dashed line."""
    data = {"values": [{"low": one["low"], "high": one["high"], "value": one["mean"]}]}
    band = {"x": {"field": "low", **along}, "x2": {"field": "high"}}
    found = [{"data": data, "mark": {"type": "rect", "fill": LINE, "opacity": 0.7}, "encoding": band}]
    dashed = {"type": "rule", "color": QUIET, "strokeDash": [4, 3]}
    return [*found, {"data": data, "mark": dashed, "encoding": {"x": {"field": "value", **along}}}]


def _row(one: Mapping[str, Any], names: Mapping[str, str], said: Any) -> dict[str, Any]:
    low, high = (one["mean"] if end is None else end for end in (one["low"], one["high"]))
    return {
        "row": names[one["name"]],
        "value": one["mean"],
        "low": low,
        "high": high,
        "control": one["control"],
        "outcome": NAMES[outcome_of(one)],
        "mean": said(one["mean"]),
        "interval": f"{said(low)} … {said(high)}",
        "verdict": one["verdict"],
    }


def _has(rows: Rows, which: str) -> bool:
    return any(row["outcome"] == which for row in rows)


def _width(one: Mapping[str, Any]) -> float:
    return 0.0 if one["low"] is None or one["high"] is None else one["high"] - one["low"]
