"""What the model sees of an image, and where the truth lies in that view."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xai.bench.run.batches import Batches
from xai.bench.run.image_snapshots import ImageSnapshot
from xai.bench.run.masks import extent_of, input_mask, input_points
from xai.bench.run.snapshot_maker import SnapshotMaker
from xai.core import DataError, Geometry, ModelError, Sample, XaiError
from xai.data.degradations import Degradation, degraded
from xai.data.samples import Entry
from xai.models import Classifier
from xai.stats import Exclusion


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image as the model takes it.

    Args:
        index: Place in the data.
        id: Sample id.
        group: What it is a frame or crop of; its own id if nothing.
        label: True class name, if known.
        kind: How it was manipulated, or `pristine`, if known.
        pixels: (3, H, W) on the CPU.
        mask: (H, W) bool at the same resolution, True where it was tampered with; None if not known.
        digest: sha256 of the pixels.
        logits: (classes,) the model's logits.
        view: What a page shows of it, if that was asked for.
        extent: Whether its mask is `empty`, `full` or marks a `part` of it; None without a mask.
        clicks: (H, W) bool like the mask, True in the pixels where people saw that it was tampered with.
        landmarks: (points, 2) of the face in pixels of the image, if known, see `xai.core.Sample`.
        geometry: Which part of the image the input shows.
    """

    index: int
    id: str
    group: str
    label: str | None
    kind: str | None
    pixels: Tensor
    mask: Tensor | None
    digest: str
    logits: Tensor
    view: ImageSnapshot | None = None
    extent: str | None = None
    clicks: Tensor | None = None
    landmarks: np.ndarray | None = None
    geometry: Geometry | None = None

    @property
    def hash(self) -> str:
        """The digest as records have it."""
        return self.digest[:16]


def read_inputs(
    classifier: Classifier,
    entries: Iterable[tuple[int, Entry]],
    batches: Batches,
    take_snapshot: SnapshotMaker | None = None,
) -> tuple[list[InputImage], list[Exclusion]]:
    """Read, preprocess images and ask the model; those that fail become exclusions.

    Args:
        classifier: Of the run.
        entries: Place in the data and image.
        batches: How many images at once.
        take_snapshot: Makes the views; None for none.

    Raises:
        ModelError: The model answers none of them.
    """
    ready: list[InputImage] = []
    excluded: list[Exclusion] = []
    for index, entry in entries:
        try:
            ready.append(_view(classifier, index, entry.make(), entry, take_snapshot))
        except XaiError as error:
            excluded.append(Exclusion(entry.id, "*", "*", _words(error)))
    answered: list[InputImage] = []
    last: ModelError | None = None
    for same in by_shape(ready):
        for one, logits in batches.run(partial(_logits_of, classifier), same):
            if isinstance(logits, ModelError):
                last = logits
                excluded.append(Exclusion(one.id, "*", "*", _words(logits)))
            else:
                answered.append(_with_logits(one, logits))
    if last is not None and not answered:
        raise last
    return sorted(answered, key=lambda one: one.index), excluded


def by_shape(images: Sequence[InputImage]) -> list[list[InputImage]]:
    """Images whose pixels can be stacked, in order of appearance."""
    groups: dict[torch.Size, list[InputImage]] = {}
    for one in images:
        groups.setdefault(one.pixels.shape, []).append(one)
    return list(groups.values())


def _with_logits(one: InputImage, logits: Tensor) -> InputImage:
    view = one.view and replace(one.view, logits=tuple(logits.tolist()))
    return replace(one, logits=logits, view=view)


def _view(
    classifier: Classifier, index: int, sample: Sample, entry: Entry, take_snapshot: SnapshotMaker | None
) -> InputImage:
    image = _cropped(sample)
    geometry = classifier.geometry(image.size)
    if sample.box is not None:
        geometry = geometry.within(sample.image.size, (round(sample.box[0]), round(sample.box[1])))
    pixels = classifier.preprocess(image)
    mask, extent = None, None
    if sample.mask is not None:
        if sample.mask.shape != sample.image.size[::-1]:
            raise DataError(f"the mask has another size than the image: {sample.mask.shape[::-1]}.")
        at_input = input_mask(sample.mask, geometry, (pixels.shape[1], pixels.shape[2]))
        mask, extent = torch.from_numpy(at_input), extent_of(sample.mask, at_input)
    clicks = None
    if sample.clicks is not None:
        clicks = torch.from_numpy(input_points(sample.clicks, geometry, (pixels.shape[1], pixels.shape[2])))
    digest = sha256(pixels.numpy().tobytes()).hexdigest()
    return InputImage(
        index=index,
        id=entry.id,
        group=sample.group or entry.group or entry.id,
        label=sample.label,
        kind=sample.kind,
        pixels=pixels,
        mask=mask,
        digest=digest,
        logits=torch.empty(0),
        # now, while the image is at hand: a shard of photographs may not fit into memory
        view=None if take_snapshot is None else take_snapshot(index, entry, sample, geometry, pixels, digest),
        extent=extent,
        clicks=clicks,
        landmarks=sample.landmarks,
        geometry=geometry,
    )


def degraded_pixels(classifier: Classifier, entry: Entry, degradation: Degradation) -> Tensor:
    """(3, H, W) the model's input if the whole picture had gone through this before."""
    return classifier.preprocess(_cropped(degraded(entry.make(), degradation)))


def _cropped(sample: Sample) -> Image.Image:
    """What of the picture is preprocessed."""
    if sample.box is None:
        return sample.image
    x, y, width, height = (round(side) for side in sample.box)
    return sample.image.crop((x, y, x + width, y + height))


def _logits_of(
    classifier: Classifier, batch: Sequence[InputImage]
) -> list[tuple[InputImage, Tensor | ModelError]]:
    """Logits of each image, or why there are none."""
    try:
        with torch.no_grad():
            logits = classifier(torch.stack([one.pixels for one in batch])).float().cpu()
        return list(zip(batch, logits, strict=True))
    except ModelError as error:
        if len(batch) == 1:
            return [(batch[0], error)]
        return [pair for one in batch for pair in _logits_of(classifier, [one])]


def _words(error: XaiError) -> str:
    return " ".join(error.message.split())
