"""Pictures as matplotlib figures: for formats of vectors, and under the marks of charts."""

from collections.abc import Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from xai.report.glyphs import ink_of
from xai.report.picture import CAP, HAIRLINE, SHARES, THIN, Label, Picture, Placed, TextLine, extent
from xai.report.text import POINTS, fonts_of, is_plain, line_width


def to_figure(picture: Picture, marks: Iterable[Artist] = ()) -> Figure:
    """A figure of the same size; places are inches from its upper left corner.

    Uses matplotlib's objects only, never pyplot: no global state, safe from any thread. Only layers need
    axes. What else is drawn stands on the figure itself: axes cost more to set up than a whole chart to draw.

    Args:
        picture: What to draw.
        marks: Further artists, over the layers; each is drawn in inches.
    """
    figure = Figure((picture.width, picture.height), facecolor="white", dpi=picture.dpi)
    FigureCanvasAgg(figure)
    inches = Affine2D().scale(1, -1).translate(0, picture.height) + figure.dpi_scale_trans
    if picture.layers:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_autoscale_on(False)
        for one in picture.layers:
            span = (one.x, one.x + one.width, one.y + one.height, one.y)
            pixels = one.layer.draw(one.layer.size)
            axes.imshow(pixels, extent=span, aspect="auto", interpolation="antialiased", zorder=1)
        axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    frames = [_frame(one, "none") for one in picture.layers] + [
        _frame(one, "white") for one in picture.labels
    ]
    for artist in (*frames, *marks, *map(_Text, picture.lines)):
        artist.set_transform(inches)
        figure.add_artist(artist)
    return figure


def _frame(area: Placed | Label, face: str) -> Rectangle:
    place = (area.x, area.y)
    return Rectangle(
        place, area.width, area.height, facecolor=face, edgecolor=HAIRLINE, linewidth=THIN, zorder=2
    )


class _Text(Text):
    """A line of a picture. Pixels of plain text are those of pictures, where the same words are set once."""

    def __init__(self, line: TextLine):
        super().__init__(
            line.x,
            line.y,
            line.text,
            fontproperties=font(line.text, line.size, line.bold),
            color=line.colour,
            ha=line.align,
            va="top",
            parse_math=False,  # nothing is read as mathematics
            usetex=False,
            clip_on=False,
        )
        self._line = line

    def draw(self, renderer: RendererBase) -> None:
        """On pixels, or as outlines; plain text is as wide as for the layout, so nothing is measured."""
        line = self._line
        if not line.text:
            return
        if not is_plain(line.text):
            super().draw(renderer)
            return
        gc = renderer.new_gc()
        if isinstance(renderer, RendererAgg):
            left, _, _, bottom = extent(line, renderer.dpi)
            mask = ink_of(line.text, line.size * renderer.dpi / POINTS, line.bold).mask
            inked = np.empty((*mask.shape, 4), np.uint8)
            inked[..., :3] = [round(255 * share) for share in to_rgb(line.colour)]
            inked[..., 3] = mask[::-1]  # upwards
            renderer.draw_image(gc, left, renderer.height - bottom, inked)
        else:
            left = line.x - SHARES[line.align] * line_width(line.text, line.size, line.bold)
            x, y = self.get_transform().transform((left, line.y + CAP * line.size / POINTS))
            if renderer.flipy():
                y = renderer.get_canvas_width_height()[1] - y
            gc.set_foreground(line.colour)
            renderer.draw_text(gc, x, y, line.text, self.get_fontproperties(), 0, mtext=self)
        gc.restore()


def font(text: str, size: float, bold: bool = False) -> FontProperties:
    """A font for this text."""
    families, weight = fonts_of(text, bold)
    return FontProperties(family=families, size=size, weight=weight)
