"""The maps of one shard: computed once, kept in a file, read by every later unit."""

import json
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
from xai.bench.run.inputs import InputImage, by_shape
from xai.bench.run.items import MAPS_NAME
from xai.core import ModelError, UsageError, XaiError
from xai.core.target import margin_of
from xai.models import Classifier
from xai.stats import Exclusion

_COST = TypeAdapter(dict[str, tuple[float, int]])
_FAILURES = TypeAdapter(list[tuple[str, str, str]])

NOT_FINITE = "the map holds NaN or infinity"


@dataclass(frozen=True)
class MapCost:
    """Of one method configuration on one shard.

    Args:
        seconds: Per image.
        peak_bytes: Peak accelerator memory; 0 where it cannot be measured.
    """

    seconds: float
    peak_bytes: int


@dataclass(frozen=True, eq=False)
class ShardMaps:
    """Relevance by every method configuration for the images of a shard.

    Args:
        relevance: (name of the method configuration, place among `by_shape` of the images) → (B, rows, cols)
            float32; NaN where the method failed.
        cost: By name of the method configuration.
        failures: (image id, name of the method configuration, reason).
    """

    relevance: dict[tuple[str, int], Tensor]
    cost: dict[str, MapCost]
    failures: tuple[tuple[str, str, str], ...]

    def stacked(self, configurations: Sequence[MethodConfiguration], group: int) -> Tensor:
        """(methods, B, rows, cols) of the images of one shape; NaN where a method failed."""
        return torch.stack([self.relevance[configuration.name, group] for configuration in configurations])

    def exclusions(self, protocol: str) -> list[Exclusion]:
        """The failures, as they stand under a protocol."""
        return [Exclusion(image, name, protocol, reason) for image, name, reason in self.failures]


def maps_key(
    classifier: Classifier,
    configurations: Sequence[MethodConfiguration],
    images: Sequence[InputImage],
    targets: Sequence[int],
) -> str:
    """Digest of everything that the maps depend on."""
    what = [[configuration.name, configuration.hash] for configuration in configurations]
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
    configurations: Sequence[MethodConfiguration],
    images: Sequence[InputImage],
    targets: Sequence[int],
    margin: bool,
    batches: Batches,
    strict: bool = True,
) -> ShardMaps:
    """Relevance by every method configuration for every image.

    Args:
        classifier: What is explained.
        configurations: The methods.
        images: Of one shard.
        targets: Class index of each image.
        margin: Whether the margin of the class over the others is explained, instead of its logit.
        batches: How many images at once.
        strict: Whether a method that fails on every image is an error: it cannot explain the model. One map
            alone that is not finite is none.

    Raises:
        UsageError: Options of a method do not fit the model.
        ModelError: See `strict`.
    """
    class_of = dict(zip([one.index for one in images], targets, strict=True))
    relevance: dict[tuple[str, int], Tensor] = {}
    cost: dict[str, MapCost] = {}
    failures: list[tuple[str, str, str]] = []
    for configuration in configurations:
        job = _Job(classifier, configuration, class_of, margin, batches)
        for group, same in enumerate(by_shape(images)):
            relevance[configuration.name, group] = job.maps(same)
        cost[configuration.name] = MapCost(job.meter.seconds / max(len(images), 1), job.meter.peak_bytes)
        failures += [(image, configuration.name, reason) for image, reason in job.failures.items()]
        reasons = list(job.failures.values())
        # numbers that a single image made infinite are no reason to give up all others
        if strict and images and len(reasons) == len(images) and reasons != [NOT_FINITE]:
            where = f"each of {len(images)} images" if len(images) > 1 else "the first image"
            raise ModelError(f"Method {configuration.name!r} failed on {where}: {reasons[0]}")
    return ShardMaps(relevance, cost, tuple(failures))


class _Job:
    """One method configuration over the images of a shard."""

    def __init__(
        self,
        classifier: Classifier,
        configuration: MethodConfiguration,
        class_of: dict[int, int],
        margin: bool,
        batches: Batches,
    ):
        self.classifier = classifier
        self.method = attr.create(configuration.method, classifier, **configuration.options)
        self.configuration = configuration
        self.class_of = class_of
        self.margin = margin
        self.batches = batches
        self.meter = Meter(classifier.device)
        self.failures: dict[str, str] = {}

    def maps(self, images: Sequence[InputImage]) -> Tensor:
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

    def _batch(self, batch: Sequence[InputImage], target: int) -> list[Tensor | None]:
        pixels = torch.stack([one.pixels for one in batch]).to(self.classifier.device)
        wanted: Any = margin_of(target, self.classifier.problem_type) if self.margin else target
        try:
            with self.meter:
                relevance = self.method.attribute_patches(pixels, wanted)
        except UsageError as error:
            raise UsageError(f"Method {self.configuration.name!r}: {error.message}", error.hint) from None
        except XaiError as error:
            if len(batch) > 1:
                return [found for one in batch for found in self._batch([one], target)]
            self.failures[batch[0].id] = " ".join(error.message.split())
            return [None]
        return [self._finite(one, values) for one, values in zip(batch, relevance.float().cpu(), strict=True)]

    def _finite(self, image: InputImage, values: Tensor) -> Tensor | None:
        if torch.isfinite(values).all():
            return values.contiguous()
        self.failures[image.id] = NOT_FINITE
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
        configuration, _, group = name.rpartition("/")
        relevance[configuration, int(group)] = values
    try:
        cost = _COST.validate_json(about.get("cost", ""))
        failures = _FAILURES.validate_json(about.get("failures", ""))
    except ValidationError:
        return None
    if {configuration for configuration, _ in relevance} != {*cost}:
        return None
    return ShardMaps(relevance, {name: MapCost(*one) for name, one in cost.items()}, tuple(failures))


def _metadata(content: bytes) -> dict[str, str]:
    """Of safetensors bytes that were read without complaint: length of the header (u64), header (JSON)."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]).get("__metadata__", {})
