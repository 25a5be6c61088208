"""See and test what a vision transformer looked at.

The names below load on first use, so that `import xai` and `xai --help` stay light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xai.attr import list_methods as list_methods
    from xai.core.language import language as language
    from xai.core.runtime import __version__ as __version__
    from xai.explanation import Explanation as Explanation
    from xai.explanation import explain as explain
    from xai.explanation import explain_video as explain_video
    from xai.models import Classifier as Classifier
    from xai.models import load as load

_ROOMS = {
    "__version__": "xai.core.runtime",
    "language": "xai.core.language",
    "load": "xai.models",
    "Classifier": "xai.models",
    "explain": "xai.explanation",
    "explain_video": "xai.explanation",
    "Explanation": "xai.explanation",
    "list_methods": "xai.attr",
}

__all__ = [
    "Classifier",
    "Explanation",
    "__version__",
    "explain",
    "explain_video",
    "language",
    "list_methods",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'xai' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
