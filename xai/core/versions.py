"""Versions of this package and of what its numbers depend on."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

__version__ = version("vit-xai")

LIBRARIES = ("torch", "transformers", "captum", "numpy", "scipy", "pandas", "pyarrow", "pillow")
DECISIVE = ("xai", "torch", "transformers", "captum", "numpy", "pillow")
"""Another version of these may change a map or a score: a run ends with what it began with."""


@cache
def version_of(name: str) -> str:
    """The installed version of a distribution, or "absent"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries."""
    return {"python": platform.python_version(), "xai": __version__} | {
        name: version_of(name) for name in LIBRARIES
    }


def decisive() -> dict[str, str]:
    """Versions of what may change a map or a score."""
    return {name: number for name, number in versions().items() if name in DECISIVE}
