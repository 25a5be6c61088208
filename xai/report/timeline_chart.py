"""The picture of a video over time: the probability of a class, and how much its maps agree."""

from typing import TYPE_CHECKING

import numpy as np

from xai.core.language import gettext, joined
from xai.data.face_parts import PARTS
from xai.report.face_parts import part_name
from xai.report.figures.description import PALETTE
from xai.report.layout import MARGIN
from xai.report.payload import MapFlicker, Timeline, TimelineFrame
from xai.report.picture import GREY, HAIRLINE, Layer
from xai.report.render.plot import DPI, GRID, SMALL, InchScale, Plot, widest
from xai.report.text import drawable_language, percent
from xai.report.video_words import clock, video_verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

WIDE, TALL, LOW = 8.6, 2.3, 1.1  # inches: all panels, that of the probability, the others
DOTS = 120  # frames up to which each has a dot
HALF = 0.5
SLACK = 1e-9
ROW, COLUMNS, PART_INK = 0.16, 1200, (193, 68, 5)  # of the parts of a face: inches, pixels, colour


@drawable_language()
def draw_timeline(timeline: Timeline) -> "Figure":
    """The probability of the class followed over time with the frames that matter most, then the agreement.

    Args:
        timeline: Of a video.
    """
    plot = Plot(WIDE + 1.4)
    plot.head(gettext("{video} over time", video=timeline.video), video_verdict(timeline))
    with_parts = any(frame.parts for frame in timeline.frames)
    start = MARGIN + (widest([part_name(part) for part in PARTS], SMALL) + 0.1 if with_parts else 0.6)
    along = InchScale(0.0, max(timeline.seconds, SLACK), start, start + WIDE)
    label = timeline.label if timeline.label in timeline.mean else timeline.predicted
    _panel(
        plot,
        along,
        f"P({label})",
        timeline.frames,
        lambda frame: frame.probabilities.get(label),
        TALL,
        marked=timeline.certain,
        changing=timeline.changing,
    )
    if any(frame.agreement is not None for frame in timeline.frames):
        plot.y += 0.18
        title = gettext("agreement of each map with the one before it (rank correlation)")
        _panel(plot, along, title, timeline.frames, lambda frame: frame.agreement, LOW, low=-1.0, colour="3")
        if timeline.flicker is not None and timeline.flicker.low is not None:
            _band(plot, along, timeline.flicker)
    parts = [part for part in PARTS if any(part in frame.parts for frame in timeline.frames)]
    if parts:
        plot.y += 0.18
        _parts(plot, along, timeline, parts)
    _times(plot, along)
    notes = [
        gettext(
            "Large dots: the frames of which the model is most certain, either way. Vertical lines: where "
            "the probability changes most from one explained frame to the next. Only frames that were looked "
            "at have a dot; between them nothing is known."
        ),
        joined(
            [
                timeline.flicker.verdict if timeline.flicker else "",
                gettext("Dashed: the mean. Grey band: the mean in random orders of the same frames.")
                if timeline.flicker and timeline.flicker.low is not None
                else "",
            ]
        ),
        *timeline.remarks,
    ]
    plot.foot(notes)
    return plot.figure()


