"""The critical-difference diagram of Demšar (2006): mean ranks, and bars over what cannot be told apart."""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

from xai.report.charts.common import INK, JOINED, QUIET, Rows, Spec, chart, names_of, ranked, tooltip

LANE, NAME = 11, 22  # pixels between bars, and between names
ARM = 6.8  # pixels of room for each character of a name beside the scale
RULER = "critical difference"


def critical_difference_chart(part: Mapping[str, Any]) -> Spec | None:
    """Methods on a scale of mean ranks, 1 = best; bars join those that Nemenyi's test does not tell apart.

    None with fewer than two methods, or where the test has nothing to go by.
    """
    methods, analysis = ranked(part), part["analysis"]
    critical = analysis["critical_difference"]
    if len(methods) < 2 or critical is None:
        return None
    names = names_of((one["name"] for one in methods), [one["name"] for one in methods if one["control"]])
    bars = joined(methods, analysis)
    low = floor(methods[0]["mean_rank"] + 1e-9)
    high = max(ceil(methods[-1]["mean_rank"] - 1e-9), low + ceil(critical))
    first = 14 + LANE * len(bars) + 8  # of the names, under all bars
    half = (len(methods) + 1) // 2
    height = first + half * NAME
    along = {
        "type": "quantitative",
        "scale": {"domain": [low, high], "nice": False, "zero": False},
        "axis": {
            "title": "mean rank, 1 is best",
            "orient": "top",
            "grid": False,
            "values": list(range(low, high + 1)),
            "format": "d",
        },
    }
    down = {
        "type": "quantitative",
        "scale": {"domain": [0, height], "reverse": True, "nice": False, "zero": False},
        "axis": None,
    }
    rows = _sides(methods, names, half, first)
    room = [
        ARM * max((len(row["label"]) for row in rows if row["left"] == left), default=0) + 10
        for left in (True, False)
    ]
    return chart(
        f"Critical-difference diagram of {part['metric']} under {part['protocol']}: mean ranks of "
        f"{len(methods)} rows; bars join those that Nemenyi's test does not tell apart "
        f"(critical difference {critical:.2f}).",
        [
            *_names(rows, along, down),
            *_bars(bars, methods, along, down),
            *_ruler(low, critical, height, along, down),
        ],
        height=height,
        usermeta={"narrowest": round(sum(room) + 240)},
    )


def joined(methods: Sequence[Mapping[str, Any]], analysis: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(first, last) places of the largest runs of ranked methods of which no two are told apart."""
    apart = {frozenset((pair["first"], pair["second"])): pair["p_nemenyi"] for pair in analysis["pairs"]}

    def alike(i: int, j: int) -> bool:
        p = apart.get(frozenset((methods[i]["name"], methods[j]["name"])))
        return p is None or p >= analysis["alpha"]

    runs: list[tuple[int, int]] = []
    for i in range(len(methods)):
        last = i
        while last + 1 < len(methods) and alike(i, last + 1):
            last += 1
        if last > i and (not runs or last > runs[-1][1]):
            runs.append((i, last))
    return runs


def _sides(methods: Sequence[Any], names: Mapping[str, str], half: int, first: float) -> Rows:
    """The better half is named on the left, the best above; on the right the worst stands above."""
    rows = []
    for place, one in enumerate(methods):
        left = place < half
        lane = place if left else len(methods) - 1 - place
        rank = f"{one['mean_rank']:.2f}"
        rows.append(
            {
                "row": names[one["name"]],
                "label": f"{names[one['name']]}  {rank}" if left else f"{rank}  {names[one['name']]}",
                "value": one["mean_rank"],
                "mean rank": rank,
                "lane": first + lane * NAME + NAME / 2,
                "top": 0,
                "control": one["control"],
                "left": left,
            }
        )
    return rows


def _names(rows: Rows, along: Spec, down: Spec) -> list[Spec]:
    """Every name is joined to its place on the scale by an elbow."""
    layers: list[Spec] = []
    for control in (False, True):
        for left in (True, False):
            mine = [row for row in rows if row["left"] == left and row["control"] == control]
            line = {
                "type": "rule",
                "color": QUIET if control else INK,
                "strokeDash": [4, 3] if control else [],
            }
            at = {"x": {"field": "value", **along}, "y": {"field": "lane", **down}}
            edge = {"value": 0 if left else "width"}
            text = {"type": "text", "align": "right" if left else "left", "dx": -7 if left else 7}
            said = {"tooltip": tooltip("row", "mean rank")}
            layers += [
                {"data": {"values": mine}, "mark": line, "encoding": at | {"y2": {"field": "top"}} | said},
                {"data": {"values": mine}, "mark": line, "encoding": at | {"x2": edge} | said},
                {
                    "data": {"values": mine},
                    "mark": text | {"fill": QUIET if control else INK},
                    "encoding": {"x": edge, "y": at["y"], "text": {"field": "label", "type": "nominal"}}
                    | said,
                },
            ]
    return layers


def _bars(bars: Sequence[tuple[int, int]], methods: Sequence[Any], along: Spec, down: Spec) -> list[Spec]:
    rows = [
        {
            "low": methods[first]["mean_rank"],
            "high": methods[last]["mean_rank"],
            "lane": 14 + place * LANE,
            "joins": f"{last - first + 1} rows that cannot be told apart",
        }
        for place, (first, last) in enumerate(bars)
    ]
    encoding = {
        "x": {"field": "low", **along},
        "x2": {"field": "high"},
        "y": {"field": "lane", **down},
        "tooltip": tooltip("joins"),
    }
    mark = {"type": "rule", "color": JOINED, "strokeWidth": 4.5, "strokeCap": "round"}
    return [{"data": {"values": rows}, "mark": mark, "encoding": encoding}]


def _ruler(low: float, critical: float, height: float, along: Spec, down: Spec) -> list[Spec]:
    """The critical difference, to scale, under the diagram."""
    rows = [{"low": low, "high": low + critical, "lane": height, "said": f"{RULER} {critical:.2f}"}]
    data, y = {"values": rows}, {"field": "lane", **down}
    rule = {"x": {"field": "low", **along}, "x2": {"field": "high"}, "y": y}
    text = {"x": {"field": "low", **along}, "y": y, "text": {"field": "said", "type": "nominal"}}
    return [
        {"data": data, "mark": {"type": "rule", "color": JOINED, "strokeWidth": 1.5}, "encoding": rule},
        {"data": data, "mark": {"type": "text", "align": "left", "dy": 12, "fill": QUIET}, "encoding": text},
    ]
