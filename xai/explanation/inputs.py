"""What a person asks for: images as samples, broken ones as failures, targets; work on them in a thread."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from PIL import Image
from torch import Tensor

from xai.core import Margin, ProblemType, Sample, UsageError, XaiError, class_index, nearest
from xai.core.files import expanded, fault_of, is_folder, resolved
from xai.core.target import check_index
from xai.data import Row, check_box, find_images, find_videos, read_image, read_manifest, unique_stems
from xai.data.manifest import SUFFIXES as MANIFEST_SUFFIXES
from xai.explanation.files import owner_of

Source = str | Path | Image.Image | Sample
Found = Path | Image.Image | Sample | Row
"""One image to be explained; rows are those of a manifest, with what it knows of them."""
Wanted = str | int | Margin | Sequence[str | int | Margin] | None
BoxOf = Callable[[Path], tuple[float, float, float, float]]

Result = TypeVar("Result")


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
        UsageError: For anything else, such as tensors.
    """
    several = [images] if isinstance(images, str | Path | Image.Image | Sample) else images
    if not isinstance(several, Iterable):
        raise _no_image(images)
    sources: dict[Path | int, Found] = {}
    for source in several:
        if isinstance(source, str | Path) and _is_manifest(source):
            for row in read_manifest(source):
                sources.setdefault(resolved(row.path), row)
        elif isinstance(source, str | Path):
            for path in _found(source, out):
                sources.setdefault(resolved(path), path)
        elif isinstance(source, Image.Image | Sample):
            sources[id(source)] = source
        else:
            raise _no_image(source)
    return list(sources.values())


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
    owner = owner_of(out, folders) if out else lambda stem: None
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
        sample = source
    elif isinstance(source, Row):
        sample = source.load(stems[source.path])
        sample = replace(sample, box=box_of(source.path)) if box_of else sample
    elif isinstance(source, Path):
        image = read_image(source)
        sample = Sample(stems[source], image, source, box=box_of(source) if box_of else None)
    else:
        sample = Sample(f"image-{number}", source.convert("RGB"), box=box_of(Path()) if box_of else None)
    if sample.box is not None:
        check_box(sample.box, sample.image.size, sample.path or sample.id)
    return sample


@dataclass(frozen=True)
class Targets:
    """What to explain of every image.

    Args:
        labels: All class names, in the order of the logits.
        chosen: (name, class index or Margin) per map; empty means the top two classes of each image.
    """

    labels: tuple[str, ...]
    chosen: tuple[tuple[str, int | Margin], ...]

    @classmethod
    def parse(
        cls,
        wanted: Wanted,
        labels: tuple[str, ...],
        problem_type: ProblemType = ProblemType.SINGLE_LABEL,
    ) -> "Targets":
        """Read class names, indices, `fake-real` (the logit of fake minus that of real) or a `Margin`.

        Indices may be NumPy's or torch's, one or an array of several. None means both classes of a two-class
        model, else the top two of each image. The margin of an independent label over the rest is its logit.

        Raises:
            UsageError: A class that the model does not have.
        """
        if wanted is None:
            every = range(len(labels)) if len(labels) <= 2 else ()
            return cls(labels, tuple((labels[index], index) for index in every))
        several: Any = [wanted] if _is_one(wanted) else wanted
        return cls(labels, tuple(dict(_parse(each, labels, problem_type) for each in several).items()))

    def target_of(self, name: str) -> int | Margin:
        """The target behind the name of a map."""
        chosen = dict(self.chosen)
        return chosen[name] if name in chosen else self.labels.index(name)

    def resolve(self, logits: Tensor) -> tuple[list[list[str]], list[Any]]:
        """Names of the maps per image, and the targets in the form that methods take.

        Args:
            logits: (B, C).

        Returns:
            B lists of T names, and T targets: class index, `Margin`, or a (B,) tensor of class indices.
        """
        if self.chosen:
            names, targets = zip(*self.chosen, strict=True)
            return [list(names)] * len(logits), list(targets)
        ranked = logits.topk(2, dim=1).indices
        return [[self.labels[index] for index in row] for row in ranked.tolist()], list(ranked.T)


def _is_one(wanted: Any) -> bool:
    """Whether it is one class, and not several; an array of no dimension is one."""
    return (
        isinstance(wanted, str | Margin)
        or getattr(wanted, "ndim", None) == 0
        or not isinstance(wanted, Iterable)
    )


def _parse(wanted: Any, labels: tuple[str, ...], problem_type: ProblemType) -> tuple[str, int | Margin]:
    wanted = problem_type.own_target(wanted)
    if isinstance(wanted, Margin):
        positive = labels[_index(wanted.positive, labels)]
        negative = "rest" if wanted.negative is None else labels[_index(wanted.negative, labels)]
        return f"{positive}-{negative}", wanted
    if isinstance(wanted, str) and wanted not in labels:
        for positive, negative in _splits(wanted):
            if positive in labels and negative in labels:
                return wanted, Margin(labels.index(positive), labels.index(negative))
    index = _index(wanted, labels)
    return labels[index], index


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Every reading of `a-b`, since class names may hold a minus themselves."""
    for place, sign in enumerate(text):
        if sign == "-":
            yield text[:place], text[place + 1 :]


def _index(wanted: Any, labels: Sequence[str]) -> int:
    if isinstance(wanted, str) and wanted in labels:
        return labels.index(wanted)
    index = int(wanted) if isinstance(wanted, str) and wanted.isdecimal() else class_index(wanted)
    if index is not None:
        check_index(index, len(labels))
        return index
    if not isinstance(wanted, str):
        raise UsageError(
            f"Target {wanted!r} is no class.", "Give a class name, its index, a contrast or a Margin."
        )
    candidates = (
        labels if len(labels) <= 20 else [name for name in labels if wanted.lower() in name.lower()][:20]
    )
    hint = nearest(wanted, candidates or labels[:20])
    raise UsageError(f"Unknown class {wanted!r}.", f"{hint} Or a contrast such as {labels[-1]}-{labels[0]}.")


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
