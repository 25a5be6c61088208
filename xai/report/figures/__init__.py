"""Figures of a benchmark, described once: what was measured, how sure it is, what cannot be told apart."""

from xai.report.figures.agreement import agreement_chart
from xai.report.figures.critical_difference import critical_difference_chart
from xai.report.figures.curves import curve_chart
from xai.report.figures.intervals import interval_chart
from xai.report.figures.ranks import rank_chart
from xai.report.figures.run import charts_of_run

__all__ = [
    "agreement_chart",
    "charts_of_run",
    "critical_difference_chart",
    "curve_chart",
    "interval_chart",
    "rank_chart",
]
