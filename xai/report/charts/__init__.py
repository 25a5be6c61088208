"""Vega-Lite specifications of a benchmark's charts.

Whatever a user may have named stands in them as a value of the data (or of a scale's domain), never as a
field and never in an expression. Colours are the page's own CSS variables, so that the theme may change, and
paper be white, without drawing anew.
"""

from collections.abc import Iterator
from typing import Any

from xai.report.charts.agreement import agreement_chart
from xai.report.charts.common import Spec
from xai.report.charts.critical_difference import critical_difference_chart
from xai.report.charts.curves import curves_chart
from xai.report.charts.intervals import intervals_chart
from xai.report.charts.ranks import ranks_chart
from xai.report.payload import Page

__all__ = ["charts_of"]


def charts_of(page: Page) -> dict[str, Spec]:
    """Chart id → Vega-Lite specification, with its data; empty for pages without a benchmark.

    Ids: `intervals-I`, `ranks-I` (critical difference) and `curves-I` for place I in `page.parts`;
    `places-J`, `agreement-J` for the J-th protocol, `stability-K` for the K-th metric of the summary.
    """
    return {} if page.summary is None else {key: spec for key, spec in _charts(page.summary) if spec}


def _charts(summary: Any) -> Iterator[tuple[str, Spec | None]]:
    parts = summary["parts"]
    values = {one["name"]: one["value"] for one in summary["protocols"]}
    for place, part in enumerate(parts):
        yield f"intervals-{place}", intervals_chart(part)
        yield f"ranks-{place}", critical_difference_chart(part)
        yield f"curves-{place}", curves_chart(part, values.get(part["protocol"]))
    for place, protocol in enumerate(dict.fromkeys(part["protocol"] for part in parts)):
        yield f"places-{place}", ranks_chart([p for p in parts if p["protocol"] == protocol], protocol)
    for place, (protocol, matrix) in enumerate(summary["agreement"].items()):
        yield f"agreement-{place}", agreement_chart(matrix, f"the metrics under {protocol}")
    for place, (metric, matrix) in enumerate(summary["stability"].items()):
        yield f"stability-{place}", agreement_chart(matrix, f"the protocols by {metric}")
