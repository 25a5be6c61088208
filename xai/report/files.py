"""File names made from class names, and pictures written as a whole."""

import os
import re
import unicodedata
from hashlib import sha256
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xai.core import UsageError
from xai.core.files import replacing
from xai.core.versions import __version__

LONGEST = 80  # bytes of a slug: leaves room for the stem beside it
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names on Windows
HASHED = re.compile(r".*-[0-9a-f]{8}")
CREATOR = {"png": "Software", "pdf": "Creator", "svg": "Creator"}  # where each format names the program


def file_slug(label: str) -> str:
    """A class name made safe for file names on every system.

    Letters and digits of any script, `-`, `_` and inner dots stay; a name that had to change gets a
    short hash, so that distinct names stay distinct. Never empty, at most 80 bytes.
    """
    kept = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", label)).strip("-.")
    if kept == label and len(label.encode()) <= LONGEST and label and not _ambiguous(label):
        return label
    if RESERVED.fullmatch(kept):
        kept = kept.replace(".", "-")  # a device name stays one whatever follows its dot
    digest = sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    room = kept.encode("utf-8", "ignore")[: LONGEST - 9].decode("utf-8", "ignore").rstrip("-.")
    return f"{room or 'class'}-{digest}"


def _ambiguous(label: str) -> bool:
    """A device name, or a name that looks like the slug of another."""
    return bool(RESERVED.fullmatch(label) or HASHED.fullmatch(label))


def save(figure: Figure, path: str | os.PathLike[str], dpi: float | None = None) -> None:
    """Write a figure to a .png, .pdf or .svg file and release it; replaces a file at once or not at all.

    Args:
        figure: Is empty afterwards.
        path: Its ending says the format.
        dpi: Dots per inch; default the figure's own, at which images are drawn pixel by pixel (150 to 300).
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in CREATOR:
        raise UsageError(
            f"Cannot save a picture as {Path(path).name!r}.", f"Use one of: {', '.join(CREATOR)}."
        )
    options: dict[str, Any] = {"metadata": {CREATOR[kind]: f"xai {__version__}"}}
    if kind == "png":
        options["pil_kwargs"] = {"compress_level": 4}  # half the time of the default for 5 % more bytes
    with replacing(Path(path)) as file:
        figure.savefig(file, format=kind, dpi=dpi or figure.dpi, facecolor="white", **options)
    figure.clear()
