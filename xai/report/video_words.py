"""What is said of a video: which class is followed, when a frame is shown, whether the maps flicker."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from xai.core.language import gettext, ngettext
from xai.report.payload import Page, Timeline
from xai.report.tables import Cell, Column, Table, line, numeric, table
from xai.report.text import number, percent
from xai.stats import Flicker

ALIKE = 0.5  # rank correlation of random pairs from which on all maps of a video are about the same


def followed_class(names: Sequence[str], labels: Sequence[str], predicted: str) -> str:
    """The map that is shown where one has to do.

    The one class called fake, if there is one; else the class predicted for the video; else the first map.

    Args:
        names: Of the maps.
        labels: All class names.
        predicted: Of the video.
    """
    fake = [name for name in names if name in labels and "fake" in name.casefold()]
    if len(fake) == 1:
        return fake[0]
    return predicted if predicted in names else names[0]


def clock(seconds: float) -> str:
    """Minutes and seconds, to the hundredth: 0:03.20, 61:00.00."""
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"


def frame_name(seconds: float, number: int) -> str:
    """Time and number of a frame, as a heading."""
    return gettext("{time} · frame {number}", time=clock(seconds), number=number)


def chance(label: str, probability: float) -> str:
    """Such as P(fake) 97.3%."""
    return f"P({label}) {percent(probability)}"


def video_verdict(timeline: Timeline) -> str:
    """What the model says of the video, and how that follows from its frames."""
    label = timeline.predicted
    return ngettext(
        "predicted: {label} ({mean}, mean of {n} frame; median {median})",
        "predicted: {label} ({mean}, mean of {n} frames; median {median})",
        len(timeline.frames),
        label=label,
        mean=percent(timeline.mean[label]),
        median=percent(timeline.median[label]),
    )


def flicker_verdict(found: Flicker) -> str:
    """Whether the maps follow the video, in words."""
    if not isfinite(found.mean):
        return gettext("No two neighbouring frames have maps that can be compared.")
    numbers = gettext("rank correlation of neighbouring maps {mean}", mean=_hundredths(found.mean))
    if found.steadier_than_chance is None:
        return gettext("{numbers}; too few frames to compare it with chance.", numbers=_sentence(numbers))
    numbers = gettext(
        "{numbers}; frames in random order {control} (95 % of orders: {low} to {high})",
        numbers=_sentence(numbers),
        control=_hundredths(found.control),
        low=_hundredths(found.low),
        high=_hundredths(found.high),
    )
    if found.steadier_than_chance:
        meaning = gettext("Neighbours agree more than frames at random: the maps follow the video.")
    elif found.control >= ALIKE:
        meaning = gettext("All maps of the video are much alike, whatever the order of its frames.")
    else:
        meaning = gettext(
            "Neighbours agree no more than frames at random: the maps flicker, so do not argue from one "
            "frame."
        )
    return gettext("{numbers}. {meaning}", numbers=numbers, meaning=meaning)


def _hundredths(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class VideoView:
    """A video as a page tells it without its script.

    Args:
        verdict: What the model says of it.
        frames: Those that matter most, and why.
    """

    verdict: str
    frames: Table


def video_of(page: Page) -> VideoView | None:
    """What a page says of its video; None for other pages."""
    timeline = page.timeline
    if timeline is None:
        return None
    label = timeline.label if timeline.label in timeline.mean else timeline.predicted
    why = {place: gettext("most certain") for place in timeline.certain}
    for place in timeline.changing:
        changing = gettext("changes most")
        why[place] = f"{why[place]}{gettext(', ')}{changing}" if place in why else changing
    lines = [
        line(
            [
                Cell(clock(frame.seconds), frame.seconds),
                numeric(float(frame.number), lambda number: f"{number:.0f}"),
                numeric(frame.probabilities[label], percent),
                Cell("") if frame.change is None else numeric(100 * frame.change, _points),
                numeric(frame.margin, number),
                Cell(why[place]),
            ]
        )
        for place, frame in ((place, timeline.frames[place]) for place in sorted(why))
    ]
    caption = gettext("Where the model is most certain, either way, and where its answer changes most")
    columns = [
        gettext("time"),
        Column(gettext("frame")),
        Column(f"P({label})"),
        Column(gettext("change"), note=gettext("Since the explained frame before, in percentage points.")),
        Column(gettext("margin"), note=gettext("Logit of the class minus the log-sum-exp of all others.")),
        Column(gettext("why"), number=False),
    ]
    return VideoView(video_verdict(timeline), table(caption, columns, lines))


def _points(change: float) -> str:
    return f"{change:+.1f}".replace("-", "−")
