"""Pictures and charts as files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from xai.core import UsageError
from xai.core.files import replacing
from xai.report.picture import SOFTWARE, Picture
from xai.report.png import write_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CREATOR = {"png": "Software", "pdf": "Creator", "svg": "Creator"}  # where each format names the program


def save(figure: Union[Picture, "Figure"], path: str | os.PathLike[str], dpi: float | None = None) -> None:
    """Write a picture or a chart to a .png, .pdf or .svg file; replaces a file at once or not at all.

    Args:
        figure: A chart is empty afterwards.
        path: Its ending says the format.
        dpi: Dots per inch; default the figure's own, at which images are drawn pixel by pixel (150 to 300).

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
    options: dict[str, Any] = {"metadata": {CREATOR[kind]: SOFTWARE}}
    if kind == "png":
        options["pil_kwargs"] = {"compress_level": 4}  # half the time of the default for 5 % more bytes
    with replacing(Path(path)) as file:
        figure.savefig(file, format=kind, dpi=dpi or figure.dpi, facecolor="white", **options)
    figure.clear()
