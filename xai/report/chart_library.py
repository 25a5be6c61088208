"""The script that draws charts in a page, bundled once per version and kept in the cache."""

import logging
from binascii import Error as Base64Error
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple
from zlib import error as ZlibError

from xai.core import OutputError, UsageError
from xai.core.files import cache_folder, write_bytes
from xai.core.runtime import __version__, version_of
from xai.report.encode import digest, inline, pack, unpack

log = logging.getLogger(__name__)


class ChartLibrary(NamedTuple):
    """A script, ready for a page.

    Args:
        packed: Its text, see `pack`.
        digest: Of the text, as the page's policy states it.
    """

    packed: str
    digest: str


@cache
def chart_library() -> ChartLibrary:
    """Vega-Lite with its runtime as one script; see reports/chart_libraries.md for why this one.

    Bundling takes seconds, so the script is kept in the cache. What is read there counts only if its digest,
    the one by which a browser admits it, is right.

    Raises:
        UsageError: The Python package that ships it is not installed.
    """
    try:
        package = import_module("vl_convert")
    except ImportError:
        raise UsageError(
            "The charts of this page need vl-convert-python, which is not installed.",
            "Run: pip install 'vit-xai[bench]'",
        ) from None
    path = _kept()
    found = None if path is None else _read(path)
    if found is None:
        text = inline(package.javascript_bundle())
        found = ChartLibrary(pack(text), digest(text))
        if path is not None:
            try:
                write_bytes(path, "\n".join(found).encode())
            except OutputError as error:  # the next page waits again
                log.info("%s", error)
    return found


def _kept() -> Path | None:
    """Where it is kept, by the versions that it depends on; None for a user without a home."""
    with suppress(RuntimeError):
        return cache_folder() / "charts" / f"vega-{version_of('vl-convert-python')}-{__version__}"
    return None


def _read(path: Path) -> ChartLibrary | None:
    """What is kept there; None where nothing is, or nothing whole."""
    try:
        found = ChartLibrary(*path.read_text("ascii").split("\n"))
        whole = digest(unpack(found.packed)) == found.digest
    except (OSError, EOFError, ValueError, TypeError, Base64Error, ZlibError):
        return None
    return found if whole else None
