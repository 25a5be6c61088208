"""The place of every method under every metric of a protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from xai.report.charts.common import INK, ROW, Spec, chart, names_of, ranked, scale, tooltip
from xai.report.outcomes import NAMES, SIGNS, outcome_of
from xai.report.text import printable
from xai.stats import Outcome

CELL = 170  # pixels, at most
FACE = "var(--chart-joined, #0b5c9e)"


def ranks_chart(parts: Sequence[Mapping[str, Any]], protocol: str) -> Spec | None:
    """Places as colours and numbers with the verdict's sign; None without any score."""
    shown = [part for part in parts if ranked(part)]
    if not shown:
        return None
    order = dict.fromkeys(one["name"] for part in shown for one in ranked(part))
    controls = {one["name"] for part in shown for one in ranked(part) if one["control"]}
    names = names_of(order, controls)
    metrics = [printable(part["metric"]) for part in shown]
    cells = [
        _cell(part, one, names[one["name"]], metric)
        for part, metric in zip(shown, metrics, strict=True)
        for one in ranked(part)
    ]
    place = {
        "x": {
            "field": "metric",
            "type": "nominal",
            "scale": scale(metrics),
            "axis": {"title": None, "orient": "top", "ticks": False, "domain": False, "labelAngle": 0},
        },
        "y": {
            "field": "row",
            "type": "nominal",
            "scale": scale(names.values()),
            "axis": {"title": None, "ticks": False, "domain": False},
        },
    }
    return chart(
        f"Place of every row by each metric under {protocol}, 1 is best; the stronger in colour the better.",
        [
            {
                "mark": {"type": "rect", "fill": FACE, "stroke": "var(--chart-back, #ffffff)"},
                "encoding": place
                | {
                    "fillOpacity": {
                        "field": "strength",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "range": [0.03, 0.5]},
                        "legend": None,
                    },
                    "tooltip": tooltip("row", "metric", "place", "mean rank", "verdict"),
                },
            },
            {
                "mark": {"type": "text", "fill": INK},
                "encoding": place | {"text": {"field": "said", "type": "nominal"}},
            },
        ],
        height=ROW * len(names),
        data={"values": cells},
        usermeta={"widest": 260 + CELL * len(metrics), "narrowest": 200 + 90 * len(metrics)},
    )


def place_of(part: Mapping[str, Any], method: Mapping[str, Any]) -> int:
    """1 for the best mean rank; equal ranks share the better place."""
    return 1 + sum(one["mean_rank"] < method["mean_rank"] - 1e-9 for one in ranked(part))


def _cell(part: Mapping[str, Any], one: Mapping[str, Any], row: str, metric: str) -> dict[str, Any]:
    place, methods = place_of(part, one), len(part["analysis"]["methods"])
    found = outcome_of(one)
    return {
        "row": row,
        "metric": metric,
        "value": place,
        "place": f"{place} of {methods}",
        "mean rank": f"{one['mean_rank']:.2f}",
        "strength": 1 - (place - 1) / max(1, methods - 1),
        "verdict": NAMES[found] if found is Outcome.NOT_COMPARED else one["verdict"],
        "said": f"{place} {SIGNS[found]}".rstrip(),
    }
