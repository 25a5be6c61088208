"""A sheet of paper that is filled from top to bottom: text and pictures, placed in inches.

Uses matplotlib's objects only, never pyplot: no global state, safe from any thread.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xai.report.scale import Scale
from xai.report.text import drawable, font, height, line_width, number, wrap

INK, GREY, HAIRLINE = "#1a1a1a", "#555555", "#8a8a8a"
MARGIN = 0.3
BAR_HEIGHT, BAR_TEXT = 0.1, 7.5
PADDING = 0.08


class Sheet:
    """A page `width` inches wide between its margins. Positions are in inches, y pointing down."""

    def __init__(self, width: float, dpi: float):
        self.width = width
        self.y = MARGIN
        self._figure = Figure(facecolor="white", dpi=dpi)
        FigureCanvasAgg(self._figure)
        self._axes: Axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._axes.set_autoscale_on(False)

    def paragraph(
        self,
        text: str,
        size: float,
        bold: bool = False,
        colour: str = INK,
        left: float = MARGIN,
        width: float | None = None,
    ) -> None:
        """Write from `left` over `width` (default: the whole sheet's) and move on below."""
        lines = wrap(drawable(text), width or self.width, size, bold)
        self.y += self.write(lines, left, self.y, size, bold, colour, align="left")

    def write(
        self,
        lines: list[str],
        x: float,
        y: float,
        size: float,
        bold: bool = False,
        colour: str = INK,
        align: str = "center",
    ) -> float:
        """Write lines from y downwards; returns their height. Nothing in them is read as mathematics."""
        for i, line in enumerate(lines):
            self._axes.text(
                x,
                y + height(i, size),
                line,
                fontproperties=font(line, size, bold),
                color=colour,
                ha=align,
                va="top",
                parse_math=False,
                usetex=False,
            )
        return height(len(lines), size)

    def picture(self, pixels: np.ndarray, x: float, y: float, width: float, tall: float) -> None:
        """Draw (height, width, 3) uint8 pixels with a hairline around them."""
        extent = (x, x + width, y + tall, y)
        self._axes.imshow(pixels, extent=extent, aspect="auto", interpolation="antialiased", zorder=1)
        self._axes.add_patch(
            Rectangle((x, y), width, tall, fill=False, edgecolor=HAIRLINE, linewidth=0.5, zorder=2)
        )

    def stamp(self, text: str, x: float, bottom: float, width: float) -> None:
        """Write on a white label centred on x that ends at `bottom`."""
        lines = wrap(drawable(text), width - 2 * PADDING, BAR_TEXT)
        wide = max(line_width(line, BAR_TEXT) for line in lines) + 2 * PADDING
        tall = height(len(lines), BAR_TEXT) + PADDING
        corner = x - wide / 2, bottom - tall
        self._axes.add_patch(
            Rectangle(corner, wide, tall, facecolor="white", edgecolor=HAIRLINE, linewidth=0.5, zorder=2)
        )
        self.write(lines, x, bottom - tall + 0.6 * PADDING, BAR_TEXT)

    def bar(self, scale: Scale, unit: str, x: float, y: float, width: float, room: float) -> float:
        """Draw a colour bar centred on x with its limits and unit; returns its height."""
        left = x - width / 2
        values = np.linspace(scale.low, scale.limit, 256)
        self.picture((scale.colours(values[None]) * 255).astype(np.uint8), left, y, width, BAR_HEIGHT)
        low, middle, high = map(number, (scale.low, (scale.low + scale.limit) / 2, scale.limit))
        below = y + BAR_HEIGHT + 0.03
        self.write([low], left, below, BAR_TEXT, align="left")
        self.write([high], left + width, below, BAR_TEXT, align="right")
        if line_width(low + middle + middle + high, BAR_TEXT) < width:
            self.write([middle], x, below, BAR_TEXT)
        below += height(1, BAR_TEXT)
        return below - y + self.write(wrap(drawable(unit), room, BAR_TEXT), x, below, BAR_TEXT, colour=GREY)

    def finish(self) -> Figure:
        """The figure, as tall as what was written."""
        width, tall = self.width + 2 * MARGIN, self.y + MARGIN
        self._figure.set_size_inches(width, tall)
        self._axes.set(xlim=(0, width), ylim=(tall, 0))
        return self._figure
