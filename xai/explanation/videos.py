"""The library call and the run over several videos: each explained, then written as a whole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from xai.attr import PatchAttribution
from xai.core import DataError, ModelError, OutputError
from xai.core.language import gettext, language
from xai.core.options import check_option
from xai.core.progress import progress as bar
from xai.data import unique_stems
from xai.explanation.arguments import Wanted, boxes_for, check_arguments, face_finder
from xai.explanation.explainer import Explainer
from xai.explanation.faces import FaceFinder, FollowedFace
from xai.explanation.files import PICTURES, owner_of
from xai.explanation.frame_store import FrameStore
from xai.explanation.inputs import BoxOf, Failure
from xai.explanation.video import VideoExplanation, explain_frames
from xai.explanation.video_files import video_page, video_record, write_video
from xai.explanation.video_results import VideoResults
from xai.models import load
from xai.video import DEFAULT_SAMPLING, Sampling, parse_sampling, require_av


@dataclass(frozen=True)
class ExplainedVideo:
    """An explained video and what was written about it (no `files` if nothing was)."""

    explanation: VideoExplanation
    record: dict[str, Any]


def explain_video(
    video: str | Path,
    model: str | nn.Module = "demo",
    *,
    every: str | float | None = None,
    frames: int | None = None,
    method: str | type[PatchAttribution] | None = None,
    target: Wanted = None,
    out: str | Path | None = None,
    box: tuple[float, float, float, float] | None = None,
    face: str | int | None = None,
    whole_image: bool = False,
    batch_size: int = 8,
    seed: int = 0,
    pictures: str = "all",
    progress: bool | None = None,
    lang: str | None = None,
    **options: Any,
) -> VideoExplanation:
    """Explain frames of a video, one relevance map per class and frame, in one pass and flat memory.

    Args:
        video: Path of the file.
        model: What `xai.load` takes alone: "demo", another spec, a `Classifier`.
        every: "1s", "500ms", "10f" (every tenth frame) or seconds: the frames shown at these times.
        frames: So many, evenly spread; default 32, if `every` is not given.
        method: As of `xai.explain`.
        target: As of `xai.explain`; of a model with more than two classes by default the two most probable
            of the first frame.
        out: Folder; the files lie in a folder of the video's name in it. None writes nothing.
        box: (x, y, width, height) in pixels of a frame turned upright: explain this crop of each.
        face: "largest", or a number from 0, the largest first: this face of the first frame is followed
            through the video and cut out upright. Default: the largest, if the detector's YAML says
            `faces: aligned`.
        whole_image: Look for no faces.
        batch_size: Most frames at once; halved when memory runs out.
        seed: Of methods that draw random numbers, and of the control of the flicker.
        pictures: "all" or "comparison": filmstrip, timeline, annotated video and page; "none": table, maps
            and record only.
        progress: Whether a bar counts frames; None: on a terminal and in a notebook, to who has to wait.
        lang: Language of what is written, "en" or "zh"; None: the one of the surrounding `xai.language`.
        options: The method's own.

    Returns:
        Answers and maps of all explained frames, without their pictures.

    Raises:
        UsageError: The extra `video` is not installed, or a wrong name or option.
        DataError: The video cannot be read, or a file not be written.
        ModelError: The model cannot be explained.
    """
    require_av()
    with language(lang):
        check_arguments(
            every=every, frames=frames, out=out, whole_image=whole_image, batch_size=batch_size, seed=seed
        )
        sampling = parse_sampling(every, frames)
        explainer = Explainer(load(model), method, target, batch_size=batch_size, seed=seed, **options)
        folder, path = None if out is None else Path(out), Path(video)
        box_of = boxes_for(box)
        faces = face_finder(explainer.classifier, face, whole_image=whole_image, box_of=box_of)
        with bar(None, gettext("Explaining"), progress) as step:
            for result in explain_each_video(
                *(explainer, [path], folder, sampling),
                box_of=box_of,
                faces=faces,
                pictures=pictures,
                step=step,
            ):
                if isinstance(result, ExplainedVideo):
                    return result.explanation
                raise result.error
    raise AssertionError("one video gives one result")


def explain_each_video(
    explainer: Explainer,
    paths: Sequence[Path],
    out: Path | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    *,
    box_of: BoxOf | None = None,
    faces: FaceFinder | None = None,
    pictures: str = "all",
    step: Callable[[], object] = lambda: None,
) -> Iterator[ExplainedVideo | Failure]:
    """Explain one video after the other; what was yielded is on disk as a whole.

    Args:
        explainer: Model, method and targets.
        paths: Of the videos.
        out: Folder, in which each video has one of its own; None writes nothing.
        sampling: Which frames.
        box_of: Says which crop of the frames to explain.
        faces: Finds them in the frames, of which one is followed; None: frames are explained whole.
        pictures: Which are drawn: "all", "comparison" (the same here) or "none".
        step: Called after each frame.

    Raises:
        OutputError: A file cannot be written.
        ModelError: The model cannot be explained.
        UsageError: The extra `video` is not installed, or unknown pictures.
    """
    check_option("pictures", pictures, PICTURES)
    require_av()
    stems = unique_stems(paths, owner_of(out, folders=True)) if out else unique_stems(paths)
    for path in paths:
        try:
            explain = partial(
                *(explain_frames, explainer, path, stems[path], sampling),
                box_of=box_of,
                face=faces and FollowedFace(faces),
                step=step,
            )
            yield _explained(explain, explainer, out, pictures != "none")
        except OutputError:
            raise
        except (DataError, ModelError) as error:
            yield Failure(str(path), error)


def _explained(
    explain: Callable[..., VideoExplanation], explainer: Explainer, out: Path | None, drawn: bool
) -> ExplainedVideo:
    """Explain one video by `explain`, which lacks what keeps its pictures, and write its files."""
    store = FrameStore(out) if out is not None and drawn else None
    try:
        found = explain(keeper=store)
        results = VideoResults(found)
        if out is None:
            return ExplainedVideo(found, video_record(results))
        page = None if store is None else video_page(results, store, explainer)
        return ExplainedVideo(found, write_video(results, out, store, page))
    finally:
        if store is not None:
            store.close()
