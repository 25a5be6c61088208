"""Pictures as matplotlib figures: for formats of vectors, and under the marks of charts."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle

from xai.report.picture import HAIRLINE, THIN, Picture
from xai.report.text import fonts_of


def to_figure(picture: Picture) -> Figure:
    """A figure of the same size, whose one axes measure inches from the upper left corner.

    Uses matplotlib's objects only, never pyplot: no global state, safe from any thread.
    """
    figure = Figure((picture.width, picture.height), facecolor="white", dpi=picture.dpi)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    for one in picture.layers:
        extent = (one.x, one.x + one.width, one.y + one.height, one.y)
        pixels = one.layer.draw(one.layer.size)
        axes.imshow(pixels, extent=extent, aspect="auto", interpolation="antialiased", zorder=1)
        axes.add_patch(
            Rectangle(
                (one.x, one.y),
                one.width,
                one.height,
                fill=False,
                edgecolor=HAIRLINE,
                linewidth=THIN,
                zorder=2,
            )
        )
    for one in picture.labels:
        axes.add_patch(
            Rectangle(
                (one.x, one.y), one.width, one.height,
                facecolor="white", edgecolor=HAIRLINE, linewidth=THIN, zorder=2,
            )
        )  # fmt: skip
    for line in picture.lines:
        axes.text(
            line.x,
            line.y,
            line.text,
            fontproperties=font(line.text, line.size, line.bold),
            color=line.colour,
            ha=line.align,
            va="top",
            parse_math=False,  # nothing is read as mathematics
            usetex=False,
        )
    axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    return figure


def font(text: str, size: float, bold: bool = False) -> FontProperties:
    """A font for this text."""
    families, weight = fonts_of(text, bold)
    return FontProperties(family=families, size=size, weight=weight)
