"""Pictures of a benchmark: what was measured, how sure it is, and what cannot be told apart."""

from xai.report.benchmark.agreement import draw_agreement
from xai.report.benchmark.critical_difference import draw_critical_difference
from xai.report.benchmark.curves import draw_curves
from xai.report.benchmark.files import write_pictures
from xai.report.benchmark.forest import draw_forest
from xai.report.benchmark.rank_table import draw_rank_table

__all__ = [
    "draw_agreement",
    "draw_critical_difference",
    "draw_curves",
    "draw_forest",
    "draw_rank_table",
    "write_pictures",
]
