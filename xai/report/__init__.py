"""Pictures and pages of what a model looked at. Never imports torch.

Called, as `xai.report(results, "page.html")`, it writes a page of results: see `xai.explanation.report`.
What makes pages and charts loads on first use: drawing pictures need not wait for it.
"""

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

from xai.core import Explanation
from xai.report.pictures import compared, draw_class, draw_comparison, draw_heads, draw_layers, draw_methods
from xai.report.saving import save
from xai.report.text import file_slug, file_slugs

if TYPE_CHECKING:
    from xai.report.face_parts import draw_face_parts as draw_face_parts
    from xai.report.frames import page_frame as page_frame
    from xai.report.frames import to_frame as to_frame
    from xai.report.page import to_html as to_html
    from xai.report.page import write_data as write_data
    from xai.report.page import write_page as write_page
    from xai.report.render import draw_agreement as draw_agreement
    from xai.report.render import draw_critical_difference as draw_critical_difference
    from xai.report.render import draw_curves as draw_curves
    from xai.report.render import draw_forest as draw_forest
    from xai.report.render import draw_rank_table as draw_rank_table

_LATER = {
    "page_frame": "xai.report.frames",
    "to_frame": "xai.report.frames",
    "to_html": "xai.report.page",
    "write_data": "xai.report.page",
    "write_page": "xai.report.page",
    "draw_agreement": "xai.report.render",
    "draw_critical_difference": "xai.report.render",
    "draw_curves": "xai.report.render",
    "draw_face_parts": "xai.report.face_parts",
    "draw_forest": "xai.report.render",
    "draw_rank_table": "xai.report.render",
}

__all__ = [
    "compared",
    "draw_agreement",
    "draw_class",
    "draw_comparison",
    "draw_critical_difference",
    "draw_curves",
    "draw_face_parts",
    "draw_forest",
    "draw_heads",
    "draw_layers",
    "draw_methods",
    "draw_rank_table",
    "file_slug",
    "file_slugs",
    "page_frame",
    "save",
    "to_frame",
    "to_html",
    "write_data",
    "write_page",
]


class _CallableRoom(ModuleType):
    """Lets `xai.report` be the call that users know beside `xai.explain`, and stay the room of its names."""

    def __call__(self, *results: Any, **options: Any) -> Any:
        return import_module("xai.explanation").report(*results, **options)

    @property
    def __signature__(self) -> Signature:
        return signature(import_module("xai.explanation").report)


sys.modules[__name__].__class__ = _CallableRoom


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'xai.report' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def _in_a_frame(explanation: Explanation) -> str:
    return import_module("xai.report.frames").to_frame(explanation)


Explanation.renderer = _in_a_frame  # so that notebooks show explanations as pages
