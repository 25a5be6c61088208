"""Whether metrics or protocols put the methods in the same order."""

from collections.abc import Mapping
from typing import Any

from xai.report.charts.common import INK, Spec, chart, names_of, scale, tooltip

CELL, TALL = 120, 40  # pixels: most width, height
SAME, REVERSED, ITSELF, UNKNOWN = "the same order", "reversed order", "itself", "unknown"
FACES = {
    SAME: "var(--chart-same, #0b5c9e)",
    REVERSED: "var(--chart-reversed, #b34700)",
    ITSELF: "var(--chart-unclear, #737373)",
    UNKNOWN: "var(--chart-unclear, #737373)",
}


def agreement_chart(matrix: Mapping[str, Any], what: str) -> Spec | None:
    """Kendall's tau-b between all pairs of rankings, as a matrix; None without any."""
    names = list(names_of(matrix["names"]).values())
    if not names:
        return None
    cells = [
        _cell(names[i], names[j], tau, matrix["methods"][i][j], i == j)
        for i, line in enumerate(matrix["tau"])
        for j, tau in enumerate(line)
    ]
    place = {
        "x": {
            "field": "across",
            "type": "nominal",
            "scale": scale(names),
            "axis": {"title": None, "orient": "top", "ticks": False, "domain": False, "labelAngle": 0},
        },
        "y": {
            "field": "row",
            "type": "nominal",
            "scale": scale(names),
            "axis": {"title": None, "ticks": False, "domain": False},
        },
    }
    return chart(
        f"Kendall's tau between the rankings by {what}: 1 the same order, 0 unrelated, −1 reversed.",
        [
            {
                "mark": {"type": "rect", "stroke": "var(--chart-back, #ffffff)", "strokeWidth": 2},
                "encoding": place
                | {
                    "fill": {
                        "field": "face",
                        "type": "nominal",
                        "scale": scale(FACES, range=list(FACES.values())),
                        "legend": None,
                    },
                    "fillOpacity": {
                        "field": "strength",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "range": [0.04, 0.5]},
                        "legend": None,
                    },
                    "tooltip": tooltip("row", "across", "tau", "methods compared"),
                },
            },
            {
                "mark": {"type": "text", "fill": INK},
                "encoding": place | {"text": {"field": "tau", "type": "nominal"}},
            },
        ],
        height=TALL * len(names),
        data={"values": cells},
        usermeta={"widest": 200 + CELL * len(names), "narrowest": 160 + 90 * len(names)},
    )


def _cell(row: str, across: str, tau: float | None, methods: int, itself: bool) -> dict[str, Any]:
    unknown = tau is None
    return {
        "row": row,
        "across": across,
        "value": tau,
        "face": UNKNOWN if unknown else ITSELF if itself else SAME if tau >= 0 else REVERSED,
        "strength": 0.0 if unknown else 0.25 if itself else abs(tau),
        "tau": "–" if unknown else f"{tau:.2f}".replace("-", "−"),
        "methods compared": str(methods),
    }