def _panel(
    plot: Plot,
    along: InchScale,
    title: str,
    frames: "Sequence[TimelineFrame]",
    read: "Callable[[TimelineFrame], float | None]",
    tall: float,
    *,
    low: float = 0.0,
    colour: str = "2",
    marked: "Sequence[int]" = (),
    changing: "Sequence[int]" = (),
) -> None:
    """One quantity over time in [low, 1]; a frame without it leaves a gap."""
    plot.text(title, along.start, plot.y + 0.06, SMALL, align="left", colour=GREY)
    plot.y += 0.2
    top, bottom = plot.y, plot.y + tall
    up = InchScale(low, 1.0, bottom, top)
    for value in (low, (low + 1) / 2, 1.0):
        plot.line([along.start, along.end], [up.at(value)] * 2, GRID, 0.7, zorder=0.5)
        text = f"{value:.0%}" if low == 0 else f"{value:g}".replace("-", "−")
        plot.text(text, along.start - 0.07, up.at(value), SMALL, align="right", colour=GREY)
    for place in changing:
        x = along.at(frames[place].seconds)
        plot.line([x, x], [top, bottom], PALETTE["control-2"], 0.9, linestyle=(0, (3, 2)), zorder=1)
    ink = PALETTE[colour]
    run: list[tuple[float, float]] = []
    for place, frame in enumerate(frames):
        value = read(frame)
        if value is None:
            _stroke(plot, run, ink)
            run = []
            continue
        run.append((along.at(frame.seconds), up.at(min(max(value, low), 1.0))))
        if place in marked or len(frames) <= DOTS:
            plot.dot(*run[-1], ink, 6.5 if place in marked else 3.2)
    _stroke(plot, run, ink)
    plot.line([along.start, along.end], [bottom, bottom], HAIRLINE, 0.8)
    plot.y = bottom


def _stroke(plot: Plot, run: "Sequence[tuple[float, float]]", ink: str) -> None:
    if len(run) > 1:
        plot.line([x for x, _ in run], [y for _, y in run], ink, 1.3, zorder=3)


def _band(plot: Plot, along: InchScale, found: MapFlicker) -> None:
    """The mean, and where it lies by chance, in the last panel, which goes from −1 to 1."""
    up = InchScale(-1.0, 1.0, plot.y, plot.y - LOW)
    low, high, mean = up.at(found.low or 0.0), up.at(found.high or 0.0), up.at(found.mean or 0.0)
    plot.box(along.start, high, along.end - along.start, max(low - high, 0.02), "#e4e4e4")
    plot.line([along.start, along.end], [mean, mean], PALETTE["3"], 0.9, linestyle=(0, (3, 2)), zorder=2)


def _parts(plot: Plot, along: InchScale, timeline: Timeline, parts: "Sequence[str]") -> None:
    """A row for each part of the face, the darker the more, in the nearest frame."""
    frames = timeline.frames
    shares = np.array([[frame.parts.get(part, 0.0) for part in parts] for frame in frames])
    most = float(shares.max())
    times = np.array([frame.seconds for frame in frames])
    columns = (np.arange(COLUMNS) + 0.5) / COLUMNS * along.high
    nearest = np.abs(columns[:, None] - times).argmin(1)
    strength = (shares[nearest].T / (most or 1.0))[..., None]
    pixels = (255 - strength * (255 - np.array(PART_INK)) + 0.5).astype(np.uint8)
    title = gettext(
        "share of the evidence for {label} by part of the face; darkest: {most}",
        label=timeline.label,
        most=percent(most),
    )
    plot.text(title, along.start, plot.y + 0.06, SMALL, align="left", colour=GREY)
    plot.y += 0.2
    tall = ROW * len(parts)
    rows = pixels.repeat(-(-round(tall * DPI) // len(parts)), axis=0)
    plot.picture(Layer.of(rows), along.start, plot.y, along.end - along.start, tall)
    for place, part in enumerate(parts):
        middle = plot.y + (place + 0.5) * ROW
        plot.text(part_name(part), along.start - 0.07, middle, SMALL, align="right", colour=GREY)
    plot.y += tall


def _times(plot: Plot, along: InchScale) -> None:
    for value, _ in along.ticks(8):
        x = along.at(value)
        plot.line([x, x], [plot.y, plot.y + 0.04], HAIRLINE, 0.8)
        plot.write([clock(value)], x, plot.y + 0.06, SMALL, colour=GREY)
    plot.y += 0.2
    middle = (along.start + along.end) / 2
    plot.text(gettext("minutes:seconds"), middle, plot.y + 0.06, SMALL, colour=GREY)
    plot.y += 0.14
