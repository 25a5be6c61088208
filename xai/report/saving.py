"""Pictures and charts as files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from PIL import Image

from xai.core import UsageError
from xai.core.files import replacing
from xai.report.picture import SOFTWARE, Picture, write_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CREATOR = {"png": "Software", "pdf": "Creator", "svg": "Creator"}  # where each format names the program


def save(
    figure: Union[Picture, "Figure"],
    path: str | os.PathLike[str],
    dpi: float | None = None,
    *,
    keep: bool = False,
) -> None:
    """Write a picture or a chart to a .png, .pdf or .svg file; replaces a file at once or not at all.

    Args:
        figure: A chart is empty afterwards, unless it is to be kept.
        path: Its ending says the format.
        dpi: Dots per inch; default the figure's own, at which images are drawn pixel by pixel (150 to 300).
        keep: Whether a chart is to be saved once more.

    Raises:
        UsageError: Another format.
        OutputError: The disk objects.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in CREATOR:
        raise UsageError(
            f"Cannot save a picture as {Path(path).name!r}.", f"Use one of: {', '.join(CREATOR)}."
        )
    if isinstance(figure, Picture):
        if kind == "png":
            pixels = figure.pixels(dpi)
            with replacing(Path(path)) as file:
                write_png(file, pixels, dpi or figure.dpi, SOFTWARE)
            return
        from xai.report.vector import to_figure  # matplotlib takes its time to load

        figure = to_figure(figure)
    dpi = dpi or figure.dpi
    with replacing(Path(path)) as file:
        if kind == "png":
            write_png(file, _pixels(figure, dpi), dpi, SOFTWARE)
        else:
            figure.savefig(file, format=kind, dpi=dpi, facecolor="white", metadata={CREATOR[kind]: SOFTWARE})
    if not keep:
        for axes in figure.axes:  # `clear` alone would first set up each of them anew
            figure.delaxes(axes)
        figure.clear()


def _pixels(figure: "Figure", dpi: float) -> np.ndarray:
    """(height, width, 3) uint8 of a chart on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    before = figure.dpi
    figure.set_facecolor("white")
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    figure.set_dpi(before)
    return pixels
