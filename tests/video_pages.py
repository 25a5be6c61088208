"""A page of a video, made of photographs and smooth random maps, without any model."""

import numpy as np
from report_pages import explanation_page

from xai.report.payload import MapFlicker, Timeline, TimelineFrame


def video_page(frames: int = 9, shown: int = 6, **changes):
    """A page of `frames` explained frames, the first `shown` of which it holds."""
    page = explanation_page(shown)
    labels = page.labels
    fake = np.linspace(0.1, 0.9, frames) if frames > 1 else np.array([0.5])
    timeline = Timeline(
        video="clip.mp4",
        seconds=float(frames),
        label=labels[1],
        limit=1.0,
        signed=True,
        frames=[
            TimelineFrame(
                number=10 * i,
                seconds=float(i),
                predicted=labels[int(p > 0.5)],
                probabilities={labels[0]: 1 - p, labels[1]: p},
                margin=float(np.log(p / (1 - p))),
                change=None if i == 0 else 0.1,
                agreement=None if i in (0, 4) else 0.5,
                parts={"nose": 0.2 + p / 5, "mouth": 0.3} if i != 2 else {},
                image=i if i < shown else None,
            )
            for i, p in enumerate(fake.tolist())
        ],
        predicted=labels[1],
        mean={labels[0]: 0.5, labels[1]: 0.5},
        median={labels[0]: 0.5, labels[1]: 0.5},
        certain=[min(3, frames - 1)],
        changing=[1] if frames > 1 else [],
        flicker=MapFlicker(
            pairs=6, mean=0.5, control=0.1, low=0.0, high=0.2, p=0.01, orders=99, verdict="Steady."
        ),
        remarks=["It may be cut off."],
    )
    return page.model_copy(update={"timeline": timeline, "fusion": None, "shown": (shown, frames), **changes})
