"""Deletion, insertion and randomisation curves with their bands."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from xai.report.benchmark.files import ALONG
from xai.report.charts.common import (
    BACK,
    CONTROLS,
    DASHES,
    METHODS,
    SOLID,
    Spec,
    chart,
    legend,
    names_of,
    scale,
    tooltip,
)
from xai.report.text import number_format, percent

TALL = 380  # pixels
DOTTED = 24  # points of a curve up to which each has a dot
PARAM = "chosen"  # rows that the legend has switched on; none: all
UP = {
    "srg": "value: least relevant first − most relevant first",
    "randomization": "similarity to the map of the trained model",
}


def curves_chart(part: Mapping[str, Any], value: str | None) -> Spec | None:
    """Mean curves of a part with their intervals; None for metrics without curves.

    Args:
        part: One of `summary.parts`.
        value: What the protocol reads of the model.
    """
    curves = {row: one for row, one in part["curves"].items() if any(v is not None for v in one["mean"])}
    if not curves:
        return None
    controls = [one["name"] for one in part["analysis"]["methods"] if one["control"]]
    names = names_of(curves, controls)
    changed = ALONG.get(part["metric"], "share removed")
    styles = styles_of(list(curves), controls)
    colour = {
        "field": "row",
        "type": "nominal",
        "scale": scale(names.values(), range=[styles[row]["colour"] for row in names]),
        "legend": None,
    }
    dash = {
        "field": "row",
        "type": "nominal",
        "scale": scale(names.values(), range=[styles[row]["dash"] for row in names]),
        "legend": None,
    }
    along = {
        "field": "share",
        "type": "quantitative",
        "scale": {"nice": False},
        "axis": {
            "title": changed,
            "format": ".0%",
            "grid": False,
            "tickCount": 6,
        },
    }
    up = {
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": UP.get(part["metric"], f"value: {value}" if value else "value")},
    }
    said = tooltip("row", changed, "mean", "interval")
    dots = max(len(one["fractions"]) for one in curves.values()) <= DOTTED
    layers = [
        {
            "mark": {"type": "area", "clip": True},
            "encoding": {
                "x": along,
                "y": {"field": "low", **up},
                "y2": {"field": "high"},
                "fill": colour,
                "opacity": _dimmed(0.13, 0.02),
            },
        },
        {
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                "x": along,
                "y": {"field": "value", **up},
                "stroke": colour,
                "strokeDash": dash,
                "opacity": _dimmed(1, 0.12),
            },
        },
        {
            "params": [
                {
                    "name": "near",
                    "select": {
                        "type": "point",
                        "on": "pointerover",
                        "clear": "pointerout",
                        "nearest": True,
                        "fields": ["row", "share"],
                    },
                }
            ],
            "mark": {"type": "point", "filled": True, "size": 44, "stroke": BACK, "strokeWidth": 1},
            "encoding": {
                "x": along,
                "y": {"field": "value", **up},
                "fill": colour,
                "tooltip": said,
                "opacity": {
                    "condition": [{"param": "near", "empty": False, "value": 1}, _hidden(0)],
                    "value": 0.9 if dots else 0,
                },
            },
        },
    ]
    inserted = part["metric"] == "insertion"
    return chart(
        f"Mean {part['metric']} curves of {len(curves)} rows under {part['protocol']}, with intervals: "
        f"{'the value while patches are put back' if inserted else 'along the share that is changed'}.",
        layers,
        height=TALL,
        data={"values": _rows(curves, names, set(controls), changed)},
        params=[{"name": PARAM, "value": []}],
        usermeta=legend(({"name": names[row], **styles[row]} for row in curves), PARAM),
    )


def styles_of(rows: Sequence[str], controls: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Row → colour and dash. Methods are solid while colours last; controls are grey and dashed."""
    styles, plain, grey = {}, 0, 0
    for row in rows:
        if row in controls:
            styles[row] = {"colour": CONTROLS[grey % len(CONTROLS)], "dash": DASHES[grey % len(DASHES)]}
            grey += 1
        else:
            again = plain // len(METHODS)
            dash = DASHES[(again - 1) % len(DASHES)] if again else SOLID
            styles[row] = {"colour": METHODS[plain % len(METHODS)], "dash": dash}
            plain += 1
    return styles


def _rows(
    curves: Mapping[str, Any], names: Mapping[str, str], controls: Collection[str], along: str
) -> list[dict[str, Any]]:
    found = []
    for row, one in curves.items():
        points = list(zip(*(one[key] for key in ("fractions", "mean", "low", "high")), strict=True))
        known = [p for p in points if p[1] is not None]
        write = number_format(
            [mean for _, mean, _, _ in known],
            [high - low for _, _, low, high in known if low is not None and high is not None],
        )
        for share, mean, low, high in known:
            low, high = (mean if end is None else end for end in (low, high))
            found.append(
                {
                    "row": names[row],
                    "control": row in controls,
                    "share": share,
                    "value": mean,
                    "low": low,
                    "high": high,
                    along: percent(share),
                    "mean": write(mean),
                    "interval": f"{write(low)} … {write(high)}",
                }
            )
    return found


def _dimmed(shown: float, dimmed: float) -> Spec:
    return {"condition": _hidden(dimmed), "value": shown}


def _hidden(opacity: float) -> Spec:
    """For methods that the legend has not switched on; controls stay. Names are compared as data."""
    test = f"length({PARAM}) && !datum.control && indexof({PARAM}, datum.row) < 0"
    return {"test": test, "value": opacity}
