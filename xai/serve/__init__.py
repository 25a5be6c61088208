"""The local page: images in by hand, maps as they come, regions brushed away, the score watched.

Stands on the same explanations, pictures and pages as the command line. What it needs beside the rest of the
package (Starlette, uvicorn) comes with the extra `serve`, so its parts load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xai.core import UsageError

if TYPE_CHECKING:
    from xai.serve.app import make_app as make_app
    from xai.serve.model import ServeSettings as ServeSettings
    from xai.serve.server import PageServer as PageServer
    from xai.serve.uploads import Limits as Limits

_LATER = {
    "Limits": "xai.serve.uploads",
    "ServeSettings": "xai.serve.model",
    "make_app": "xai.serve.app",
    "PageServer": "xai.serve.server",
}

__all__ = ["Limits", "PageServer", "ServeSettings", "make_app", "require_server"]


def require_server() -> None:
    """Make sure that what serves pages is installed.

    Raises:
        UsageError: It is not.
    """
    for name in ("starlette", "uvicorn"):
        try:
            import_module(name)
        except ImportError:
            raise UsageError(
                f"xai serve needs {name}, which is not installed.", "Run: pip install 'vit-xai[serve]'"
            ) from None


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'xai.serve' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
