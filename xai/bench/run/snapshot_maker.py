"""Snapshots of a run's images, taken while images, inputs and model are at hand."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from math import ceil, floor

from PIL import Image
from torch import Tensor

from xai.bench.data.sources import MISSING, sha256_of
from xai.bench.run.description import OperatorDescription
from xai.bench.run.image_snapshots import LONGEST, ONE_COLOUR, Box, ImageSnapshot
from xai.core import Geometry, Sample, valid_text
from xai.data.samples import Entry
from xai.metrics.protocol import Protocol
from xai.models import Classifier
from xai.perturb import Operator, image_seeds

SnapshotMaker = Callable[[int, Entry, Sample, Geometry, Tensor, str], ImageSnapshot]


def snapshot_maker(classifier: Classifier, protocols: Iterable[Protocol], seed: int) -> SnapshotMaker:
    """What makes the view of an image while it is at hand: all but the model's answer.

    Args:
        classifier: That the input was made for.
        protocols: Of the run; their operators' fills are kept.
        seed: Of the run.
    """
    operators = {
        OperatorDescription.model_validate(one.describe()).title: one
        for protocol in protocols
        for one in (protocol.operator, protocol.insertion_operator)
        if one is not None and one.name in ONE_COLOUR
    }

    def take_snapshot(
        index: int, entry: Entry, sample: Sample, geometry: Geometry, pixels: Tensor, digest: str
    ) -> ImageSnapshot:
        view = _drawn(sample)
        picture = _picture(sample, view)
        digest_of_file = None if entry.path is None else sha256_of(entry.path)
        return ImageSnapshot(
            index=index,
            id=entry.id,
            name=valid_text(entry.path.name) if entry.path else entry.id,
            group=sample.group or entry.group or entry.id,
            label=sample.label,
            width=sample.image.width,
            height=sample.image.height,
            input_size=(pixels.shape[1], pixels.shape[2]),
            seen=geometry.box,
            view=view,
            box=sample.box,
            sha256=None if digest_of_file == MISSING else digest_of_file,
            input_hash=digest,
            logits=(),
            picture=picture,
            mask=_mask(sample, view, picture),
            fills=_fills(classifier, operators, pixels, seed),
        )

    return take_snapshot


def _drawn(sample: Sample) -> Box:
    """What of the image its picture shows: a crop that is small in it with some margin, else all."""
    from xai.report.overlay import close_box  # a run need not wait for what draws

    width, height = sample.image.size
    close = close_box((width, height), sample.box)
    if close is None:
        return 0, 0, width, height
    left, top, right, bottom = close
    return floor(left), floor(top), ceil(right), ceil(bottom)


def _picture(sample: Sample, view: Box) -> bytes:
    from xai.report.encode import encode_picture

    image, (left, top, right, bottom) = sample.image, map(round, view)
    if (right - left, bottom - top) != image.size:
        image = image.crop((left, top, right, bottom))
    return _content(encode_picture(image, LONGEST))


def _mask(sample: Sample, view: Box, picture: bytes) -> bytes | None:
    from xai.report.encode import encode_mask

    if sample.mask is None:
        return None
    left, top, right, bottom = map(round, view)
    with Image.open(BytesIO(picture)) as drawn:
        return _content(encode_mask(sample.mask[top:bottom, left:right], drawn.size))


def _content(uri: str) -> bytes:
    return b64decode(uri.partition(",")[2])


def _fills(
    classifier: Classifier, operators: Mapping[str, Operator], pixels: Tensor, seed: int
) -> dict[str, str]:
    """The colours that the operators themselves prepare, with the normalisation taken back."""
    steps = getattr(classifier, "preprocessing", None)
    if steps is None or not operators:
        return {}
    seeds, mean, std = (
        image_seeds(pixels[None], seed),
        pixels.new_tensor(steps.mean),
        pixels.new_tensor(steps.std),
    )
    fills = {}
    for name, operator in operators.items():
        baseline = operator.prepare(classifier, pixels[None], seeds)
        if baseline is not None:
            colour = (baseline[0, :, 0, 0] * std + mean) / steps.scale
            colour = colour.flip(0) if steps.bgr else colour
            red, green, blue = colour.round().clamp(0, 255).int().tolist()
            fills[name] = f"#{red:02x}{green:02x}{blue:02x}"
    return fills
