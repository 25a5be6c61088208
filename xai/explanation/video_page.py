"""The page of a video: its frames as images, under a line of time."""

from collections.abc import Sequence

import numpy as np

from xai.core.language import gettext
from xai.explanation.explainer import Explainer
from xai.explanation.frame_store import FrameStore
from xai.explanation.page import method_card, provenance_of
from xai.explanation.video_results import VideoResults
from xai.report.about import model_description, without_folders
from xai.report.explanations import explanation_page
from xai.report.payload import Page, PageMethod

MOST_FRAMES = 200  # in a page: about 6 MB


def video_page(results: VideoResults, store: FrameStore, explainer: Explainer) -> Page:
    """The page of a video, with at most 200 frames: those that matter most, the others evenly spread.

    Args:
        results: Of the video.
        store: What was kept of each frame.
        explainer: Explained it.
    """
    one, timeline = results.explanation, results.timeline
    places = page_places(len(one.frames), [*results.certain, *results.changing])
    images = {place: image for image, place in enumerate(places)}
    frames = [
        frame.model_copy(update={"image": images.get(place)}) for place, frame in enumerate(timeline.frames)
    ]
    settings = {
        "video": {"file": one.path.name, **one.file, **one.sampling.describe()},
        "settings": {
            "preset": one.preset,
            "method": one.method,
            "options": dict(one.options),
            "classes": list(one.names),
            "seed": one.seed,
            "batch_size": explainer.batch_size,
        },
    }
    page = explanation_page(
        [store[place].entry for place in places],
        labels=one.labels,
        problem_type=one.problem_type,
        method=PageMethod(name=one.method, method=one.method, options=dict(one.options), preset=one.preset),
        title=gettext(
            "{video}: {method} of {model}",
            video=timeline.video,
            method=one.method,
            model=without_folders(explainer.classifier.name),
        ),
        model=model_description(one.model),
        provenance=settings | provenance_of(explainer.classifier),
        cards=[method_card(one.method)],
        asked=len(one.frames),
    )
    return page.model_copy(update={"timeline": timeline.model_copy(update={"frames": frames})})


def page_places(frames: int, wanted: Sequence[int]) -> list[int]:
    """Which of so many frames a page shows, in order: those wanted, and others as long as there is room."""
    chosen = set(wanted)
    spread = np.linspace(0, frames - 1, min(frames, MOST_FRAMES - len(chosen))).round().astype(int)
    return sorted(chosen | set(spread.tolist()))
