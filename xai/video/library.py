"""PyAV, which reads and writes videos, loaded when a video is at hand."""

from importlib import import_module
from types import ModuleType

from xai.core import UsageError


def require_av() -> ModuleType:
    """The package `av`.

    Raises:
        UsageError: It is not installed, or cannot be loaded.
    """
    try:
        return import_module("av")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "av"
        raise UsageError(
            "Reading a video needs PyAV, which is not installed."
            if missing
            else f"Reading a video needs PyAV, which cannot be loaded ({error}).",
            "Run: pip install 'vit-xai[video]'",
        ) from None
