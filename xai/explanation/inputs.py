"""What a person gives: images as samples, broken ones as failures; work on them in a thread."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TypeVar

from PIL import Image
from torch import Tensor

from xai.core import ConfigError, DataError, Geometry, Sample, UsageError, XaiError
from xai.core.files import expanded, fault_of, is_folder, resolved, short_path
from xai.data import (
    Row,
    as_shown,
    check_box,
    find_images,
    find_videos,
    read_image,
    read_manifest,
    unique_stems,
)
from xai.data.find import LONGEST
from xai.data.manifest import SUFFIXES as MANIFEST_SUFFIXES
from xai.explanation.files import owner_of
from xai.models import Classifier

Source = str | Path | Image.Image | Sample
Found = Path | Image.Image | Sample | Row
"""One image to be explained; rows are those of a manifest, with what it knows of them."""
BoxOf = Callable[[Path], tuple[float, float, float, float]]

Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelInput:
    """A sample with what the model sees of it."""

    sample: Sample
    pixels: Tensor
    geometry: Geometry


@dataclass(frozen=True)
class Failure:
    """An image that could not be explained.

    Args:
        name: The image's path as given, or the id of a sample.
        error: What was wrong, for people.
    """

    name: str
    error: XaiError

    def __post_init__(self) -> None:
        forget_frames(self.error)


def forget_frames(error: BaseException) -> None:
    """Drop the frames that an error holds on to, and with them images and tensors."""
    error.__traceback__ = error.__context__ = error.__cause__ = None


def gather(images: Source | Iterable[Source], out: Path | None) -> list[Found]:
    """Expand folders, globs and manifests into images, each once; leave pictures and samples as they are.

    Raises:
        ConfigError: Two manifests contradict each other.
        UsageError: For anything else, such as tensors; or a sample's id is that of another one, or cannot be
            the beginning of the names of files in `out`.
    """
    several = [images] if isinstance(images, str | Path | Image.Image | Sample) else images
    if not isinstance(several, Iterable):
        raise _no_image(images)
    sources: dict[Path | int, Found] = {}
    for source in several:
        if isinstance(source, str | Path) and _is_manifest(source):
            for row in read_manifest(source):
                place = resolved(row.path)
                _check_row(row, sources.get(place))
                sources[place] = row  # what it says is known also of an image that was named before
        elif isinstance(source, str | Path):
            for path in _found(source, out):
                sources.setdefault(resolved(path), path)
        elif isinstance(source, Image.Image | Sample):
            sources[id(source)] = source
        else:
            raise _no_image(source)
    found = list(sources.values())
    _check_ids(_ids_of(found), out)
    return found


def _check_row(row: Row, earlier: Found | None) -> None:
    if isinstance(earlier, Row) and replace(row, where=earlier.where) != earlier:
        raise ConfigError(
            f"{row.where}: {short_path(row.path)} is listed already at {earlier.where}, with other values.",
            "Give one row an image.",
        )


def _ids_of(sources: Sequence[Found]) -> list[str]:
    """The ids of samples, and those that pictures get from their places."""
    return [
        source.id if isinstance(source, Sample) else f"image-{number}"
        for number, source in enumerate(sources, 1)
        if isinstance(source, Sample | Image.Image)
    ]


def _check_ids(ids: Sequence[str], out: Path | None) -> None:
    count = Counter(one.casefold() for one in ids)
    if twice := [one for one in ids if count[one.casefold()] > 1]:
        raise UsageError(
            f"{count[twice[0].casefold()]} images have the id {twice[0]!r}.",
            "Give each sample an id of its own: its files are named by it.",
        )
    for one in ids if out is not None else ():
        odd = one in ("", "..") or Path(one).name != one or not {"\\", "\0"}.isdisjoint(one)
        if odd or len(os.fsencode(one)) > LONGEST:
            raise UsageError(
                f"The id {one[:80]!r} of a sample cannot be the name of its files.",
                f"Give an id without slashes, of at most {LONGEST} bytes.",
            )


def _is_manifest(path: str | Path) -> bool:
    """Whether a path leads to a file that ends as manifests do."""
    found = expanded(path)
    return found.suffix.lower() in MANIFEST_SUFFIXES and fault_of(found) is None


def _found(source: str | Path, out: Path | None) -> list[Path]:
    """Images; a folder without any stands for its videos."""
    found = find_images([source], exclude=out)
    return [one for path in found for one in (is_folder(path) and find_videos(path, exclude=out)) or [path]]


def _no_image(given: object) -> UsageError:
    return UsageError(
        f"{type(given).__name__} is no image to explain.",
        "Give a path, a PIL image or an xai.core.Sample, or several of them; methods of "
        "xai.attr.create(NAME, classifier) take preprocessed tensors.",
    )


def read_samples(
    sources: Sequence[Found],
    out: Path | None,
    box_of: BoxOf | None = None,
    folders: bool = False,
    faces: bool = False,
) -> Iterator[Sample | Failure]:
    """Read one image after the other; each gets an id of its own, the stem of its files in `out`.

    With `folders` the id is also the name of a folder there, with `faces` the beginning of `{id}_face0` …
    """
    paths = [path for source in sources if (path := _path_of(source)) is not None]
    given = {one.casefold() for one in _ids_of(sources)}
    known = owner_of(out, folders) if out else lambda stem: None

    def owner(stem: str) -> Path | None:
        return Path() if stem.casefold() in given else known(stem)

    stems = unique_stems(paths, _owner_of_faces(owner, paths) if faces else owner)
    for number, source in enumerate(sources, 1):
        try:
            yield _read(source, stems, number, box_of)
        except XaiError as error:
            yield Failure(str(_path_of(source) or source), error)


def _path_of(source: Found) -> Path | None:
    return source.path if isinstance(source, Row) else source if isinstance(source, Path) else None


def _owner_of_faces(
    owner: Callable[[str], Path | None], paths: Sequence[Path]
) -> Callable[[str], Path | None]:
    """The same where the files of a stem are those of its faces; `x_face1` belongs to an image `x`."""
    stems = {path.stem.casefold() for path in paths}

    def of_faces(stem: str) -> Path | None:
        photograph, _, number = stem.rpartition("_face")
        if number.isdecimal() and photograph.casefold() in stems:
            return Path()
        return owner(stem) or owner(f"{stem}_face0")

    return of_faces


def _read(source: Found, stems: dict[Path, str], number: int, box_of: BoxOf | None) -> Sample:
    if isinstance(source, Sample):
        plain = source.image.mode == "RGB"
        sample = source if plain else replace(source, image=as_shown(source.image, source.id, turned=False))
        height_and_width = sample.image.size[::-1]
        if sample.mask is not None and sample.mask.shape != height_and_width:
            raise DataError(
                f"{sample.id}: the mask has the shape {sample.mask.shape}.",
                f"Give one of the image's (height, width), {height_and_width}.",
            )
    elif isinstance(source, Row):
        sample = source.load(stems[source.path])
        sample = replace(sample, box=box_of(source.path)) if box_of else sample
    elif isinstance(source, Path):
        image = read_image(source)
        sample = Sample(stems[source], image, source, box=box_of(source) if box_of else None)
    else:
        name = f"image-{number}"
        sample = Sample(name, as_shown(source, name), box=box_of(Path()) if box_of else None)
    if sample.box is not None:
        check_box(sample.box, sample.image.size, sample.path or sample.id)
    return sample


def in_background(jobs: Iterable[Callable[[], Result] | Failure], ahead: int) -> Iterator[Result | Failure]:
    """Run jobs one after the other in a thread, while the next ones are made; results in their order.

    Where the caller sees a difference it is in time alone. Failures are handed through at their place, and
    nothing after one is begun before the caller has it. After a job that fails none is run, and its error is
    raised once all results before it were given. An error in making the jobs, also an interrupt, is raised
    after the results of those that were made; a second interrupt ends at the job that runs. A caller that
    stops asking stops the jobs.

    Args:
        jobs: Each is called in the context (language) in which it was made.
        ahead: Most jobs whose results were not asked for when the next one is made.
    """
    stopped = Event()
    waiting: deque[Future[Result]] = deque()

    def run(job: Callable[[], Result]) -> Result:
        if stopped.is_set():
            raise CancelledError
        try:
            return job()
        except BaseException:
            stopped.set()
            raise

    def results(left: int) -> Iterator[Result]:
        while waiting and (len(waiting) > left or waiting[0].done()):
            result = waiting[0].result()
            waiting.popleft()
            yield result

    with ThreadPoolExecutor(1, "xai-writing") as thread:
        try:
            try:
                for job in jobs:
                    if isinstance(job, Failure):
                        yield from results(0)
                        yield job
                    else:
                        waiting.append(thread.submit(copy_context().run, run, job))
                        yield from results(ahead)
            except GeneratorExit:
                raise
            except BaseException:
                if not stopped.is_set():
                    yield from results(0)
                raise
            yield from results(0)
        finally:
            stopped.set()


def prepare(classifier: Classifier, sample: Sample) -> ModelInput:
    """Cut out a sample's box, if it has one, and preprocess it.

    Raises:
        DataError: The preprocessing cannot take this image.
    """
    if sample.box is None:
        return ModelInput(sample, classifier.preprocess(sample.image), classifier.geometry(sample.image.size))
    x, y, w, h = sample.box
    crop = sample.image.crop((round(x), round(y), round(x + w), round(y + h)))
    geometry = classifier.geometry(crop.size).within(sample.image.size, (round(x), round(y)))
    return ModelInput(sample, classifier.preprocess(crop), geometry)
