"""The maps of one shard: computed once, kept in a file, read by every later unit."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from xai import attr
from xai.attention import grid_of
from xai.bench.config.method_configurations import MethodConfiguration, digest
from xai.bench.data.files import Folder, write_bytes
from xai.bench.run.batches import Batches, Meter
from xai.bench.run.inputs import Exclusion, ModelInput, by_shape
from xai.core import ModelError, UsageError, XaiError
from xai.models import Classifier

MAPS_NAME = re.compile(r".+/\d{1,9}", re.DOTALL)  # of a tensor: row, place among the shapes of the images
_COST = TypeAdapter(dict[str, tuple[float, int]])
_FAILURES = TypeAdapter(list[tuple[str, str, str]])


@dataclass(frozen=True)
class MapCost:
    """Of one row on one shard.

    Args:
        seconds: Per image.
        peak_bytes: Peak accelerator memory; 0 where it cannot be measured.
    """

    seconds: float
    peak_bytes: int


@dataclass(frozen=True, eq=False)
class ShardMaps:
    """Relevance of every row for the images of a shard.

    Args:
        relevance: (row name, place among `by_shape` of the images) → (B, rows, cols) float32; NaN where the
            method failed.
        cost: By row name.
        failures: (image id, row name, reason).
    """

    relevance: dict[tuple[str, int], Tensor]
    cost: dict[str, MapCost]
    failures: tuple[tuple[str, str, str], ...]

    def stacked(self, rows: Sequence[MethodConfiguration], group: int) -> Tensor:
        """(rows, B, rows, cols) of the images of one shape; NaN where a method failed."""
        return torch.stack([self.relevance[row.name, group] for row in rows])

    def exclusions(self, protocol: str) -> list[Exclusion]:
        """The failures, as they stand under a protocol."""
        return [Exclusion(image, row, protocol, reason) for image, row, reason in self.failures]


def maps_key(
    classifier: Classifier,
    rows: Sequence[MethodConfiguration],
    images: Sequence[ModelInput],
    targets: Sequence[int],
) -> str:
    """Digest of everything that the maps depend on."""
    what = [[row.name, row.hash] for row in rows]
    which = [[one.hash, target] for one, target in zip(images, targets, strict=True)]
    return digest([classifier.fingerprint, what, which], 32)


def cached_maps(path: Folder, key: str, make: Callable[[], ShardMaps]) -> ShardMaps:
    """Read the maps from their file; make and write them where it is missing, broken or of other maps."""
    maps = _read(path, key)
    if maps is None:
        maps = make()
        write_bytes(path, _pack(maps, key))
    return maps


def make_maps(
    classifier: Classifier,
    rows: Sequence[MethodConfiguration],
    images: Sequence[ModelInput],
    targets: Sequence[int],
    margin: bool,
    batches: Batches,
    strict: bool = True,
) -> ShardMaps:
    """Relevance of every row for every image.

    Args:
        classifier: What is explained.
        rows: The methods.
        images: Of one shard.
        targets: Class index of each image.
        margin: Whether the margin of the class over the others is explained, instead of its logit.
        batches: How many images at once.
        strict: Whether a row that fails on every image is an error: it cannot explain the model.

    Raises:
        UsageError: Options of a row do not fit the model.
        ModelError: See `strict`.
    """
    class_of = dict(zip([one.index for one in images], targets, strict=True))
    relevance: dict[tuple[str, int], Tensor] = {}
    cost: dict[str, MapCost] = {}
    failures: list[tuple[str, str, str]] = []
    for row in rows:
        job = _Job(classifier, row, class_of, margin, batches)
        for group, same in enumerate(by_shape(images)):
            relevance[row.name, group] = job.maps(same)
        cost[row.name] = MapCost(job.meter.seconds / max(len(images), 1), job.meter.peak_bytes)
        failures += [(image, row.name, reason) for image, reason in job.failures.items()]
        if strict and images and len(job.failures) == len(images):
            reason = next(iter(job.failures.values()))
            raise ModelError(f"Method {row.name!r} failed on each of {len(images)} images: {reason}")
    return ShardMaps(relevance, cost, tuple(failures))


class _Job:
    """One row over the images of a shard."""

    def __init__(
        self,
        classifier: Classifier,
        row: MethodConfiguration,
        class_of: dict[int, int],
        margin: bool,
        batches: Batches,
    ):
        self.classifier = classifier
        self.method = attr.create(row.method, classifier, **row.options)
        self.row = row
        self.class_of = class_of
        self.margin = margin
        self.batches = batches
        self.meter = Meter(classifier.device)
        self.failures: dict[str, str] = {}

    def maps(self, images: Sequence[ModelInput]) -> Tensor:
        """(B, rows, cols) of images of one shape, NaN where the method failed."""
        done: dict[int, Tensor | None] = {}
        for target in sorted({self.class_of[one.index] for one in images}):
            same = [one for one in images if self.class_of[one.index] == target]
            found = self.batches.run(lambda batch, target=target: self._batch(batch, target), same)
            done |= zip([one.index for one in same], found, strict=True)
        grid = grid_of(self.classifier, images[0].pixels[None])
        blank = torch.full((grid.rows, grid.cols), torch.nan)
        found = [done[one.index] for one in images]
        return torch.stack([blank if values is None else values for values in found])

    def _batch(self, batch: Sequence[ModelInput], target: int) -> list[Tensor | None]:
        pixels = torch.stack([one.pixels for one in batch]).to(self.classifier.device)
        wanted: Any = self.classifier.problem_type.margin(target) if self.margin else target
        try:
            with self.meter:
                relevance = self.method.attribute_patches(pixels, wanted)
        except UsageError as error:
            raise UsageError(f"Method {self.row.name!r}: {error.message}", error.hint) from None
        except XaiError as error:
            if len(batch) > 1:
                return [found for one in batch for found in self._batch([one], target)]
            self.failures[batch[0].id] = " ".join(error.message.split())
            return [None]
        return [self._finite(one, values) for one, values in zip(batch, relevance.float().cpu(), strict=True)]

    def _finite(self, image: ModelInput, values: Tensor) -> Tensor | None:
        if torch.isfinite(values).all():
            return values.contiguous()
        self.failures[image.id] = "the map holds NaN or infinity"
        return None


def _pack(maps: ShardMaps, key: str) -> bytes:
    cost = {name: [one.seconds, one.peak_bytes] for name, one in maps.cost.items()}
    tensors = {f"{name}/{group}": values.contiguous() for (name, group), values in maps.relevance.items()}
    about = {"key": key, "cost": json.dumps(cost), "failures": json.dumps(maps.failures)}
    return save(tensors, metadata=about)


def _read(path: Folder, key: str) -> ShardMaps | None:
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (SafetensorError, OSError):
        return None
    about = _metadata(content)
    if about.get("key") != key:
        return None
    relevance = {}
    for name, values in tensors.items():
        if not MAPS_NAME.fullmatch(name) or values.ndim != 3 or values.dtype != torch.float32:
            return None
        row, _, group = name.rpartition("/")
        relevance[row, int(group)] = values
    try:
        cost = _COST.validate_json(about.get("cost", ""))
        failures = _FAILURES.validate_json(about.get("failures", ""))
    except ValidationError:
        return None
    if {row for row, _ in relevance} != {*cost}:
        return None
    return ShardMaps(relevance, {name: MapCost(*one) for name, one in cost.items()}, tuple(failures))


def _metadata(content: bytes) -> dict[str, str]:
    """Of safetensors bytes that were read without complaint: length of the header (u64), header (JSON)."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]).get("__metadata__", {})
