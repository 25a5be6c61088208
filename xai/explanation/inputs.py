"""From paths, pictures and boxes to samples, one at a time, broken ones as failures."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from xai.core import Sample, UsageError, XaiError
from xai.data import check_box, find_images, read_image, unique_stems
from xai.data.paths import resolved
from xai.explanation.files import owner_of

Source = str | Path | Image.Image | Sample
BoxOf = Callable[[Path], tuple[float, float, float, float]]


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


def gather(images: Source | Iterable[Source], out: Path | None) -> list[Path | Image.Image | Sample]:
    """Expand folders and globs into files, each once; leave pictures and samples as they are.

    Raises:
        UsageError: For anything else, such as tensors.
    """
    several = [images] if isinstance(images, str | Path | Image.Image | Sample) else images
    if not isinstance(several, Iterable):
        raise _no_image(images)
    sources: dict[Path | int, Path | Image.Image | Sample] = {}
    for source in several:
        if isinstance(source, str | Path):
            for path in find_images([source], exclude=out):
                sources.setdefault(resolved(path), path)
        elif isinstance(source, Image.Image | Sample):
            sources[id(source)] = source
        else:
            raise _no_image(source)
    return list(sources.values())


def _no_image(given: object) -> UsageError:
    return UsageError(
        f"{type(given).__name__} is no image to explain.",
        "Give a path, a PIL image or an xai.core.Sample, or several of them; methods of "
        "xai.attr.create(NAME, classifier) take preprocessed tensors.",
    )


def read_samples(
    sources: Sequence[Path | Image.Image | Sample], out: Path | None, box_of: BoxOf | None = None
) -> Iterator[Sample | Failure]:
    """Read one image after the other; each gets an id of its own, the stem of its files in `out`."""
    paths = [source for source in sources if isinstance(source, Path)]
    stems = unique_stems(paths, owner_of(out)) if out else unique_stems(paths)
    for number, source in enumerate(sources, 1):
        try:
            yield _read(source, stems, number, box_of)
        except XaiError as error:
            yield Failure(str(source), error)


def _read(
    source: Path | Image.Image | Sample, stems: dict[Path, str], number: int, box_of: BoxOf | None
) -> Sample:
    if isinstance(source, Sample):
        sample = source
    elif isinstance(source, Path):
        image = read_image(source)
        sample = Sample(stems[source], image, source, box=box_of(source) if box_of else None)
    else:
        sample = Sample(f"image-{number}", source.convert("RGB"), box=box_of(Path()) if box_of else None)
    if sample.box is not None:
        check_box(sample.box, sample.image.size, sample.path or sample.id)
    return sample
