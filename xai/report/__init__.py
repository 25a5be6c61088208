"""Pictures and pages of what a model looked at. Knows numpy and matplotlib, never torch."""

from xai.report.files import file_slug, save
from xai.report.page import write_page
from xai.report.panels import draw_heads, draw_layers, draw_methods
from xai.report.pictures import compared, draw_class, draw_comparison

__all__ = [
    "compared",
    "draw_class",
    "draw_comparison",
    "draw_heads",
    "draw_layers",
    "draw_methods",
    "file_slug",
    "save",
    "write_page",
]
