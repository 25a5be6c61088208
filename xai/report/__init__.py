"""Pictures and pages of what a model looked at. Knows numpy and matplotlib, never torch."""

from xai.core import Explanation
from xai.report.explanations import to_frame
from xai.report.layout import save
from xai.report.page import to_html, write_data, write_page
from xai.report.pictures import compared, draw_class, draw_comparison, draw_heads, draw_layers, draw_methods
from xai.report.render import (
    draw_agreement,
    draw_critical_difference,
    draw_curves,
    draw_forest,
    draw_rank_table,
)
from xai.report.text import file_slug

__all__ = [
    "compared",
    "draw_agreement",
    "draw_class",
    "draw_comparison",
    "draw_critical_difference",
    "draw_curves",
    "draw_forest",
    "draw_heads",
    "draw_layers",
    "draw_methods",
    "draw_rank_table",
    "file_slug",
    "save",
    "to_frame",
    "to_html",
    "write_data",
    "write_page",
]

Explanation.renderer = to_frame  # so that notebooks show explanations as pages
