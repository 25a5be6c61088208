"""What follows from a video's frames: changes, frames that matter, flicker, the line of time."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from xai.core import Explanation, Sample
from xai.core.errors import printable
from xai.explanation.video import VideoExplanation
from xai.report.colours import ColourScale
from xai.report.encode import finite
from xai.report.filmstrip import small_picture
from xai.report.image_payload import Image
from xai.report.payload import MapFlicker, Timeline, TimelineFrame
from xai.report.video_words import flicker_verdict
from xai.stats import Flicker, map_flicker

CHANGE = 0.05  # of the probability, below which nothing is named a change
MATTER = 3  # frames named as those that matter most, of each kind
FULL = 0.99  # quantile of the sizes of relevance, of all patches of all frames


@dataclass(frozen=True, eq=False)
class VideoResults:
    """What follows from a video's frames, made once."""

    explanation: VideoExplanation

    @cached_property
    def changes(self) -> list[float | None]:
        """By how much the probability of the class followed moved since the frame before."""
        label = self.label
        column = self.explanation.frame_probabilities[:, self.explanation.labels.index(label)]
        return [None, *np.diff(column).tolist()]

    @property
    def label(self) -> str:
        """The class whose probability is followed: that of the map, or of a contrast the one predicted."""
        followed = self.explanation.followed
        return followed if followed in self.explanation.labels else self.explanation.predicted

    @cached_property
    def flicker(self) -> dict[str, Flicker]:
        """By map."""
        one = self.explanation
        return {name: map_flicker(one.maps(name), one.seed) for name in one.names}

    @cached_property
    def certain(self) -> list[int]:
        """Places of the frames with the largest margin, either way."""
        return np.argsort(-np.abs(self.explanation.margins), kind="stable")[:MATTER].tolist()

    @cached_property
    def changing(self) -> list[int]:
        """Places of the frames where the probability changed most, by 5 points at least."""
        sizes = np.abs(np.array([change or 0.0 for change in self.changes]))
        ranked = np.argsort(-sizes, kind="stable")[:MATTER]
        return [int(place) for place in ranked if sizes[place] >= CHANGE]

    @cached_property
    def scale(self) -> ColourScale:
        """Of all maps of all frames: full colour from `FULL` of their sizes on: one patch pales no other."""
        maps = np.stack([self.explanation.maps(name) for name in self.explanation.names])
        whole = ColourScale.of(maps)
        return replace(whole, limit=float(np.quantile(np.abs(maps), FULL)) or whole.limit)

    @cached_property
    def timeline(self) -> Timeline:
        """For pictures and the page."""
        one, found = self.explanation, self.flicker[self.explanation.followed]
        agreement = [None, *found.pairs]
        frames = [
            TimelineFrame(
                number=frame.number,
                seconds=frame.seconds,
                predicted=one.labels[int(frame.logits.argmax())],
                probabilities=dict(zip(one.labels, one.frame_probabilities[place].tolist(), strict=True)),
                margin=float(one.margins[place]),
                change=self.changes[place],
                agreement=agreement[place],
                parts=dict(frame.parts.get(one.followed, {})),
                image=None,
            )
            for place, frame in enumerate(one.frames)
        ]
        return Timeline(
            video=printable(one.path.name),
            seconds=max(one.seconds, one.frames[-1].seconds),
            label=one.followed,
            limit=self.scale.limit,
            signed=self.scale.signed,
            frames=frames,
            predicted=one.predicted,
            mean=one.probabilities,
            median=one.median_probabilities,
            certain=self.certain,
            changing=self.changing,
            flicker=flicker_of(found),
            remarks=list(one.remarks),
        )

    def small(self, place: int, entry: Image) -> Explanation:
        """A frame's explanation over the small picture that was kept of it."""
        one, frame = self.explanation, self.explanation.frames[place]
        picture, geometry = small_picture(entry)
        return Explanation(
            sample=Sample(entry.name, picture, group=one.id),
            labels=one.labels,
            logits=frame.logits,
            maps=frame.maps,
            geometry=geometry,
            method=one.method,
            options=one.options,
            model=one.model,
            problem_type=one.problem_type,
            preset=one.preset,
        )


def flicker_of(found: Flicker) -> MapFlicker:
    """As pages and records hold it; what is not defined is None."""
    return MapFlicker(
        pairs=sum(one is not None for one in found.pairs),
        mean=finite(found.mean),
        control=finite(found.control),
        low=finite(found.low),
        high=finite(found.high),
        p=finite(found.p),
        orders=found.shuffles,
        verdict=flicker_verdict(found),
    )
